// Package stream carries reliable byte streams and unreliable messages between
// two nodes over packets that may be lost, reordered or duplicated.
//
// One [Mux] stands for one peer and outlives its keys: packets are named by key
// generation and counter, so a rekey loses nothing. The Mux cuts streams into
// frames, acknowledges what arrives, finds out what was lost (RFC 9002, RFC 8985),
// retransmits it, bounds what is in flight (CUBIC, RFC 9438), paces it, and bounds
// what either side must buffer (byte credit per stream). SPEC.md has the rules that both ends
// must agree on.
//
// It knows nothing of keys, sockets, routes or modules, reads no clock and
// starts nothing: the caller seals what Fill wrote, reports it with Sent, hands
// in the frames of authenticated packets, and calls OnTimer when Deadline says.
// Time is a duration since any fixed origin and must not run backwards.
package stream
