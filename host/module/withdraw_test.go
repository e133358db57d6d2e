package module

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"nethost/sdk"
)

// TestOpenResetLoop (L5.2): a peer that opens and resets streams without end does not
// fill the mailbox of a module that is slow, whatever stands between.
func TestOpenResetLoop(t *testing.T) {
	b := opened(10)
	b.put(sdk.Event{Kind: sdk.EvStreamOpen, Ref: 1 << 40})
	const n = maxQueued / 2 // of three events each
	for i := range sdk.Ref(n) {
		ref := 2 * (i + 1)
		b.put(sdk.Event{Kind: sdk.EvStreamOpen, Ref: ref, Payload: []byte("open")})
		b.put(sdk.Event{Kind: sdk.EvStreamData, Ref: ref, Payload: []byte("data")})
		if i > 0 { // one behind, so that each reset leaves a hole
			b.put(sdk.Event{Kind: sdk.EvStreamReset, Ref: ref - 2})
		}
	}
	if waits, _ := b.depth(); waits != 3 || b.rest.len() > 8*compactAfter || b.restBytes != 8 {
		t.Errorf("%d events wait in %d places, %d bytes", waits, b.rest.len(), b.restBytes)
	}
	evs := takeAll(t, b)
	if len(evs) != 3 || evs[0].Ref != 1<<40 || evs[1].Ref != 2*n || string(evs[2].Payload) != "data" {
		t.Errorf("%v", evs)
	}
	// A stream that the module has seen: it hears of the reset.
	b.put(sdk.Event{Kind: sdk.EvStreamReset, Ref: 1 << 40})
	if evs := takeAll(t, b); len(evs) != 1 {
		t.Errorf("%v", evs)
	}
}

// TestTimerCancelled (L5.1): an expiry that waits is withdrawn with its timer.
func TestTimerCancelled(t *testing.T) {
	b := opened(10)
	for ref := range sdk.Ref(4) {
		b.put(sdk.Event{Kind: sdk.EvTimer, Ref: ref})
	}
	b.cancelTimer(1)
	b.cancelTimer(3)
	b.cancelTimer(7)
	b.put(sdk.Event{Kind: sdk.EvTimer, Ref: 1})
	var refs []sdk.Ref
	for _, ev := range takeAll(t, b) {
		refs = append(refs, ev.Ref)
	}
	if !slices.Equal(refs, []sdk.Ref{0, 2, 1}) || !b.idle() {
		t.Errorf("%v", refs)
	}
}

