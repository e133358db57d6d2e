package sdk

import (
	"bytes"
	"testing"
)

// TestTrySend: A8.3, what the module's side remembers of full queues.
func TestTrySend(t *testing.T) {
	r, env := newRecorder()
	try := func(p Peer, c Class, want bool) {
		t.Helper()
		before := r.out.Count()
		if got := env.TrySend(1, p, 2, c, 0, nil); got != want || (r.out.Count() > before) != want {
			t.Errorf("TrySend to %d in class %d: %v, %d effects", p, c, got, r.out.Count()-before)
		}
	}
	tell := func(k EventKind, p Peer, flags uint16) { env.Backpressure(&Event{Kind: k, Peer: p, Flags: flags}) }
	try(1, Bulk, true)
	tell(EvWritable, 1, FlagBulk) // as after a restart: harmless
	tell(EvWouldBlock, 1, FlagBulk)
	tell(EvWouldBlock, 3, 0)
	try(1, Bulk, false)
	try(1, Realtime, true)
	try(3, Bulk, true)
	try(3, Realtime, false)
	tell(EvWritable, 1, 0) // the other class
	try(1, Bulk, false)
	tell(EvWritable, 1, FlagBulk)
	try(1, Bulk, true)
	tell(EvPeerDown, 3, 0)
	try(3, Realtime, true)
}

// TestDrop: A8.6.
func TestDrop(t *testing.T) {
	d := Drop{Bulk, "stale"}
	if got, err := ParseDrop(AppendDrop(nil, d)); err != nil || got != d {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := ParseDrop(nil); err == nil {
		t.Error("nothing was taken for a drop")
	}
}

func FuzzDrop(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1})
	f.Add([]byte("\x00queue_full"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := ParseDrop(b); err == nil && !bytes.Equal(AppendDrop(nil, d), b) || err != nil && len(b) > 0 {
			t.Errorf("%x reads back as %+v, %v", b, d, err)
		}
	})
}
