package module

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"nethost/sdk"
)

func opened(max int) *mailbox {
	b := newMailbox(max)
	b.begin()
	b.admit()
	return b
}

func takeAll(t interface{ Fatal(...any) }, b *mailbox) []sdk.Event {
	var out []sdk.Event
	for {
		batch, err := b.take(nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(batch) == 0 {
			return out
		}
		for _, e := range batch {
			out = append(out, e.ev)
		}
	}
}

func TestMailboxDropsOldestMessages(t *testing.T) {
	b := opened(3)
	for i := range 5 {
		b.put(sdk.Event{Kind: sdk.EvMessage, Peer: 9, Payload: []byte{byte(i)}})
	}
	b.put(sdk.Event{Kind: sdk.EvStreamData, Ref: 2, Payload: []byte("kept")})
	evs := takeAll(t, b)
	var kinds []sdk.EventKind
	var first []byte
	for _, e := range evs {
		kinds = append(kinds, e.Kind)
		if e.Kind == sdk.EvMessage && first == nil {
			first = e.Payload
		}
		if e.Kind == sdk.EvOverload && (e.Arg != 2 || e.Peer != 9) {
			t.Errorf("overload says %d of peer %d", e.Arg, e.Peer)
		}
	}
	if len(evs) != 5 || first[0] != 2 {
		t.Errorf("kinds %v, first message %v", kinds, first)
	}
	if _, dropped := b.depth(); dropped != 2 {
		t.Errorf("dropped %d", dropped)
	}
}

func TestMailboxCoalesces(t *testing.T) {
	b := opened(16)
	for range 3 {
		b.put(sdk.Event{Kind: sdk.EvTimer, Ref: 5})
	}
	for i := range 3 {
		b.put(sdk.Event{Kind: sdk.EvPeerUpdate, Peer: 1, ID: 7, Payload: []byte{byte(i)}})
	}
	b.put(sdk.Event{Kind: sdk.EvPeerDown, Peer: 1, ID: 7})
	evs := takeAll(t, b)
	if len(evs) != 3 || evs[0].Kind != sdk.EvTimer || evs[1].Payload[0] != 2 || evs[2].Kind != sdk.EvPeerDown {
		t.Errorf("events %+v", evs)
	}
}

func TestMailboxDoor(t *testing.T) {
	b := newMailbox(16)
	b.put(sdk.Event{Kind: sdk.EvTimer, Ref: 1})
	old := b.begin()
	b.put(sdk.Event{Kind: sdk.EvTimer, Ref: 3}) // the host does not know the instance yet
	b.post(old, sdk.Event{Kind: sdk.EvPosted, Ref: 5})
	if evs := takeAll(t, b); len(evs) != 1 || evs[0].Ref != 5 {
		t.Errorf("before it is admitted: %+v", evs)
	}
	b.begin()
	b.admit()
	b.post(old, sdk.Event{Kind: sdk.EvPosted, Ref: 7})
	if !b.idle() {
		t.Error("a dead instance's post reached the next one")
	}
	b.fail(old, errors.New("old"))
	if _, err := b.take(nil); err != nil {
		t.Errorf("a dead instance's fault reached the next one: %v", err)
	}
}

func TestMailboxBoundsPosts(t *testing.T) {
	b := newMailbox(16)
	life := b.begin()
	for range maxOwn + 1 {
		b.post(life, sdk.Event{Kind: sdk.EvPosted, Ref: 1})
	}
	if _, err := b.take(nil); !errors.Is(err, errMailbox) {
		t.Errorf("a flood of posts: %v", err)
	}
}

// TestMailboxOrder: whatever is queued, what is not dropped comes out in order,
// and every batch is within its limits.
func TestMailboxOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := opened(8)
		var want, got []byte // stream data, which is never dropped; pieces may be put together
		n := byte(0)
		drain := func(batches int) {
			for range batches {
				batch, err := b.take(nil)
				if err != nil {
					t.Fatal(err)
				}
				size := 0
				for _, e := range batch {
					size += 40 + len(e.ev.Payload)
					if e.ev.Kind == sdk.EvStreamData {
						got = append(got, e.ev.Payload...)
					}
				}
				if len(batch) >= sdk.MaxBatchEvents || size > sdk.MaxBatchBytes {
					t.Fatalf("batch of %d events, %d bytes", len(batch), size)
				}
			}
		}
		for range rapid.IntRange(1, 400).Draw(t, "events") {
			n++
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0, 1, 2, 3:
				b.put(sdk.Event{Kind: sdk.EvMessage, Peer: 1, Payload: []byte{n}})
			case 4:
				drain(1)
			default:
				p := bytes.Repeat([]byte{n}, rapid.SampledFrom([]int{1, 100, 40_000}).Draw(t, "size"))
				want = append(want, p...)
				b.put(sdk.Event{Kind: sdk.EvStreamData, Ref: 2, Payload: p})
				clear(p) // the mailbox has its own copy
			}
		}
		for !b.idle() {
			drain(1)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%d of %d bytes of stream data came out, or they differ", len(got), len(want))
		}
	})
}

// TestMailboxMerges: bytes that come one by one are no more events than bytes that
// come together, and FIN stays the last.
func TestMailboxMerges(t *testing.T) {
	b := opened(16)
	for i := range 1000 {
		b.put(sdk.Event{Kind: sdk.EvStreamData, Ref: 2, Payload: []byte{byte(i)}})
	}
	b.put(sdk.Event{Kind: sdk.EvStreamData, Ref: 2, Flags: sdk.FlagFIN, Payload: []byte("end")})
	b.put(sdk.Event{Kind: sdk.EvStreamData, Ref: 4, Payload: []byte("other")})
	evs := takeAll(t, b)
	if len(evs) != 2 || len(evs[0].Payload) != 1003 || !evs[0].FIN() || string(evs[1].Payload) != "other" {
		t.Errorf("%d events", len(evs))
	}
}
