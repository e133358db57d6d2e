package check

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"nethost/sdk"
	"nethost/sdk/abi"
	"nethost/sdk/sdktest"
)

var cases = []testCase{
	{"abi", "starts with state, configuration and grants", func(r *run) { r.started() }},
	{"abi", "takes batches that hold nothing but Flush", func(r *run) {
		h, _ := r.started()
		for range 3 {
			h.Run()
		}
	}},
	{"abi", "skips events of kinds it does not know", unknownKinds},
	{"abi", "ends on malformed batches", malformed},
	{"abi", "is told to stop", func(r *run) { h, _ := r.started(); h.Stop() }},
	{"limits", "takes 256 messages in one batch", fullBatch},
	{"limits", "takes messages of every size up to 64 KiB", sizes},
	{"limits", "takes 64 streams that give no credit", noCredit},
	{"limits", "answers late events of streams that are gone with silence", lateEvents},
	{"permissions", "lives without any grant", noGrants},
	{"permissions", "asks for what it uses", asksForWhatItUses},
	{"permissions", "takes no for an answer", denied},
	{"negotiation", "talks to peers of the oldest version it accepts", oldestPeers},
	{"negotiation", "lets peers go and come back", peersGo},
	{"state", "comes up with the state it wrote", stateBack},
	{"state", "keeps within the state it was granted", stateLimit},
	{"determinism", "does the same to the same batches", sameEffects},
	{"crash", "comes up after a crash", crash},
	{"crash", "drains", drains},
}

func unknownKinds(r *run) {
	h, peers := r.started()
	h.Effects = nil
	for _, k := range []sdk.EventKind{9, 199, 9999, 65535} {
		h.Queue(sdk.Event{Kind: k, Flags: 0xffff, ID: 0xffff, Peer: peers[0], Ref: 7, Arg: 1 << 63, Payload: []byte("from a newer host")})
	}
	h.Run()
	for _, f := range h.Effects {
		if f.Ref == 7 || f.ID == 0xffff {
			r.Fatalf("an event of an unknown kind was answered with %v", f.Kind)
		}
	}
}

func malformed(r *run) {
	var w abi.Writer
	w.ResetEvents(1, 0, 0)
	w.Event(sdk.Event{Kind: sdk.EvFlush})
	good := w.Bytes()
	for name, change := range map[string]func([]byte) []byte{
		"cut in the header":   func(b []byte) []byte { return b[:abi.HeaderSize-1] },
		"no magic":            func(b []byte) []byte { b[0] = 'X'; return b },
		"one record too many": func(b []byte) []byte { b[8] = 9; return b },
		"a length past its end": func(b []byte) []byte {
			b[abi.HeaderSize+7] = 0x7f
			return b
		},
	} {
		i := r.open()
		if _, err := i.Deliver(change(bytes.Clone(good))); err == nil {
			r.Errorf("a batch with %s was taken", name)
		}
		i.Close()
	}
}

func fullBatch(r *run) {
	h, peers := r.started()
	for i := range sdk.MaxBatchEvents {
		h.Message(peers[i%len(peers)], pattern(uint64(i), 900))
	}
	h.Run()
}

func sizes(r *run) {
	h, peers := r.started()
	for i, n := range []int{0, 1, 7, 8, 9, 100, 1100, 4096, sdk.MaxMessage} {
		for _, p := range peers {
			h.Message(p, pattern(uint64(i), n))
		}
		h.Run()
	}
}

func noCredit(r *run) {
	h, peers := r.started()
	for i := range 64 {
		s := h.OpenStreamCredit(peers[i%len(peers)], r.id(i), sdk.Open{Method: r.method(i)}, 0)
		if !s.WasReset {
			s.Write(pattern(uint64(i), 1000), true)
		}
	}
	h.Run()
}

