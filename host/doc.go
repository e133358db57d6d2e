// Package host is a node: sockets, clock and modules around the pure kernel.
//
// Embed it with New and Run; nothing here drags in gRPC or wazero, because the
// carriers of modules are handed in. One mutex guards the kernel: whoever holds
// it (the goroutine that read a datagram, a module's supervisor, the timer, an
// application's call) runs Step and flushes its output before letting go. So no
// goroutine hop stands between a datagram and its answer.
//
// The trip of a packet: link.Read -> step -> kernel.Step -> Deliver into the
// module's mailbox -> unlock -> RunInline (or the module's own goroutine) ->
// Apply -> step -> link.Write.
package host
