// Package sdk is the contract between a protocol and nethost: what a module
// author imports, and nothing else.
//
// A module is a value with two methods. Handle gets one [Event] at a time and
// writes effects into [Env]. A module has no clock, no goroutine, no socket and
// no ambient authority: what it may know arrives as an event, what it wants
// done leaves as an effect, and the answer to an effect is a later event. So the
// same source runs compiled into the host (builtin), as a WebAssembly guest
// (wasm) and as a separate program (process), chosen by the operator.
//
// Order: PeerUp comes before and PeerDown after anything that names a peer
// handle; stream bytes are FIFO per stream; messages are unordered and may be
// lost. Events arrive in batches; the last one of each batch is Flush. The
// effects of a batch are applied together, in order, when the batch returns, and
// thrown away together when the module traps, panics or dies.
//
// The package imports the standard library only and builds for GOOS=wasip1. The
// bytes behind events and effects are specified in sdk/abi/SPEC.md.
package sdk
