// Package proxy puts the links of package impair between real UDP sockets: what
// clients send to one address reaches a server, and its answers reach them, as
// badly as the two links, one for each direction, want it.
//
// It is to a server what a NAT is: each client has an upstream socket of its own,
// and Rebind gives it another one. It knows nothing of what it carries. Clauses
// I11 to I14 of SPEC.md, one folder up, are its rules.
package proxy
