package module

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// K6.1: a caller waits for its callee's first start, and not for ever.
func TestAwaitCallees(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewManager(Config{Log: slog.New(slog.DiscardHandler)})
		for _, s := range Order([]Spec{{Name: "a", Standing: Standing{Wanted: Grants{Call: []string{"b"}}}}, {Name: "b"}}) {
			m.Add(s)
		}
		callee, caller := m.slots[0], m.slots[1]
		if callee.spec.Name != "b" {
			t.Fatalf("%s comes first", callee.spec.Name)
		}
		wait := func() time.Duration {
			from := time.Now()
			caller.awaitCallees(context.Background())
			return time.Since(from)
		}
		if d := wait(); d != calleeWait {
			t.Errorf("waited %v for one that does not come", d)
		}
		time.AfterFunc(time.Second, callee.settle)
		if d := wait(); d != time.Second {
			t.Errorf("waited %v for one that came after 1 s", d)
		}
		callee.settle()
		if d := wait(); d != 0 {
			t.Errorf("waited %v for one that is up", d)
		}
	})
}