func lateEvents(r *run) {
	h, peers := r.started()
	s := h.OpenStream(peers[0], r.id(0), sdk.Open{Method: r.method(0)})
	h.Run()
	s.Reset(sdk.Cancelled, "changed my mind")
	h.Run()
	h.Effects = nil
	h.Queue(sdk.Event{Kind: sdk.EvStreamData, Ref: s.Ref, Payload: []byte("late")})
	h.Queue(sdk.Event{Kind: sdk.EvStreamCredit, Ref: s.Ref, Arg: 5})
	h.Queue(sdk.Event{Kind: sdk.EvStreamReset, Ref: s.Ref, Arg: uint64(sdk.PeerGone)})
	h.Run()
	for _, f := range h.Effects {
		if f.Ref == s.Ref {
			r.Fatalf("%v on a stream that was reset", f.Kind)
		}
	}
}

func noGrants(r *run) {
	r.Grants, r.StateLimit = nil, 0
	h, peers := r.started()
	r.traffic(h, peers, 1, 30)
}

// grantOf names the grant that an effect needs, "" for none.
func grantOf(f sdk.Effect) string {
	switch f.Kind {
	case sdk.OpStatePut, sdk.OpStateDelete, sdk.OpCommit:
		return "state"
	case sdk.OpConnect:
		return "connect"
	case sdk.OpSign:
		return "sign"
	case sdk.OpAnnounce:
		return "announce"
	case sdk.OpStreamOpen:
		if f.Flags&sdk.FlagModule != 0 {
			return "call"
		}
	}
	return ""
}

func asksForWhatItUses(r *run) {
	h, peers := r.started()
	r.traffic(h, peers, 2, 60)
	for _, f := range h.Effects {
		if g := grantOf(f); g != "" && !slices.ContainsFunc(r.Grants, func(have string) bool { return have == g || strings.HasPrefix(have, g+":") }) {
			r.Fatalf("it wrote %v, which needs the grant %s: ask for it in [wants] of module.toml", f.Kind, g)
		}
	}
}

func denied(r *run) {
	h, peers := r.started()
	for _, k := range []sdk.EffectKind{sdk.OpStatePut, sdk.OpConnect, sdk.OpStreamOpen, sdk.OpSign, sdk.OpAnnounce, sdk.OpCommit} {
		h.Queue(sdk.Event{Kind: sdk.EvDenied, Ref: 12345, Arg: uint64(k), Payload: []byte("state")})
	}
	h.Run()
	r.traffic(h, peers, 3, 10)
}

func oldestPeers(r *run) {
	h := sdktest.NewHarnessOver(r, r.open())
	h.Start(r.start(), r.Config...)
	var peers []sdk.Peer
	for i, p := range r.Subprotocols {
		peers = append(peers, h.PeerUp(sdk.NodeID{2, byte(i)}, p.ID, p.MinPeer))
	}
	h.Run()
	r.traffic(h, peers, 4, 30)
}

func peersGo(r *run) {
	h, peers := r.started()
	r.traffic(h, peers, 5, 20)
	for i, p := range peers {
		h.PeerDown(p, []sdk.DownReason{sdk.DownDead, sdk.DownGoodbye, sdk.DownReplaced, sdk.DownAgreement}[i%4])
	}
	h.Run()
	h.Advance(10 * time.Second)
	r.traffic(h, r.peers(h), 6, 20)
}

func stateBack(r *run) {
	if r.StateLimit == 0 {
		r.Skipf("it asks for no state")
	}
	h, peers := r.started()
	r.traffic(h, peers, 7, 60)
	wrote := len(h.State)
	h.Restart(r.open(), r.start())
	r.traffic(h, peers, 8, 20)
	if wrote == 0 {
		r.Skipf("it wrote no state under the traffic of this test")
	}
}

func stateLimit(r *run) {
	if r.StateLimit == 0 {
		r.Skipf("it asks for no state")
	}
	h, peers := r.started()
	r.traffic(h, peers, 9, 200)
	var used uint64
	for k, v := range h.State {
		used += uint64(len(k) + len(v))
	}
	if used > r.StateLimit {
		r.Fatalf("its state has %d bytes, [wants] says %d", used, r.StateLimit)
	}
}

