// Package invite is both ends of an invite: the inviter's book of them, kept in a
// file, and the call of the machine that joins. What travels is the wire and session
// packages' business; what a session under an invite may do is the kernel's.
package invite
