// Command hostinfo is a module that needs the operating system, which is what
// processes are for: a peer or application that opens a stream with method "get"
// and ends its side gets one JSON object about the machine, and the end.
//
// It keeps no state and needs no grant. The machine's name is told only when the
// configuration says so. Reading happens off the loop: a file system that hangs
// holds one answer, not the module.
package main

import "nethost/sdk/plugin"

func main() { plugin.Serve(newModule()) }
