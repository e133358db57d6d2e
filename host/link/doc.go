// Package link is datagrams in and out: the only package that knows UDP.
//
// [Link] is the seam. [UDP] is the real socket; [Mem] is a port of an in-memory
// [Switch], made of channels only, so that whole hosts run inside a
// testing/synctest bubble. Both hand over what the network refused (an ICMP
// "port unreachable" with the datagram it quotes) through [ErrorSource].
//
// The package knows neither peers nor packets: it never looks into a datagram,
// keeps no state per address, and makes no promise of delivery. One goroutine
// reads a link; any number may write to it. Nothing on the path of a datagram
// allocates.
package link
