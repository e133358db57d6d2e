// Package wasm carries modules as WebAssembly guests under wazero. It is the only
// door to wazero.
//
// A guest is third-party code in the host's own address space, and native wasm
// code cannot be preempted: while it spins, the Go garbage collector cannot stop
// the world, so one endless loop would stop the whole host. The carrier therefore
// never runs a binary as it came. [Rewrite] checks it, meters every function and
// loop with a fuel counter, bounds its call stack and memory, and exports its
// mutable globals; SPEC.md beside this file is the authority for that.
//
// Each module has a wazero runtime of its own; only the compilation cache is
// shared. A guest imports nothing but WASI preview 1, which is stubbed: the clock
// is the batch's time, random bytes come from the seed of the Spec, stdout and
// stderr are the module's log, and there are no files, sockets or environment.
// So what a guest does depends on its batches and its seed alone.
//
// The package knows the shape of a batch (length, place, header) and not what the
// events and effects in it mean: the supervisor checks those.
package wasm
