// Command echo is the built-in echo as a program of its own.
package main

import (
	"nethost/sdk/plugin"
	"nethost/subprotocols/builtin/echo"
)

func main() { plugin.Serve(echo.New()) }
