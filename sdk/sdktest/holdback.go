package sdktest

import (
	"slices"
	"testing"
	"time"

	"nethost/sdk"
	"nethost/sdk/sdktest/holdback"
)

// fullQueue is a queue of the host that the test fills.
type fullQueue struct {
	peer  sdk.Peer
	class sdk.Class
}

// SetFull makes the queue to a peer in a class full, or gives it room again: what is
// sent with a ref meanwhile is answered with WouldBlock (A8.1), and Writable follows.
func (h *Harness) SetFull(p sdk.Peer, c sdk.Class, full bool) {
	q := fullQueue{p, c}
	if h.full == nil {
		h.full = map[fullQueue]bool{}
	}
	if full {
		h.full[q] = false // nobody was told yet
		return
	}
	if h.full[q] {
		h.Queue(sdk.Event{Kind: sdk.EvWritable, Peer: p, Flags: flagsOf(c)})
	}
	delete(h.full, q)
}

// blocks answers a message that finds no room.
func (h *Harness) blocks(f sdk.Effect, c sdk.Class) bool {
	q := fullQueue{f.Peer, c}
	if _, full := h.full[q]; !full {
		return false
	}
	if f.Ref != 0 {
		h.full[q] = true
		h.Queue(sdk.Event{Kind: sdk.EvWouldBlock, Ref: f.Ref, Peer: f.Peer, ID: f.ID, Flags: flagsOf(c)})
	}
	return true
}

func flagsOf(c sdk.Class) uint16 {
	if c == sdk.Bulk {
		return sdk.FlagBulk
	}
	return 0
}

// ConformHoldBack runs the module of package holdback behind a carrier: TrySend holds
// back as it does in process (A8).
func ConformHoldBack(t *testing.T, open func(t *testing.T) Instance) {
	h := NewHarnessOver(t, open(t))
	h.Start(sdk.Start{Self: sdk.NodeID{9}})
	p, q := h.PeerUp(far, holdback.ID, echoVersion), h.PeerUp(sdk.NodeID{4}, holdback.ID, echoVersion)
	h.Run()
	tell := func(p sdk.Peer, texts ...string) {
		for _, text := range texts {
			h.Message(p, []byte(text))
		}
		h.Run()
	}
	sent := func(step string, want ...string) {
		t.Helper()
		var got []string
		for _, m := range h.Sent {
			got = append(got, string(m.Payload))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s: sent %q, want %q", step, got, want)
		}
		h.Sent = nil
	}
	wrote := func(step string, sends int) {
		t.Helper()
		n := 0
		for _, f := range h.Effects {
			if f.Kind == sdk.OpSend {
				n++
				if f.Ref == 0 || f.Arg != uint64(time.Second) {
					t.Errorf("%s: Send with ref %d and arg %d (A8.1, A8.4)", step, f.Ref, f.Arg)
				}
			}
		}
		if n != sends {
			t.Errorf("%s: %d effects of Send, want %d", step, n, sends)
		}
		h.Effects = nil
	}
	tell(p, "realtime 1", "bulk 1")
	sent("room", "realtime 1", "bulk 1")
	wrote("room", 2)
	h.SetFull(p, sdk.Bulk, true)
	tell(p, "bulk 2", "bulk 3", "realtime 2") // one batch: the host says no to each
	sent("full", "realtime 2")
	wrote("full", 3)
	tell(p, "bulk 4", "realtime 3")
	tell(q, "bulk 1")
	sent("the module's side says no", "realtime 3", "bulk 1") // A8.3
	wrote("the module's side says no", 2)
	h.SetFull(p, sdk.Bulk, false)
	h.Run()
	sent("room again", "bulk 2", "bulk 3", "bulk 4")
	wrote("room again", 3)
	h.SetFull(p, sdk.Bulk, true)
	tell(p, "bulk 5")
	h.PeerDown(p, sdk.DownDead)
	delete(h.full, fullQueue{p, sdk.Bulk})
	h.Run()
	h.peers[p] = agreed{holdback.ID, echoVersion} // the same handle, as a host never gives it
	tell(p, "bulk 6")
	sent("after PeerDown", "bulk 6")
}
