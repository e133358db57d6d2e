package module

import (
	"testing"
	"time"
)

func TestLifecycleQuarantine(t *testing.T) {
	var l lifecycle
	now := time.Duration(0)
	for i := 1; i <= quarantineAfter; i++ {
		l.starting()
		l.up(now)
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
}

// TestLifecycleSlowCrashes: crashes that are far apart never lead to quarantine,
// and each is followed by a restart at once.
func TestLifecycleSlowCrashes(t *testing.T) {
	var l lifecycle
	now := time.Duration(0)
	for range 50 {
		l.starting()
		l.up(now)
		now += quarantineWindow + time.Second
		if pause, again := l.crashed(now, 12345); !again || pause != 0 {
			t.Fatalf("at %v: pause %v, again %v", now, pause, again)
		}
	}
}

func TestBackoff(t *testing.T) {
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
