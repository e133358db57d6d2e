package token

import (
	"fmt"
	"strings"
)

// Scope is a set of rights.
type Scope uint16

// The rights. The bits are part of the bytes of a token: never renumber.
const (
	Publish   Scope = 1 << 0 // send events to a channel
	Subscribe Scope = 1 << 1 // receive a channel's events
	Call      Scope = 1 << 2 // call a service
	Serve     Scope = 1 << 3 // answer calls of a service
	Store     Scope = 1 << 4 // write to a store
	Admin     Scope = 1 << 5 // change the policy of the resource
	Delegate  Scope = 1 << 6 // issue further links
	AllScopes       = Publish | Subscribe | Call | Serve | Store | Admin | Delegate
)

// scopeNames is in the order of the bits.
const scopeNames = "publish subscribe call serve store admin delegate"

// String gives the rights with commas: "publish,subscribe".
func (s Scope) String() string {
	var out []string
	for i, n := range strings.Fields(scopeNames) {
		if s&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	return strings.Join(out, ",")
}

// ParseScope reads what String writes, in any order.
func ParseScope(text string) (Scope, error) {
	var s Scope
next:
	for w := range strings.SplitSeq(text, ",") {
		for i, n := range strings.Fields(scopeNames) {
			if n == strings.TrimSpace(w) {
				s |= 1 << i
				continue next
			}
		}
		return 0, fmt.Errorf("scope %q: want one or more of %s, with commas", text, strings.ReplaceAll(scopeNames, " ", ", "))
	}
	return s, nil
}
