// Package impair is the model of a bad network link: a rate with a bounded queue
// before it, delay, jitter, loss (single or in bursts), reordering, duplication
// and a largest datagram. SPEC.md says what each of them means.
//
// The model decides, and carries nothing: Link.Pass says when each copy of a
// datagram comes out, or why none does. Time is an argument and the dice follow
// from a seed, so that the simulator gets the same network twice, and the proxy
// (the folder proxy) puts the same network between two real sockets.
package impair
