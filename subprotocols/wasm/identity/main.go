// Command identity is the built-in identity as a WebAssembly guest.
package main

import (
	"nethost/sdk/guest"
	"nethost/subprotocols/builtin/identity"
)

func init() { guest.Serve(identity.New()) }

func main() {}
