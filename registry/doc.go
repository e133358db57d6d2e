// Package registry says who answers to which subprotocol id: the ranges of ids,
// the manifest two nodes exchange, what they agree on, and the table of a node's
// own modules.
//
// It is pure and knows neither sessions nor modules: the kernel sends manifests
// and asks Negotiate, the host builds the Table. SPEC.md has the bytes and the
// rule; ASSIGNED.md has the ids, and a test compares both with the code.
package registry
