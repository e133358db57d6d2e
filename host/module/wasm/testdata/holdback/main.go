// Command holdback is the module of that name as a WebAssembly guest, for tests.
package main

import (
	"nethost/sdk/guest"
	"nethost/sdk/sdktest/holdback"
)

func init() { guest.Serve(holdback.New()) }

func main() {}
