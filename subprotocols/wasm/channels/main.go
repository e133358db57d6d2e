// Command channels is the built-in channels as a WebAssembly guest.
package main

import (
	"nethost/sdk/guest"
	"nethost/subprotocols/builtin/channels"
)

func init() { guest.Serve(channels.New()) }

func main() {}
