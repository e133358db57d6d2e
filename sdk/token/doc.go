// Package token is permission tokens: who may do what to which resource, signed
// by whoever may say so, handed on in chains, and made void by floors.
//
// It is the one place of the project that reads wall time, because a token that
// ends has to end at the same moment for everybody. It knows nothing of channels or
// sessions: the caller says who presents a chain, and that this was authenticated.
// SPEC.md beside this file has the bytes and the rules.
package token
