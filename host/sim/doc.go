// Package sim runs many kernels in one goroutine under virtual time, over links
// as bad as host/impair makes them (rate and queue, delay, jitter, loss, reordering,
// duplication, MTU), through partitions and NATs that forget, all from one seed.
// The same seed gives the same trace, byte for byte: World.Hash proves it.
//
// Scripts a human can read stand in testdata (one a network rule); script.go is
// their language. Modules run inline, between two steps of their node.
//
// Only tests and the sim verb of the command import this package.
package sim
