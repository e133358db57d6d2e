package echo_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"nethost/sdk"
	"nethost/sdk/abi"
	"nethost/sdk/sdktest"
	"nethost/subprotocols/builtin/echo"
)

// TestConform covers E1 to E7; carriers run the same suite.
func TestConform(t *testing.T) {
	sdktest.Conform(t, func(*testing.T) sdktest.Instance { return sdktest.InProcess(echo.New()) })
}

// TestAnyOrder: E2 to E5 under random writes, grants and batch borders. The
// harness fails the test when echo writes above credit or gives back too much.
func TestAnyOrder(t *testing.T) {
	for seed := range uint64(15) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		h := sdktest.NewHarness(t, echo.New())
		h.Start(sdk.Start{})
		p := h.PeerUp(sdk.NodeID{1}, echo.ID, sdk.Version{Major: 1})
		type flow struct {
			s    *sdktest.Stream
			want []byte
			end  bool
		}
		flows := make([]*flow, 5)
		for i := range flows {
			flows[i] = &flow{s: h.OpenStreamCredit(p, echo.ID, sdk.Open{}, uint64(rnd.IntN(100000)))}
		}
		for range 300 {
			f := flows[rnd.IntN(len(flows))]
			switch n := min(rnd.IntN(90000), int(f.s.Credit)); {
			case rnd.IntN(3) == 0:
				f.s.Grant(uint64(rnd.IntN(100000)))
			case rnd.IntN(10) == 0:
				h.Run()
			case !f.end:
				f.end = rnd.IntN(40) == 0
				b := bytes.Repeat([]byte{byte(rnd.Uint32())}, n)
				f.want = append(f.want, b...)
				f.s.Write(b, f.end)
			}
		}
		for i, f := range flows {
			if !f.end {
				f.s.Write(nil, true)
			}
			f.s.Grant(1 << 30)
			h.Run()
			if !f.s.FIN || !bytes.Equal(f.s.Got, f.want) {
				t.Fatalf("seed %d flow %d: %d bytes of %d, FIN %v", seed, i, len(f.s.Got), len(f.want), f.s.FIN)
			}
		}
	}
}

// TestBudget: E6. Forty streams get credit at once; no batch may hold it all.
func TestBudget(t *testing.T) {
	h := sdktest.NewHarness(t, echo.New())
	h.Start(sdk.Start{})
	streams := make([]*sdktest.Stream, 40)
	for i := range streams {
		streams[i] = h.OpenStreamCredit(0, echo.ID, sdk.Open{}, 0)
		streams[i].Write(make([]byte, 200<<10), false)
	}
	h.Run()
	for _, s := range streams {
		s.Grant(200 << 10)
	}
	h.Run()
	posts := 0
	for _, f := range h.Effects {
		if f.Kind == sdk.OpPost {
			posts++
		}
	}
	if posts == 0 {
		t.Error("8 MiB of held bytes went out without a further batch")
	}
}

// TestNoAllocations: messages and streams cost nothing once warm.
func TestNoAllocations(t *testing.T) {
	var out abi.Writer
	m, env := echo.New(), sdk.NewEnv(out.Records())
	payload := make([]byte, 1000)
	handle := func(ev sdk.Event) { m.Handle(env, &ev) }
	out.ResetEffects(1)
	handle(sdk.Event{Kind: sdk.EvStreamOpen, Ref: 2, Arg: 1 << 40})
	handle(sdk.Event{Kind: sdk.EvStreamOpen, Ref: 4, Arg: 10})
	events := []sdk.Event{{Kind: sdk.EvMessage, Peer: 1, ID: echo.ID, Payload: payload},
		{Kind: sdk.EvStreamData, Ref: 2, Payload: payload}, {Kind: sdk.EvStreamData, Ref: 4, Payload: payload},
		{Kind: sdk.EvStreamCredit, Ref: 4, Arg: 1000}, {Kind: sdk.EvFlush}}
	if n := testing.AllocsPerRun(1000, func() {
		out.ResetEffects(1)
		for i := range events {
			m.Handle(env, &events[i])
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if out.Err() != nil || out.Len() < 4 {
		t.Errorf("%d effects, %v", out.Len(), out.Err())
	}
}
