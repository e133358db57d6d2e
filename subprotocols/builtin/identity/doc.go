// Package identity is subprotocol 0x0C10: revocation floors, known to every node. An
// issuer of permission tokens says, signed, below which generation its tokens are
// void; this module brings that word to the whole mesh, keeps it over restarts, and
// tells the modules of its node whether it has heard all that its neighbours know.
//
// It verifies no tokens and knows no resources: package sdk/token does, in the module
// that guards something. SPEC.md beside this file numbers its rules.
package identity
