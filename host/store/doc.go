// Package store keeps what must survive a process: the key-value state of
// modules, in one bbolt file, and the incarnation of the node.
//
// A batch's writes are one transaction. Without Sync they survive the death of
// the process (kill -9) but not of the machine; Sync makes everything applied so
// far durable with one fsync, whoever applied it. It is the only door to bbolt.
package store
