package token

import (
	"fmt"
	"slices"
	"time"

	"nethost/sdk"
	"nethost/sdk/name"
)

// Reason says why a chain was refused.
type Reason uint8

// The reasons.
const (
	OK           Reason = iota
	NoLinks             // the chain is empty or longer than MaxLinks
	NotRooted           // its first issuer is no root of the resource
	BadSignature        // a link was not signed by its issuer, or for another purpose
	Spliced             // a link does not name the one before it as its parent
	NotSubject          // a link's issuer is no subject of the one before it
	NoDelegate          // the link before it must not be handed on
	TooDeep             // its depth does not fall below that of the link before it
	Widened             // its resource is not within that of the link before it
	Revoked             // its generation is below the floor of its issuer
	TooEarly            // its time has not begun
	Expired             // its time is over
	NoClock             // it has a time, and the caller has no clock
	NotPresenter        // the presenter is no subject of the last link
	NoScope             // the links together do not give the right
	NoResource          // the last link's resource does not hold the one asked for
)

var reasonNames = [...]string{"ok", "no links, or too many", "its first issuer is no root of the resource", "bad signature",
	"it names another parent than the link before it", "its issuer is no subject of the link before it",
	"the link before it must not be handed on", "its depth does not fall below that of the link before it",
	"its resource is not within that of the link before it", "revoked: its generation is below the floor of its issuer",
	"its time has not begun", "expired", "it has a time, and there is no clock here", "the presenter is none of its subjects",
	"the scope lacks the right", "the resource asked for is not within its own"}

// String gives the reason in words.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// Refusal is why a chain does not permit something.
type Refusal struct {
	Reason Reason
	Link   int // which link, 0 the root; -1 the chain as a whole
	Detail string
}

func (r *Refusal) Error() string {
	s := "token refused"
	if r.Link >= 0 {
		s += fmt.Sprintf(": link %d", r.Link+1)
	}
	s += ": " + r.Reason.String()
	if r.Detail != "" {
		s += " (" + r.Detail + ")"
	}
	return s
}

// Request is what a chain shall permit.
type Request struct {
	// Presenter is the authenticated node that shows the chain.
	Presenter sdk.NodeID
	// Scope is the right it wants: all bits are needed.
	Scope Scope
	// Resource is the name, or the pattern, it wants it for.
	Resource string
	// Roots are who may say so for the resource. None: nobody may.
	Roots []sdk.NodeID
	// Floor gives the lowest generation of an issuer that is not void; nil: no floors.
	Floor func(issuer sdk.NodeID) uint64
	// Wall is the time now. The zero time refuses every chain that has one.
	Wall time.Time
}

// Verify reports whether a chain permits a request; nil means that it does, else
// the error is a *Refusal (T3). What costs nothing is looked at first: signatures
// come last, so that a chain of no use costs no more than a few comparisons.
func (c Chain) Verify(q Request) error {
	if len(c) == 0 || len(c) > MaxLinks {
		return &Refusal{NoLinks, -1, fmt.Sprintf("%d links, want 1 to %d", len(c), MaxLinks)}
	}
	if !slices.Contains(q.Roots, c[0].Issuer) {
		return &Refusal{NotRooted, 0, c[0].Issuer.Short()}
	}
	scope := AllScopes
	for i := range c {
		t := &c[i]
		if r := c.linkFault(i); r != OK {
			return &Refusal{r, i, ""}
		}
		if q.Floor != nil {
			if f := q.Floor(t.Issuer); t.Generation < f {
				return &Refusal{Revoked, i, fmt.Sprintf("generation %d, the floor of %s is %d", t.Generation, t.Issuer.Short(), f)}
			}
		}
		if r := t.timeFault(q.Wall); r != OK {
			return &Refusal{r, i, ""}
		}
		scope &= t.Scope
	}
	last, leaf := len(c)-1, &c[len(c)-1]
	switch {
	case !slices.Contains(leaf.Subjects, q.Presenter):
		return &Refusal{NotPresenter, last, q.Presenter.Short()}
	case q.Scope == 0 || scope&q.Scope != q.Scope:
		return &Refusal{NoScope, -1, fmt.Sprintf("%s wanted, %s given", q.Scope, scope)}
	case name.CheckPattern(q.Resource) != nil || !name.Covers(leaf.Resource, q.Resource):
		return &Refusal{NoResource, last, fmt.Sprintf("%q wanted, %q given", q.Resource, leaf.Resource)}
	}
	for i := range c {
		if !c[i].verify() {
			return &Refusal{BadSignature, i, ""}
		}
	}
	return nil
}

// linkFault compares a link with the one before it (T2.3 to T2.6).
func (c Chain) linkFault(i int) Reason {
	t := &c[i]
	if t.fault() != "" {
		return BadSignature // nobody signs such a thing
	}
	if i == 0 {
		if t.Parent != [32]byte{} {
			return Spliced
		}
		return OK
	}
	p := &c[i-1]
	switch {
	case t.Parent != p.Digest():
		return Spliced
	case !slices.Contains(p.Subjects, t.Issuer):
		return NotSubject
	case p.Scope&Delegate == 0 || p.Depth == 0:
		return NoDelegate
	case t.Depth >= p.Depth:
		return TooDeep
	case !name.Covers(p.Resource, t.Resource):
		return Widened
	}
	return OK
}

func (t *Token) timeFault(wall time.Time) Reason {
	switch {
	case t.NotAfter == 0:
		return OK
	case wall.IsZero():
		return NoClock
	}
	return inTime(wall, t.NotBefore, t.NotAfter)
}

func inTime(wall time.Time, begin, end int64) Reason {
	switch now, skew := wall.Unix(), int64(Skew/time.Second); {
	case now < begin-skew:
		return TooEarly
	case now >= end+skew:
		return Expired
	}
	return OK
}

// Scope is what the links give together.
func (c Chain) Scope() Scope {
	s := AllScopes
	for i := range c {
		s &= c[i].Scope
	}
	return s
}
