// Package session is one encrypted session between two nodes: the Noise
// handshake that makes its keys and the packets sealed under them. SPEC.md
// beside this file is the authority; its clause numbers (S3.2) are cited here and
// in the tests. It is the only door to flynn/noise.
//
// [Local] is a node's end of handshakes; [Handshake] one handshake under way;
// [Session] one generation of keys; [Admission] what bounds the handshakes of
// strangers. All are values without lock, clock or socket: time and entropy are
// arguments. A Handshake and a Session belong to one goroutine at a time; Local
// is immutable and may be used from many, so that Diffie-Hellman can run outside
// the owner's lock.
//
// It refuses to know addresses, routes, retries and which of two sessions to use.
package session
