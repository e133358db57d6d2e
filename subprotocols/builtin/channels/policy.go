package channels

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"nethost/sdk"
	"nethost/sdk/name"
)

// Limits of policies.
const (
	maxPolicies    = 1024
	maxRetain      = 4096
	maxRetainBytes = 4 << 20
	maxRing        = 1 << 16
	defaultRing    = 4096
	// maxRingBytes bounds what waits for one subscriber of one channel.
	maxRingBytes = 4 << 20
)

// Policy is what holds for the channels that a pattern stands for, at this node: for
// what it publishes, and for what it takes from others (P1).
type Policy struct {
	Pattern string `json:"pattern"`
	// Reliable events come in order and are not lost on the way; else each is one
	// message, and what is lost shows as a gap.
	Reliable bool `json:"reliable"`
	// Retain keeps the last so many events for who joins late, RetainS those of the
	// last so many seconds; both: what fits both.
	Retain  int     `json:"retain"`
	RetainS float64 `json:"retain_s"`
	// Rate bounds the events a second of each channel; 0: no bound. A publisher waits.
	Rate float64 `json:"rate"`
	// Priority orders what waits for one node: 7 goes first.
	Priority int `json:"priority"`
	// Slow says what becomes of a subscriber that does not keep up: "drop" its oldest
	// events, "disconnect" it, or have the publishers of this channel "wait" for it.
	Slow string `json:"slow"`
	// Ring is how many events wait for one node.
	Ring int `json:"ring"`
	// Access is "open" or "token": a chain that begins at one of Roots.
	Access string       `json:"access"`
	Roots  []sdk.NodeID `json:"-"`
	// Visibility is "global" or "local": no other node hears of it.
	Visibility string `json:"visibility"`
}

// policyJSON is Policy with its roots as text.
type policyJSON struct {
	Policy
	Roots []string `json:"roots"`
}

func defaultPolicy(access string) Policy {
	return Policy{Pattern: "**", Reliable: true, Slow: "drop", Ring: defaultRing, Access: access, Visibility: "global"}
}

func (p *Policy) guarded() bool { return p.Access == "token" }

func (p *Policy) json() policyJSON {
	j := policyJSON{*p, []string{}}
	for _, r := range p.Roots {
		j.Roots = append(j.Roots, r.String())
	}
	return j
}

// parsePolicy reads a policy as JSON. What is not said is as in base.
func parsePolicy(b []byte, base Policy) (Policy, error) {
	j := base.json()
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&j); err != nil {
		return Policy{}, fmt.Errorf("no policy: %w", err)
	}
	p := j.Policy
	p.Roots = nil
	for _, r := range j.Roots {
		id, err := sdk.ParseNodeID(r)
		if err != nil {
			return Policy{}, fmt.Errorf("roots: %w", err)
		}
		p.Roots = append(p.Roots, id)
	}
	slices.SortFunc(p.Roots, sdk.NodeID.Compare)
	p.Roots = slices.Compact(p.Roots)
	return p, p.fault()
}

func (p *Policy) fault() error {
	if err := name.CheckPattern(p.Pattern); err != nil {
		return err
	}
	switch {
	case p.Retain < 0 || p.Retain > maxRetain:
		return fmt.Errorf("retain %d, want 0 to %d events", p.Retain, maxRetain)
	case !(p.RetainS >= 0 && p.RetainS <= 86400):
		return fmt.Errorf("retain_s %v, want 0 to 86400 seconds", p.RetainS)
	case !(p.Rate >= 0 && p.Rate <= 1e9):
		return fmt.Errorf("rate %v, want 0 (none) to 1e9 events a second", p.Rate)
	case p.Priority < 0 || p.Priority > 7:
		return fmt.Errorf("priority %d, want 0 to 7", p.Priority)
	case p.Slow != "drop" && p.Slow != "disconnect" && p.Slow != "wait":
		return fmt.Errorf("slow %q, want drop, disconnect or wait", p.Slow)
	case p.Ring < 1 || p.Ring > maxRing:
		return fmt.Errorf("ring %d, want 1 to %d events", p.Ring, maxRing)
	case p.Access != "open" && p.Access != "token":
		return fmt.Errorf("access %q, want open or token", p.Access)
	case p.Visibility != "global" && p.Visibility != "local":
		return fmt.Errorf("visibility %q, want global or local", p.Visibility)
	case len(p.Roots) > 64:
		return fmt.Errorf("%d roots, want at most 64", len(p.Roots))
	}
	return nil
}

// policies are the rules of a node, most specific first.
type policies struct {
	all  []Policy
	base Policy
}

// of gives what holds for a channel (P2).
func (s *policies) of(ch string) *Policy {
	for i := range s.all {
		if name.Match(s.all[i].Pattern, ch) {
			return &s.all[i]
		}
	}
	return &s.base
}

// at finds the rule with exactly this pattern.
func (s *policies) at(pattern string) int {
	return slices.IndexFunc(s.all, func(p Policy) bool { return p.Pattern == pattern })
}

func (s *policies) put(p Policy) {
	s.remove(p.Pattern)
	at, _ := slices.BinarySearchFunc(s.all, p, func(a, b Policy) int { return moreSpecific(a.Pattern, b.Pattern) })
	s.all = slices.Insert(s.all, at, p)
}

func (s *policies) remove(pattern string) bool {
	i := s.at(pattern)
	if i >= 0 {
		s.all = slices.Delete(s.all, i, i+1)
	}
	return i >= 0
}

// moreSpecific orders patterns part by part: a word before "*" before "**", then by
// their bytes (P2).
func moreSpecific(a, b string) int {
	rank := func(s string) int {
		switch s {
		case "**":
			return 2
		case "*":
			return 1
		}
		return 0
	}
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	for i := range min(len(x), len(y)) {
		if d := rank(x[i]) - rank(y[i]); d != 0 {
			return d
		}
	}
	if len(x) != len(y) {
		return len(y) - len(x)
	}
	return strings.Compare(a, b)
}
