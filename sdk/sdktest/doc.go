// Package sdktest is for people who write modules or carriers of modules.
//
// [Harness] drives one module by hand: it plays the host, with virtual time,
// peers, streams with credit, timers and state, and checks that the module keeps
// the contract. [InProcess] makes a module written in Go an [Instance] without
// any host. [Conform] is the suite that every carrier must pass with the echo
// module; the carriers of nethost call it in their own tests.
//
// The package knows bytes (sdk/abi) and no carrier: it talks to an Instance as a
// supervisor does, a batch of events in, a batch of effects out.
package sdktest
