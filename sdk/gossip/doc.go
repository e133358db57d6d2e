// Package gossip brings a set of signed statements to every node of a mesh and
// keeps it the same everywhere: neighbours compare digests of what they hold and
// send what the other lacks, and pass on what is new.
//
// The protocols that use it share one behaviour to the byte; they say what a
// statement is and who must have signed it. It knows nothing of their contents.
// SPEC.md beside this file numbers its rules.
package gossip