func sameEffects(r *run) {
	if !r.Deterministic {
		r.Skipf("a program may read clocks and devices")
	}
	var got [2][]string
	for i := range got {
		h, peers := r.started()
		r.traffic(h, peers, 10, 120)
		for _, f := range h.Effects {
			got[i] = append(got[i], fmt.Sprintf("%v flags %d peer %d id %v ref %d arg %d %x", f.Kind, f.Flags, f.Peer, f.ID, f.Ref, f.Arg, f.Payload))
		}
	}
	for i := range max(len(got[0]), len(got[1])) {
		if i >= len(got[0]) || i >= len(got[1]) || got[0][i] != got[1][i] {
			a, b := "nothing", "nothing"
			if i < len(got[0]) {
				a = got[0][i]
			}
			if i < len(got[1]) {
				b = got[1][i]
			}
			r.Fatalf("effect %d of the same batches: %.200s, then %.200s: does it walk over a map, or keep something across instances?", i, a, b)
		}
	}
}

func crash(r *run) {
	h, peers := r.started()
	r.traffic(h, peers, 11, 20)
	next := r.open()
	h.Restart(next, r.start())
	r.traffic(h, peers, 12, 20)
}

func drains(r *run) {
	h, peers := r.started()
	r.traffic(h, peers, 13, 10)
	for _, p := range peers {
		h.PeerDown(p, sdk.DownLocal)
	}
	h.Run()
	h.Effects = nil
	h.Queue(sdk.Event{Kind: sdk.EvDrain, Arg: uint64(5 * time.Second)})
	h.Run()
	h.Advance(5 * time.Second)
	if !slices.ContainsFunc(h.Effects, func(f sdk.Effect) bool { return f.Kind == sdk.OpDrained }) {
		r.Fatalf("Drain was not answered with Drained within its 5 s, with no stream open: the host cuts it off then")
	}
}

func (r *run) id(i int) sdk.ID { return r.Subprotocols[i%len(r.Subprotocols)].ID }

// method gives the module's methods in turn, and once in a while none or a wrong one.
func (r *run) method(i int) string {
	if all := append([]string{""}, r.Methods...); i%7 != 6 {
		return all[i%len(all)]
	}
	return "no such method"
}

// traffic is what peers and applications may do, from a seed.
func (r *run) traffic(h *sdktest.Harness, peers []sdk.Peer, seed uint64, steps int) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	var open []*sdktest.Stream
	for n := range steps {
		i := rnd.IntN(len(peers))
		switch rnd.IntN(6) {
		case 0, 1:
			h.Message(peers[i], pattern(rnd.Uint64(), rnd.IntN(1200)))
		case 2:
			open = append(open, h.OpenStream(peers[i], r.id(i), sdk.Open{Method: r.method(n), Deadline: time.Second}))
		case 3:
			r.write(rnd, open)
		case 4:
			h.Call(r.id(i), r.method(n), []byte(fmt.Sprint(rnd.IntN(1000))))
		case 5:
			h.Run()
			h.Advance(time.Duration(rnd.IntN(100)) * time.Millisecond)
		}
	}
	for _, s := range open {
		if !s.WasReset && !s.FIN {
			s.Reset(sdk.Cancelled, "the test is over")
		}
	}
	h.Run()
}

func (r *run) write(rnd *rand.Rand, open []*sdktest.Stream) {
	if len(open) == 0 {
		return
	}
	s := open[rnd.IntN(len(open))]
	if s.WasReset || s.FIN {
		return
	}
	switch rnd.IntN(4) {
	case 0:
		s.Grant(uint64(rnd.IntN(5000)))
	case 1:
		s.Reset(sdk.Cancelled, "")
	default:
		if n := min(rnd.IntN(3000), int(s.Credit)); n > 0 {
			s.Write(pattern(rnd.Uint64(), n), false)
		}
	}
}

// pattern gives n bytes that depend on seed and are not periodic.
func pattern(seed uint64, n int) []byte {
	b := make([]byte, n)
	rnd := rand.New(rand.NewPCG(seed, uint64(n)))
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}
