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
// is symmetric, deterministic and total.
func Negotiate(ours, theirs Manifest) Agreed {
	var a Agreed
	i, j := 0, 0
	for i < len(ours.Lines) || j < len(theirs.Lines) {
		var id sdk.ID
		switch {
		case i == len(ours.Lines):
			id = theirs.Lines[j].ID
		case j == len(theirs.Lines):
			id = ours.Lines[i].ID
		default:
			id = min(ours.Lines[i].ID, theirs.Lines[j].ID)
		}
		x, y := of(ours.Lines[i:], id), of(theirs.Lines[j:], id)
		i, j = i+len(x), j+len(y)
		a.Outcomes = append(a.Outcomes, agree(id, x, y))
	}
	return a
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
