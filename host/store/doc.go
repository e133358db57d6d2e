// Package store keeps what must survive a process: the key-value state of
// modules, in one bbolt file, and the incarnation of the node.
//
// A batch's writes are one transaction, on disk when Apply returns. It is the only
// door to bbolt.
package store
