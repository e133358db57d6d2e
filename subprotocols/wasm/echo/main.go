// Command echo is the built-in echo as a WebAssembly guest.
package main

import (
	"nethost/sdk/guest"
	"nethost/subprotocols/builtin/echo"
)

func init() { guest.Serve(echo.New()) }

func main() {}
