package stream

import (
	"testing"
	"time"

	"nethost/sdk"
)

// TestDeadlines: S9.3. Which of two messages leave when their turn comes late.
func TestDeadlines(t *testing.T) {
	bulk := uint8(sdk.Bulk) << 2
	for _, c := range []struct {
		name  string
		flags uint8
		until time.Duration
		turn  time.Duration
		stale uint64
	}{
		{"bulk without one", bulk, never, time.Hour, 0},
		{"bulk in time", bulk, 20 * time.Millisecond, 20 * time.Millisecond, 0},
		{"bulk too late", bulk, 20 * time.Millisecond, 21 * time.Millisecond, 1},
		{"realtime too late", 0, 2 * time.Millisecond, 3 * time.Millisecond, 1},
		{"realtime in time", 0, 2 * time.Millisecond, 2 * time.Millisecond, 0},
		{"realtime, and it does not lengthen the 5 ms", 0, time.Second, 6 * time.Millisecond, 1},
	} {
		m := New(Config{})
		if m.SendUntil(testID, c.flags, []byte("mortal"), c.until, 0) != OK || m.Send(testID, c.flags, []byte("immortal"), c.turn) != OK {
			t.Fatal("not taken")
		}
		left := len(m.Fill(nil, 1000, c.turn))
		var stale uint64
		for _, d := range m.Dropped() {
			stale += d.N
			if d.ID != testID || d.Flags != c.flags {
				t.Errorf("%s: dropped %+v", c.name, d)
			}
		}
		want := 2*messageOverhead + len("mortal") + len("immortal")
		if c.stale > 0 {
			want -= messageOverhead + len("mortal")
		}
		if stale != c.stale || left != want {
			t.Errorf("%s: %d dropped, %d bytes left, want %d and %d", c.name, stale, left, c.stale, want)
		}
	}
}

// TestRoomy: half of the messages or half of the bytes.
func TestRoomy(t *testing.T) {
	for _, size := range []int{0, 1000, 60000} {
		m := New(Config{})
		n := 0
		for m.Roomy(0) {
			if m.Send(testID, 0, make([]byte, size), 0) != OK {
				t.Fatal("full before it is half full")
			}
			n++
		}
		more := 0
		for m.Send(testID, 0, make([]byte, size), 0) == OK {
			more++
		}
		if more < n-2 || more > n+2 || !m.Roomy(uint8(sdk.Bulk)<<2) {
			t.Errorf("%d messages of %d bytes fill half, %d more the rest", n, size, more)
		}
	}
}
