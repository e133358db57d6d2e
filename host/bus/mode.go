package bus

import "fmt"

// Mode is what Publish does when the ring is full, which it is when the slowest
// consumer has not read the oldest event in it. Without consumers no ring is ever
// full: the oldest event makes room.
type Mode struct {
	kind kind
	n    uint64
}

type kind uint8

const (
	dropOldest kind = iota
	dropNewest
	fail
	block
	sample
)

// The modes. The zero Mode is DropOldest.
var (
	DropOldest = Mode{kind: dropOldest} // the oldest event makes room; consumers that had not read it are told how many they missed
	DropNewest = Mode{kind: dropNewest} // the new event is dropped and counted; Publish returns nil
	Fail       = Mode{kind: fail}       // Publish returns ErrFull
	Block      = Mode{kind: block}      // Publish waits for room, or for the end of its context
)

// Sample lets one of n new events in while the ring is full, in the place of the
// oldest, and drops the others. n below 2 is DropOldest.
func Sample(n int) Mode {
	if n < 2 {
		return DropOldest
	}
	return Mode{kind: sample, n: uint64(n)}
}

// String is the mode as ParseMode reads it.
func (m Mode) String() string {
	if m.kind == sample {
		return fmt.Sprintf("sample(%d)", m.n)
	}
	return [...]string{"drop_oldest", "drop_newest", "fail", "block"}[m.kind]
}

// ParseMode reads drop_oldest, drop_newest, fail, block or sample(N) with N of 2
// and more.
func ParseMode(s string) (Mode, error) {
	for _, m := range []Mode{DropOldest, DropNewest, Fail, Block} {
		if m.String() == s {
			return m, nil
		}
	}
	var n int
	if _, err := fmt.Sscanf(s, "sample(%d)", &n); err == nil && n >= 2 && Sample(n).String() == s {
		return Sample(n), nil
	}
	return Mode{}, fmt.Errorf("bus: no mode %q: it is drop_oldest, drop_newest, fail, block or sample(N) with N of 2 or more", s)
}