// TestMailboxAgainstDumbTwin: whatever is put, taken, cancelled, reset and handed
// over, what comes out is what a plain list would give.
func TestMailboxAgainstDumbTwin(t *testing.T) { // L3.3, L5.1, L5.2
	rapid.Check(t, func(t *rapid.T) {
		b, next := opened(1000), opened(1000)
		var list, moved []string
		seen := map[sdk.Ref]bool{}
		name := func(ev sdk.Event) string { return fmt.Sprint(ev.Kind, ev.Ref, ev.ID, string(ev.Payload)) }
		drop := func(what func(k sdk.EventKind, ref sdk.Ref) bool) {
			list = slices.DeleteFunc(list, func(s string) bool {
				for _, k := range []sdk.EventKind{sdk.EvTimer, sdk.EvStreamOpen, sdk.EvStreamCredit} {
					for ref := range sdk.Ref(6) {
						if what(k, ref) && s == name(sdk.Event{Kind: k, Ref: ref, ID: sdk.ID(ref % 2)}) {
							return true
						}
					}
				}
				return false
			})
		}
		steps := rapid.SliceOfN(rapid.IntRange(0, 35), 0, 60).Draw(t, "steps")
		for i, s := range steps {
			ref := sdk.Ref(s % 6)
			ev := sdk.Event{Ref: ref, ID: sdk.ID(ref % 2)}
			_, fresh := b.fresh[ref]
			switch s / 6 {
			case 0:
				ev.Kind = sdk.EvTimer
				if !slices.Contains(list, name(ev)) {
					list = append(list, name(ev))
				}
				b.put(ev)
			case 1:
				if ev.Kind = sdk.EvStreamOpen; !fresh && !seen[ref] {
					b.put(ev)
					list = append(list, name(ev))
				}
			case 2:
				if ev.Kind = sdk.EvStreamCredit; fresh || seen[ref] {
					b.put(ev)
					list = append(list, name(ev))
				}
			case 3:
				b.cancelTimer(ref)
				drop(func(k sdk.EventKind, r sdk.Ref) bool { return k == sdk.EvTimer && r == ref })
			case 4:
				if ev.Kind = sdk.EvStreamReset; fresh {
					b.put(ev)
					drop(func(k sdk.EventKind, r sdk.Ref) bool { return k != sdk.EvTimer && r == ref })
				}
			case 5:
				if i%3 == 0 {
					b.mu.Lock()
					b.compact()
					b.mu.Unlock()
					break
				}
				for _, got := range takeAll(t, b) {
					if len(list) == 0 || name(got) != list[0] {
						t.Fatalf("taken %v, want %v", name(got), list)
					}
					list = list[1:]
					seen[got.Ref] = seen[got.Ref] || got.Kind == sdk.EvStreamOpen
				}
				if len(list) > 0 {
					t.Fatalf("not taken: %v", list)
				}
			}
		}
		waits, _ := b.depth()
		if waits != len(list) {
			t.Fatalf("%d wait, want %d", waits, len(list))
		}
		fresh := map[sdk.Ref]bool{}
		for ref := range b.fresh {
			fresh[ref] = ref%2 == 1
		}
		refs := b.moveTo(next, func(id sdk.ID, _ sdk.Version) bool { return id == 1 })
		for ref := range fresh {
			if slices.Contains(refs, ref) != fresh[ref] {
				t.Fatalf("moved %v of %v", refs, fresh)
			}
		}
		list = slices.DeleteFunc(list, func(s string) bool {
			for _, ref := range refs {
				for _, k := range []sdk.EventKind{sdk.EvStreamOpen, sdk.EvStreamCredit} {
					if s == name(sdk.Event{Kind: k, Ref: ref, ID: 1}) {
						moved = append(moved, s)
						return true
					}
				}
			}
			return false
		})
		for box, want := range map[*mailbox][]string{b: list, next: moved} {
			var got []string
			for _, ev := range takeAll(t, box) {
				got = append(got, name(ev))
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%v, want %v", got, want)
			}
		}
	})
}

// TestMessagesMove (L3.3): messages the new version takes move, the others stay, in
// order both.
func TestMessagesMove(t *testing.T) {
	b, next := opened(100), opened(100)
	for i := range byte(10) {
		b.put(sdk.Event{Kind: sdk.EvMessage, ID: sdk.ID(i % 2), Payload: []byte{i}})
	}
	b.moveTo(next, func(id sdk.ID, _ sdk.Version) bool { return id == 1 })
	for box, first := range map[*mailbox]byte{b: 0, next: 1} {
		evs := takeAll(t, box)
		for i, ev := range evs {
			if len(evs) != 5 || ev.Payload[0] != first+2*byte(i) {
				t.Errorf("from %d: event %d is %v", first, i, ev.Payload)
			}
		}
	}
}

func TestMailboxAllocates(t *testing.T) {
	b := opened(100)
	var batch []entry
	payload := make([]byte, 100)
	round := func() {
		for ref := range sdk.Ref(20) {
			b.put(sdk.Event{Kind: sdk.EvStreamOpen, Ref: ref, Payload: payload})
			b.put(sdk.Event{Kind: sdk.EvStreamData, Ref: ref, Payload: payload})
			b.put(sdk.Event{Kind: sdk.EvMessage, Payload: payload})
		}
		batch, _ = b.take(batch)
	}
	round()
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations for 60 events", n)
	}
}
