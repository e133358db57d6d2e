// Package discovery finds nodes of one network on the local network: DNS-SD (RFC 6763)
// over multicast DNS (RFC 6762).
//
// A node answers who asks for _nethost._udp.local with a random name, its port, its
// addresses, and a mark that only holders of the network key understand. It says
// neither its NodeID nor the machine's name. Who is found is an address to try: the
// handshake proves who is there. The package does not know keys; marks are handed in.
package discovery
