// Command counter is subprotocol 0x1001, a vendor protocol that exists only as a
// WebAssembly guest: a number that peers and applications add to.
//
// Every call is one stream: open with a method, data, FIN; the answer is a
// decimal number.
//
//	add       adds the decimal number in the data and answers the new value
//	get       answers the value
//	messages  answers how many messages arrived
//
// Both numbers are kept across restarts when the grant state is given.
package main

import "nethost/sdk/guest"

func init() { guest.Serve(New()) }

func main() {}
