// Package guest makes a Module a WebAssembly guest: the module's side of ABI 1
// in the memory of a wasm runtime.
//
// A guest's main package calls [Serve] from its init function and leaves main
// empty:
//
//	func init() { guest.Serve(echo.New()) }
//	func main() {}
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o echo.wasm .
//
// With -buildmode=c-shared main never runs: the host calls _initialize, which
// runs the init functions, and then the exports nethost_buffer and
// nethost_handle for each batch. The facts that Describe gives stand in
// module.toml beside the artifact; the guest does not export them.
//
// Goroutines of a guest run only while a batch is being handled. The package
// yields once before Flush; a Handle that blocks traps the instance. Work runs
// after Flush, within the batch's budget.
//
// On other platforms Serve does nothing, so that a guest's main package can be
// vetted and tested where it is written.
package guest
