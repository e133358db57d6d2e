package host

import (
	"testing"
	"time"
)

func TestWarnLimit(t *testing.T) {
	var w warnLimit
	now, lines := time.Minute, 0
	for range 1000 {
		if _, ok := w.allow(now); ok {
			lines++
		}
	}
	if lines != warnRate {
		t.Errorf("%d lines in one second", lines)
	}
	if hidden, ok := w.allow(now + time.Second); !ok || hidden != 1000-warnRate {
		t.Errorf("next second: %d hidden, %v", hidden, ok)
	}
}
