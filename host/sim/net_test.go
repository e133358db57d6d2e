package sim

import (
	"slices"
	"testing"
	"time"

	"nethost/host/impair"
)

// pair is a world of two nodes A and B, agreed, with a link between them.
func pair(t *testing.T, c impair.Config) (w *World, a, b *Node) {
	t.Helper()
	w = New(1)
	a, err := w.Add(NodeConfig{Name: "A"})
	if err != nil {
		t.Fatal(err)
	}
	if b, err = w.Add(NodeConfig{Name: "B"}); err != nil {
		t.Fatal(err)
	}
	if err := w.Connect(a, b, c); err != nil {
		t.Fatal(err)
	}
	a.Dial(b)
	if err := w.Run(time.Second); err != nil {
		t.Fatal(err)
	}
	if !a.Agreed(b) {
		t.Fatal("A and B did not agree")
	}
	return w, a, b
}

// TestRebindStrands: what is under way to the old address of a node does not
// reach it at the new one, and what is sent there afterwards neither.
func TestRebindStrands(t *testing.T) {
	w, a, b := pair(t, impair.Config{Delay: 10 * time.Millisecond})
	old := a.Addr
	before := len(a.wire)
	w.transmit(b, old, []byte("under way"))
	a.Rebind()
	w.transmit(b, old, []byte("too late"))
	w.transmit(b, a.Addr, []byte("to the new one"))
	if a.Addr == old || a.Addr.Addr() != old.Addr() {
		t.Fatalf("rebound from %v to %v", old, a.Addr)
	}
	if err := w.Run(20 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, c := range a.wire[before:] {
		got[string(c.b)] = true
	}
	if got["under way"] || got["too late"] || !got["to the new one"] {
		t.Errorf("A got %v", got)
	}
}

// TestDirections: each direction is a link of its own, with dice of its own.
func TestDirections(t *testing.T) {
	w, a, b := pair(t, impair.Config{})
	ab, _ := w.Link(a, b)
	ba, _ := w.Link(b, a)
	ab.Set(impair.Config{Loss: 0.5})
	ba.Set(impair.Config{Loss: 0.5})
	fates := func(l *impair.Link) (f []impair.Fate) {
		for range 64 {
			c, _ := l.Pass(w.now, 1)
			f = append(f, c[0].Fate)
		}
		return f
	}
	if slices.Equal(fates(ab), fates(ba)) {
		t.Error("both directions lose the same datagrams")
	}
	ab.Set(impair.Config{Loss: 1})
	ba.Set(impair.Config{})
	if slices.Contains(fates(ab), impair.Passed) || slices.Contains(fates(ba), impair.DropLoss) {
		t.Error("a change of one direction changed the other")
	}
}
