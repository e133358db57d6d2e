package sdktest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"nethost/sdk"
	"nethost/sdk/abi"
)

// Golden holds an SDK to the golden vectors of ABI 1 (sdk/abi/testdata). open gives
// the SDK's "golden" module, which logs what it reads of every event but Flush, in the
// form of describe, logs now and wall at Flush where a wall clock is given, and on a
// message "effects" writes the golden effects.
func Golden(t *testing.T, open func(t *testing.T) Instance) {
	_, here, _, _ := runtime.Caller(0)
	load := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(here), "../abi/testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	t.Run("events", func(t *testing.T) {
		batch := load("events.hex")
		h, r, err := abi.Parse(batch, sdk.MaxBatchBytes)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for ev, ok := r.NextEvent(); ok; ev, ok = r.NextEvent() {
			if ev.Kind != sdk.EvFlush {
				want = append(want, describe(t, ev))
			}
		}
		want = append(want, fmt.Sprintf("now=%d wall=%d", h.Now, h.Wall))
		out, err := open(t).Deliver(batch)
		if err != nil {
			t.Fatal(err)
		}
		_, r, err = abi.Parse(out, sdk.MaxEffectBytes)
		if err != nil {
			t.Fatal(err)
		}
		i := 0
		for f, ok := r.NextEffect(); ok; f, ok = r.NextEffect() {
			if i >= len(want) || f.Kind != sdk.OpLog || sdk.LogLevel(f.Arg) != sdk.LogInfo || string(f.Payload) != want[i] {
				t.Fatalf("line %d: %v %q, want %q", i, f.Kind, f.Payload, want[min(i, len(want)-1)])
			}
			i++
		}
		if i != len(want) {
			t.Fatalf("%d lines, want %d", i, len(want))
		}
	})
	t.Run("effects", func(t *testing.T) {
		var w abi.Writer
		w.ResetEvents(42, 0, 0)
		w.Event(sdk.Event{Kind: sdk.EvMessage, Peer: 7, Payload: []byte("effects")})
		w.Event(sdk.Event{Kind: sdk.EvFlush})
		got, err := open(t).Deliver(w.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if want := load("effects.hex"); !bytes.Equal(got, want) {
			t.Fatalf("%d bytes of effects, want the %d of effects.hex\n%s", len(got), len(want), diff(got, want))
		}
	})
	t.Run("hold", func(t *testing.T) { goldenHold(t, open, load("hold.hex")) })
}

// hold hands a golden module events, then the message "hold", and gives what it sends.
func hold(t *testing.T, i Instance, before ...sdk.Event) (batch []byte, sent []sdk.Effect) {
	t.Helper()
	var w abi.Writer
	w.ResetEvents(42, 0, 0)
	for _, ev := range before {
		w.Event(ev)
	}
	w.Event(sdk.Event{Kind: sdk.EvMessage, Peer: 7, Payload: []byte("hold")})
	w.Event(sdk.Event{Kind: sdk.EvFlush})
	batch, err := i.Deliver(w.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	_, r, err := abi.Parse(batch, sdk.MaxEffectBytes)
	if err != nil {
		t.Fatal(err)
	}
	for f, ok := r.NextEffect(); ok; f, ok = r.NextEffect() {
		if f.Kind == sdk.OpSend {
			sent = append(sent, f)
		}
	}
	return batch, sent
}

// goldenHold holds an SDK to A8: the bytes of TrySend and SendWithin, and what its Env
// remembers of full queues.
func goldenHold(t *testing.T, open func(t *testing.T) Instance, want []byte) {
	i := open(t)
	if got, _ := hold(t, i); !bytes.Equal(got, want) {
		t.Fatalf("%d bytes of effects, want the %d of hold.hex\n%s", len(got), len(want), diff(got, want))
	}
	block := sdk.Event{Kind: sdk.EvWouldBlock, Flags: sdk.FlagBulk, Peer: 7, ID: 0x1001, Ref: 15}
	other, realtime := block, block
	other.Peer, realtime.Flags = 8, 0
	for _, c := range []struct {
		what   string
		before []sdk.Event
		sends  int
	}{
		{"the queue is full", []sdk.Event{block}, 1},
		{"it is still full", nil, 1},
		{"another class has room", []sdk.Event{{Kind: sdk.EvWritable, Peer: 7}}, 1},
		{"it has room", []sdk.Event{{Kind: sdk.EvWritable, Flags: sdk.FlagBulk, Peer: 7}}, 2},
		{"queues of another peer and class are full", []sdk.Event{other, realtime}, 2},
		{"the peer is gone", []sdk.Event{block, block, {Kind: sdk.EvPeerDown, Peer: 7, ID: 0x1001, Arg: uint64(sdk.DownDenied)}}, 2},
	} {
		if _, sent := hold(t, i, c.before...); len(sent) != c.sends {
			t.Errorf("%s: %d messages were sent, want %d", c.what, len(sent), c.sends)
		}
	}
}

// describe is an event as a golden module tells it.
func describe(t *testing.T, ev sdk.Event) string {
	t.Helper()
	s := fmt.Sprintf("kind=%d flags=%d peer=%d id=%d version=%d.%d ref=%d arg=%d", ev.Kind, ev.Flags, ev.Peer, uint16(ev.ID),
		ev.Version.Major, ev.Version.Minor, ev.Ref, ev.Arg)
	var err error
	switch ev.Kind {
	case sdk.EvState:
		var key, val []byte
		key, val, err = sdk.ParseStateEntry(ev.Payload)
		s += fmt.Sprintf(" key=%s value=%s", key, val)
	case sdk.EvConfig:
		var pairs []sdk.Pair
		pairs, err = sdk.ParsePairs(ev.Payload)
		var all []string
		for _, p := range pairs {
			all = append(all, p.Key+":"+p.Value)
		}
		s += " pairs=" + strings.Join(all, ",")
	case sdk.EvStart:
		var p sdk.Start
		p, err = sdk.ParseStart(ev.Payload)
		s += fmt.Sprintf(" reason=%d self=%x memory=%d state=%d previous=%s entropy=%x secret=%x grants=%s", p.Reason, p.Self[:], p.MemoryLimit,
			p.StateLimit, p.Previous, p.Entropy, p.Secret, strings.Join(p.Grants, ","))
	case sdk.EvPeerUp, sdk.EvPeerUpdate:
		var p sdk.PeerInfo
		p, err = sdk.ParsePeerInfo(ev.Payload)
		s += fmt.Sprintf(" node=%x rtt=%d mtu=%d", p.Node[:], int64(p.RTT), p.MTU)
	case sdk.EvStreamOpen:
		var o sdk.Open
		o, err = sdk.ParseOpen(ev.Payload)
		s += fmt.Sprintf(" from=%d hops=%d deadline=%d principal=%x method=%s meta=%x", o.From, o.Hops, int64(o.Deadline), o.Principal, o.Method, o.Meta)
	case sdk.EvAnnounceChanged:
		var tags []string
		tags, err = sdk.ParseTags(ev.Payload)
		s += " tags=" + strings.Join(tags, ",")
	default:
		s += fmt.Sprintf(" data=%x", ev.Payload)
	}
	if err != nil {
		t.Fatalf("%v: %v", ev.Kind, err)
	}
	return s
}
