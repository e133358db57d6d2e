// Command capability is the built-in capability as a WebAssembly guest.
package main

import (
	"nethost/sdk/guest"
	"nethost/subprotocols/builtin/capability"
)

func init() { guest.Serve(capability.New()) }

func main() {}
