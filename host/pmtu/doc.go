// Package pmtu finds the largest datagram that a link carries (RFC 8899), and
// notices when a path has stopped carrying it. It knows neither packets nor
// sockets and reads no clock: the caller sends the probes that [Search.OnTimer]
// asks for, and reports what became of them and of its other packets.
//
// Sizes are bytes of UDP payload. What routers say (ICMP) has no say: a size
// counts when probes of that size were acknowledged. SPEC.md numbers the rules.
package pmtu
