// Package wire is the bytes of wire version 1: hop frames, session packets,
// frames, handshake envelopes and core messages. SPEC.md beside this file is the
// authority; its clause numbers (W3.2) are cited here and in the tests.
//
// Parse functions are strict: what they accept is byte for byte what the Append
// function of the same thing writes, so a value has one spelling. They allocate
// nothing, never panic, and slices in their results alias the input. A failure
// is a bool, never an error: malformed packets are counted, not explained.
//
// The package knows no key, no clock and no state. Whether a tag is good,
// whether a counter was seen and what a message means is for others to say.
package wire
