// Package module is the life of a module, whatever carries it: the catalogue of
// a plugin directory, the grants, the mailbox and the supervisor that restarts
// what crashed.
//
// It knows neither the network nor the kernel: effects that a module is allowed
// leave through [Host], events come in through Supervisor.Deliver. The carriers
// (inproc, wasm, process) are packages of their own behind the two interfaces of
// carrier.go: bytes of events in, bytes of effects out.
package module
