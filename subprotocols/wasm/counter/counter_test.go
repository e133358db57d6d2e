package main

import (
	"math"
	"strconv"
	"testing"

	"nethost/sdk"
	"nethost/sdk/sdktest"
)

func expect(t *testing.T, h *sdktest.Harness, method, request, want string) {
	t.Helper()
	s := h.Call(ID, method, []byte(request))
	if s.WasReset || !s.FIN || string(s.Got) != want {
		t.Errorf("%s %q: answer %q, FIN %v, reset %v (%v %s), want %q", method, request, s.Got, s.FIN, s.WasReset, s.ResetCode, s.ResetText, want)
	}
}

func TestCounter(t *testing.T) {
	h := sdktest.NewHarness(t, New())
	h.Start(sdk.Start{StateLimit: 64 << 10})
	p := h.PeerUp(sdk.NodeID{1}, ID, sdk.Version{Major: 1})
	expect(t, h, "get", "", "0")
	expect(t, h, "", "", "0")
	expect(t, h, "add", "40", "40")
	expect(t, h, "add", "+3\n", "43")
	expect(t, h, "add", "-1\r\n", "42")
	h.Message(p, []byte("one"))
	h.Message(p, nil)
	expect(t, h, "messages", "", "2")

	// In pieces, over several batches.
	s := h.OpenStream(p, ID, sdk.Open{Method: "add"})
	s.Write([]byte("10"), false)
	h.Run()
	s.Write([]byte("0"), false)
	h.Run()
	s.Write(nil, true)
	h.Run()
	if string(s.Got) != "142" {
		t.Errorf("a number in pieces: %q", s.Got)
	}

	h.Restart(sdktest.InProcess(New()), sdk.Start{StateLimit: 64 << 10})
	expect(t, h, "get", "", "142")
	expect(t, h, "messages", "", "2")
}

func TestStateIsWrittenOnceABatch(t *testing.T) {
	h := sdktest.NewHarness(t, New())
	h.Start(sdk.Start{StateLimit: 64 << 10})
	for range 10 {
		h.OpenStream(0, ID, sdk.Open{Method: "add"}).Write([]byte("1"), true)
	}
	h.Run()
	puts := 0
	for _, f := range h.Effects {
		if f.Kind == sdk.OpStatePut {
			puts++
		}
	}
	if puts != 2 || string(h.State["value"]) != "10" {
		t.Errorf("%d puts, value %q; want one for each of two keys, and 10", puts, h.State["value"])
	}
}

func TestWithoutStateGrant(t *testing.T) {
	h := sdktest.NewHarness(t, New())
	h.Start(sdk.Start{})
	expect(t, h, "add", "5", "5")
	if len(h.State) != 0 {
		t.Error("state was written without the grant")
	}
}

func TestRefused(t *testing.T) {
	h := sdktest.NewHarness(t, New())
	h.Start(sdk.Start{})
	expect(t, h, "add", strconv.Itoa(math.MaxInt64), strconv.Itoa(math.MaxInt64))
	for _, c := range []struct {
		method, request string
		want            sdk.Code
	}{
		{"add", "", sdk.InvalidArgument},
		{"add", "1", sdk.InvalidArgument}, // overflow
		{"add", "0x10", sdk.InvalidArgument},
		{"add", "1 2", sdk.InvalidArgument},
		{"add", "9223372036854775808", sdk.InvalidArgument},
		{"get", "this is more than a number can be long", sdk.InvalidArgument},
		{"reset", "", sdk.Unimplemented},
	} {
		s := h.Call(ID, c.method, []byte(c.request))
		if !s.WasReset || s.ResetCode != c.want || s.ResetText == "" {
			t.Errorf("%s %q: answer %q, reset %v with %v %q, want %v and a reason", c.method, c.request, s.Got, s.WasReset, s.ResetCode, s.ResetText, c.want)
		}
	}
	expect(t, h, "get", "", strconv.Itoa(math.MaxInt64))
	expect(t, h, "add", "-1", strconv.Itoa(math.MaxInt64-1))
}

func TestBadState(t *testing.T) {
	h := sdktest.NewHarness(t, New())
	h.State["value"] = []byte("not a number")
	h.State["messages"] = []byte("7")
	h.Start(sdk.Start{StateLimit: 64 << 10})
	if len(h.Effects) != 1 || h.Effects[0].Kind != sdk.OpLog {
		t.Errorf("effects %+v, want one log line", h.Effects)
	}
	expect(t, h, "get", "", "0")
	expect(t, h, "messages", "", "7")
}

func TestDrain(t *testing.T) {
	h := sdktest.NewHarness(t, New())
	h.Start(sdk.Start{})
	h.Queue(sdk.Event{Kind: sdk.EvDrain, Arg: 1e9})
	h.Run()
	if n := len(h.Effects); n == 0 || h.Effects[n-1].Kind != sdk.OpDrained {
		t.Error("Drain is not answered")
	}
	h.Stop()
}
