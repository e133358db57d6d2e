package module

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestLifecycleTable: every pair of phase and change does what SPEC.md L1 says, and
// nothing else can happen.
func TestLifecycleTable(t *testing.T) {
	text, err := os.ReadFile("SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\| ([a-z-]+) \| ([a-z ,]+) \| ([a-z-]+) \|$`).FindAllStringSubmatch(string(text), -1) {
		if m[1] == "phase" { // the head of the table
			continue
		}
		for _, c := range strings.Split(m[2], ", ") {
			if want[m[1]+"+"+c] != "" {
				t.Errorf("%s+%s stands twice", m[1], c)
			}
			want[m[1]+"+"+c] = m[3]
		}
	}
	seen := 0
	for p := range phases {
		for c := range changes {
			next, ok := p.after(c)
			key := fmt.Sprintf("%v+%v", p, c)
			switch {
			case ok && want[key] != next.String():
				t.Errorf("%s leads to %v, SPEC.md says %q", key, next, want[key])
			case !ok && want[key] != "":
				t.Errorf("%s cannot happen, SPEC.md says %q", key, want[key])
			case !ok && next != p:
				t.Errorf("%s cannot happen and yet leads to %v", key, next)
			}
			if ok {
				seen++
			}
		}
	}
	if seen != len(want) || seen < 20 {
		t.Errorf("%d transitions, SPEC.md has %d", seen, len(want))
	}
}

// TestLifecycleReachable (L1): every phase can be reached, and from every one a
// module can end or be brought back.
func TestLifecycleReachable(t *testing.T) {
	reach := func(from Phase) map[Phase]bool {
		found := map[Phase]bool{from: true}
		for todo := []Phase{from}; len(todo) > 0; todo = todo[1:] {
			for c := range changes {
				if next, ok := todo[0].after(c); ok && !found[next] {
					found[next] = true
					todo = append(todo, next)
				}
			}
		}
		return found
	}
	if n := len(reach(StateDiscovered)); n != int(phases) {
		t.Errorf("%d of %d phases can be reached", n, phases)
	}
	for p := range phases {
		if found := reach(p); !found[StateStopped] && p != StateStopped || !found[StateReady] {
			t.Errorf("from %v: %v", p, found)
		}
	}
}

// started gives a lifecycle that takes events.
func started(l *lifecycle, now time.Duration) {
	if l.phase == StateDiscovered {
		l.turn(verify)
	}
	l.turn(begin)
	l.up(now)
}

func TestLifecycleQuarantine(t *testing.T) { // L2.3, L2.4
	var l lifecycle
	now := time.Duration(0)
	for i := 1; i <= quarantineAfter; i++ {
		started(&l, now)
		now += time.Second
		pause, again := l.crashed(now, 0)
		if again != (i < quarantineAfter) {
			t.Fatalf("crash %d: again %v", i, again)
		}
		if i == 1 && pause != 0 {
			t.Errorf("the first restart waits %v", pause)
		}
	}
	if l.phase != StateQuarantined || l.restarts != quarantineAfter-1 {
		t.Errorf("%v after %d restarts", l.phase, l.restarts)
	}
	if l.turn(begin) || !l.turn(enable) || l.phase != StateVerified {
		t.Errorf("%v: only enable lifts quarantine", l.phase)
	}
	started(&l, now)
	if pause, again := l.crashed(now, 0); !again || pause != 0 {
		t.Errorf("the first crash after enable: pause %v, again %v", pause, again)
	}
}

// TestLifecycleSlowCrashes: crashes that are far apart never lead to quarantine,
// and each is followed by a restart at once (L2.1).
func TestLifecycleSlowCrashes(t *testing.T) {
	var l lifecycle
	now := time.Duration(0)
	for range 50 {
		started(&l, now)
		now += quarantineWindow + time.Second
		if pause, again := l.crashed(now, 12345); !again || pause != 0 {
			t.Fatalf("at %v: pause %v, again %v", now, pause, again)
		}
	}
}

func TestBackoff(t *testing.T) { // L2.2
	last := time.Duration(0)
	for n := 1; n < 40; n++ {
		low, high := backoff(n, 0), backoff(n, 1<<62-1)
		if low < last*3/4-time.Millisecond && n < 10 || high > maxBackoff || low < 0 {
			t.Errorf("after crash %d: %v to %v", n, low, high)
		}
		last = low
	}
	if backoff(1, 99) != 0 || backoff(2, 0) < 75*time.Millisecond || backoff(30, 0) < maxBackoff/2 {
		t.Errorf("%v %v %v", backoff(1, 99), backoff(2, 0), backoff(30, 0))
	}
}
