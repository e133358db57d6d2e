// Package kernel is one node as a state machine: Step(now, Input, *Output).
//
// It owns the sessions of a node, its peers, its routes, the agreed manifests,
// the streams between modules, applications and peers, and the timers of
// modules. It has no goroutine, lock, clock, socket or log: time and entropy are
// arguments, everything it wants done is a value in Output. Diffie-Hellman and
// signatures leave as Jobs and come back as Inputs, so that the owner of the
// kernel may run them outside its lock; the simulator runs them inline.
//
// A node's life in one picture:
//
//	datagram -> receive.go -> for us?  no  -> forward.go -> datagram
//	                           | yes
//	             handshake.go <- envelope | packet -> open -> frames
//	                                        core -> swarm.go (waves, liveness)
//	                                        0x0600 -> negotiate.go
//	                                        stream, message -> streams.go -> Delivery
//	effects  -> effects.go -> streams.go -> mux -> send.go -> seal -> datagram
//
// Buffers belong to the caller's loop: slices in Output are valid until the next
// Step, and datagrams given in an Input are overwritten (decrypted in place).
package kernel
