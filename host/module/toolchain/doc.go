// Package toolchain compiles the source of a module, in whatever language it is, to
// its artifact: Go, C, Rust and AssemblyScript to WebAssembly, Go to a program; a
// Python program is put together.
//
// It runs the compilers that the machine has and says what it looked for when there
// is none. It knows nothing of what the artifact will be asked to do.
package toolchain
