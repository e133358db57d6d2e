// Package capability is subprotocol 0x0C00: every node says what it is and has, and
// every node can ask which ones fit. There is no registry and no server: each node
// merges what its host, its modules and its operator say into one signed
// announcement, neighbours keep their sets of announcements the same (package
// gossip), and each answers questions from its own index.
//
// It knows nothing of how nodes are reached, only which are. SPEC.md beside this file
// has the bytes, the tags and the query language.
package capability
