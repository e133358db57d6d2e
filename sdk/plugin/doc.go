// Package plugin is the out-of-process side of the contract: it makes a program
// out of a module.
//
//	func main() { plugin.Serve(echo.New()) }
//
// nethost starts the program through hashicorp/go-plugin, which does launch,
// handshake, health, logs and shutdown; batches of events and effects travel on
// a second socket. What a program in another language has to do:
//
//  1. Check that the environment variable NETHOST_PLUGIN_COOKIE has the value of
//     [CookieValue]; say something useful to whoever started it by hand.
//  2. Connect to the unix socket named by NETHOST_DATA_SOCKET.
//  3. Serve gRPC on a unix socket of its own in PLUGIN_UNIX_SOCKET_DIR: the
//     standard health service (service "plugin" is SERVING), and Describe of
//     service nethost.plugin.v1.Module if it likes (see [DescribeMethod]).
//  4. Print "1|1|unix|/path/of/that/socket|grpc" and a newline to stdout, flushed.
//  5. Answer each frame on the data socket (package frame: u32 length, little
//     endian, then a batch of events as sdk/abi specifies) with one frame: the
//     batch of effects with the same sequence number, possibly without records.
//     A batch with sequence number 0 that holds only Post effects may be sent at
//     any time.
//  6. Exit when the data socket ends.
//
// What it prints afterwards goes to the module's log, line by line.
package plugin
