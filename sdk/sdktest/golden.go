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
