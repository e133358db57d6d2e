package registry

import (
	"slices"

	"nethost/sdk"
)

// State says what became of an id between two nodes.
type State uint8

// The states of an id.
const (
	StateAgreed   State = iota + 1 // both speak it at Outcome.Version
	StateMismatch                  // both have it, no version fits both
	StateAbsent                    // only one side has it
)

// String names the state.
func (s State) String() string {
	switch s {
	case StateAgreed:
		return "agreed"
	case StateMismatch:
		return "mismatch"
	case StateAbsent:
		return "absent"
	}
	return "unknown"
}

// Outcome is what became of one id.
type Outcome struct {
	ID       sdk.ID
	State    State
	Version  sdk.Version // when agreed
	Required bool        // by either side
}

// Agreed is the result of a negotiation: an outcome for every id that either
// side has, sorted by id.
type Agreed struct{ Outcomes []Outcome }

// Negotiate agrees on ids (R3). For each id, over pairs of lines of one major,
// the greatest min(a.Version, b.Version) that is at least both MinPeers wins. It
// is symmetric, deterministic and total: lines in another order, or twice, give
// the same result.
func Negotiate(ours, theirs Manifest) Agreed {
	var a Agreed
	us, them := sorted(ours.Lines), sorted(theirs.Lines)
	i, j := 0, 0
	for i < len(us) || j < len(them) {
		var id sdk.ID
		switch {
		case i == len(us):
			id = them[j].ID
		case j == len(them):
			id = us[i].ID
		default:
			id = min(us[i].ID, them[j].ID)
		}
		x, y := of(us[i:], id), of(them[j:], id)
		i, j = i+len(x), j+len(y)
		a.Outcomes = append(a.Outcomes, agree(id, x, y))
	}
	return a
}

// sorted gives lines in order, themselves when they are. The walk of Negotiate
// finds lines by bisection and would not end over lines in disorder.
func sorted(lines []Line) []Line {
	if slices.IsSortedFunc(lines, compare) {
		return lines
	}
	lines = slices.Clone(lines)
	slices.SortFunc(lines, compare)
	return lines
}

// agree finds the outcome of one id from both sides' lines of it.
func agree(id sdk.ID, x, y []Line) Outcome {
	o := Outcome{ID: id, State: StateMismatch}
	if len(x) == 0 || len(y) == 0 {
		o.State = StateAbsent
	}
	for _, l := range x {
		o.Required = o.Required || l.Required
	}
	for _, m := range y {
		o.Required = o.Required || m.Required
		for _, l := range x {
			if l.Version.Major != m.Version.Major {
				continue
			}
			v := l.Version
			if m.Version.Compare(v) < 0 {
				v = m.Version
			}
			if v.Compare(l.MinPeer) < 0 || v.Compare(m.MinPeer) < 0 {
				continue
			}
			if o.State != StateAgreed || v.Compare(o.Version) > 0 {
				o.State, o.Version = StateAgreed, v
			}
		}
	}
	return o
}

// Lookup gives the agreed version of an id.
func (a *Agreed) Lookup(id sdk.ID) (sdk.Version, bool) {
	i, ok := slices.BinarySearchFunc(a.Outcomes, id, func(o Outcome, id sdk.ID) int { return int(o.ID) - int(id) })
	if !ok || a.Outcomes[i].State != StateAgreed {
		return sdk.Version{}, false
	}
	return a.Outcomes[i].Version, true
}

// Refused reports an id that one side requires and that was not agreed: the
// session must end (R3.4).
func (a *Agreed) Refused() (sdk.ID, bool) {
	for _, o := range a.Outcomes {
		if o.Required && o.State != StateAgreed {
			return o.ID, true
		}
	}
	return 0, false
}
