package sdktest

import (
	"bytes"
	"testing"
	"time"

	"nethost/sdk"
	"nethost/subprotocols/builtin/echo"
)

// Conform runs the suite that every carrier must pass. open gives a fresh
// instance of the echo module (package subprotocols/builtin/echo, or another that
// keeps the clauses of its README) behind the carrier; it fails the test itself
// when it cannot.
func Conform(t *testing.T, open func(t *testing.T) Instance) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, open func(t *testing.T) Instance)
	}{
		{"start", conformStart},
		{"flush alone", conformFlush},
		{"messages", conformMessages},
		{"stream", conformStream},
		{"stream without credit", conformCredit},
		{"stream reset", conformReset},
		{"large data", conformLarge},
		{"many streams at once", conformMany},
		{"module to module", conformOrigins},
		{"full batch", conformFull},
		{"unknown event kinds", conformUnknown},
		{"drain and stop", conformDrain},
		{"same effects as in process", conformSame},
		{"malformed batches", conformMalformed},
		{"close", conformClose},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open) })
	}
}

var (
	echoVersion = sdk.Version{Major: 1, Minor: 0}
	far         = sdk.NodeID{1, 2, 3}
)

// started gives a harness over an echo that has had Start and one peer.
func started(t *testing.T, open func(t *testing.T) Instance) (*Harness, sdk.Peer) {
	t.Helper()
	h := NewHarnessOver(t, open(t))
	h.Start(sdk.Start{Self: sdk.NodeID{9}})
	p := h.PeerUp(far, echo.ID, echoVersion)
	h.Run()
	h.Effects = nil
	return h, p
}

func conformStart(t *testing.T, open func(t *testing.T) Instance) {
	h := NewHarnessOver(t, open(t))
	h.State["key"] = []byte("value of an earlier life")
	h.Start(sdk.Start{Self: sdk.NodeID{9}, MemoryLimit: 32 << 20, StateLimit: 1 << 20, Grants: []string{"state", "call:capability"},
		Entropy: make([]byte, 32), Secret: make([]byte, 32)}, sdk.Pair{Key: "greeting", Value: "hello"})
	if len(h.Effects) != 0 {
		t.Fatalf("State, Config and Start brought %d effects, the first %v: echo wants none", len(h.Effects), h.Effects[0].Kind)
	}
}

func conformFlush(t *testing.T, open func(t *testing.T) Instance) {
	h, _ := started(t, open)
	for range 3 {
		h.Run()
	}
	if len(h.Effects) != 0 {
		t.Fatalf("a batch holding only Flush brought %d effects", len(h.Effects))
	}
}

func conformMessages(t *testing.T, open func(t *testing.T) Instance) {
	h, p := started(t, open)
	q := h.PeerUp(sdk.NodeID{4}, echo.ID, echoVersion)
	var want []Message
	for i, n := range []int{0, 1, 7, 8, 9, 63, 64, 1100, 1101, 4096, sdk.MaxMessage} {
		to := p
		if i%3 == 2 {
			to = q
		}
		b := pattern(uint64(i), n)
		h.Message(to, b)
		want = append(want, Message{Peer: to, ID: echo.ID, Payload: b})
	}
	h.Run()
	if len(h.Sent) != len(want) {
		t.Fatalf("%d messages came back, want %d", len(h.Sent), len(want))
	}
	for i, m := range h.Sent {
		if m.Peer != want[i].Peer || m.ID != want[i].ID || !bytes.Equal(m.Payload, want[i].Payload) {
			t.Errorf("message %d: got peer %d id %v with %d bytes, want peer %d id %v with %d bytes, unchanged",
				i, m.Peer, m.ID, len(m.Payload), want[i].Peer, want[i].ID, len(want[i].Payload))
		}
	}
}

func conformStream(t *testing.T, open func(t *testing.T) Instance) {
	h, p := started(t, open)
	s := h.OpenStream(p, echo.ID, sdk.Open{Method: "echo", Meta: []byte("meta"), Deadline: time.Second})
	h.Run()
	if len(s.Got) != 0 || s.FIN || s.WasReset {
		t.Fatalf("an open without data was answered: %d bytes, FIN %v, reset %v", len(s.Got), s.FIN, s.WasReset)
	}
	var want []byte
	for i, n := range []int{1, 1000, 0, 5} {
		b := pattern(uint64(i), n)
		want = append(want, b...)
		s.Write(b, false)
		h.Run()
		if !bytes.Equal(s.Got, want) {
			t.Fatalf("after write %d: %d bytes came back, want the %d written", i, len(s.Got), len(want))
		}
		if s.Credit != sdk.InitialCredit {
			t.Fatalf("after write %d: our credit is %d, want it whole again (%d)", i, s.Credit, uint64(sdk.InitialCredit))
		}
	}
	if s.FIN {
		t.Fatal("FIN came before ours")
	}
	s.Write([]byte("end"), true)
	h.Run()
	if want = append(want, "end"...); !s.FIN || !bytes.Equal(s.Got, want) {
		t.Fatalf("after FIN: FIN %v, %d bytes, want FIN and %d", s.FIN, len(s.Got), len(want))
	}
	if u := h.Call(echo.ID, "", nil); !u.FIN || len(u.Got) != 0 {
		t.Fatalf("unary call without data: FIN %v, %d bytes", u.FIN, len(u.Got))
	}
	if u := h.Call(echo.ID, "echo", []byte("hi")); !u.FIN || string(u.Got) != "hi" {
		t.Fatalf("unary call: FIN %v, answer %q", u.FIN, u.Got)
	}
}

func conformCredit(t *testing.T, open func(t *testing.T) Instance) {
	h, p := started(t, open)
	s := h.OpenStreamCredit(p, echo.ID, sdk.Open{}, 10)
	data := pattern(1, 100)
	s.Write(data, true)
	h.Run()
	if !bytes.Equal(s.Got, data[:10]) || s.FIN {
		t.Fatalf("with credit for 10 bytes: got %d, FIN %v", len(s.Got), s.FIN)
	}
	for _, grant := range []uint64{1, 0, 49, 39} {
		had := len(s.Got)
		s.Grant(grant)
		h.Run()
		if len(s.Got) != had+int(grant) || s.FIN {
			t.Fatalf("after %d more bytes of credit: got %d more, FIN %v", grant, len(s.Got)-had, s.FIN)
		}
	}
	s.Grant(1000)
	h.Run()
	if !bytes.Equal(s.Got, data) || !s.FIN {
		t.Fatalf("at the end: %d bytes of %d, FIN %v", len(s.Got), len(data), s.FIN)
	}

	// The credit that the module gives follows what it could write.
	s = h.OpenStreamCredit(p, echo.ID, sdk.Open{}, 0)
	s.Write(pattern(2, sdk.InitialCredit), false)
	h.Run()
	if s.Credit != 0 {
		t.Fatalf("nothing could be written back, but %d bytes of credit came", s.Credit)
	}
	s.Grant(1000)
	h.Run()
	if s.Credit != 1000 {
		t.Fatalf("1000 bytes could be written back, but %d bytes of credit came", s.Credit)
	}
}

func conformReset(t *testing.T, open func(t *testing.T) Instance) {
	h, p := started(t, open)
	s, other := h.OpenStreamCredit(p, echo.ID, sdk.Open{}, 0), h.OpenStream(0, echo.ID, sdk.Open{})
	s.Write([]byte("held"), false)
	h.Run()
	s.Grant(100)
	s.Reset(sdk.Cancelled, "changed my mind")
	h.Run()
	// Late events of a stream that is gone are ignored.
	h.Queue(sdk.Event{Kind: sdk.EvStreamData, Ref: s.Ref, Payload: []byte("late")})
	h.Queue(sdk.Event{Kind: sdk.EvStreamCredit, Ref: s.Ref, Arg: 5})
	h.Queue(sdk.Event{Kind: sdk.EvStreamReset, Ref: s.Ref, Arg: uint64(sdk.PeerGone)})
	h.Run()
	for _, f := range h.Effects {
		if f.Ref == s.Ref {
			t.Fatalf("effect %v on a stream that was reset", f.Kind)
		}
	}
	h.PeerDown(p, sdk.DownDead)
	other.Write([]byte("still here"), true)
	h.Run()
	if string(other.Got) != "still here" || !other.FIN {
		t.Fatalf("another stream suffered: got %q, FIN %v", other.Got, other.FIN)
	}
}

func conformLarge(t *testing.T, open func(t *testing.T) Instance) {
	h, p := started(t, open)
	s := h.OpenStream(p, echo.ID, sdk.Open{})
	const total = 4 << 20
	data := pattern(3, total)
	for sent, granted := 0, sdk.InitialCredit; sent < total; {
		n := min(sdk.MaxStreamData, total-sent, int(s.Credit))
		if n == 0 {
			t.Fatalf("stalled at %d of %d bytes: no credit came back", sent, total)
		}
		s.Write(data[sent:sent+n], sent+n == total)
		sent += n
		if sent+sdk.MaxStreamData > granted {
			s.Grant(sdk.InitialCredit)
			granted += sdk.InitialCredit
		}
		h.Run()
		h.Effects = nil
	}
	if !s.FIN || !bytes.Equal(s.Got, data) {
		t.Fatalf("%d bytes of %d came back, FIN %v, equal %v", len(s.Got), total, s.FIN, bytes.Equal(s.Got, data))
	}
}

// conformMany lets more held bytes go at once than one batch of effects may hold.
func conformMany(t *testing.T, open func(t *testing.T) Instance) {
	h, p := started(t, open)
	const each = 100 << 10
	streams := make([]*Stream, 40)
	for i := range streams {
		streams[i] = h.OpenStreamCredit(p, echo.ID, sdk.Open{}, 0)
		streams[i].Write(pattern(uint64(i), each), true)
	}
	h.Run()
	for _, s := range streams {
		s.Grant(each)
	}
	h.Run()
	for i, s := range streams {
		if !s.FIN || !bytes.Equal(s.Got, pattern(uint64(i), each)) {
			t.Fatalf("stream %d: %d of %d bytes, FIN %v", i, len(s.Got), each, s.FIN)
		}
	}
}

func conformOrigins(t *testing.T, open func(t *testing.T) Instance) {
	h, _ := started(t, open)
	s := h.OpenStream(0, echo.ID, sdk.Open{From: sdk.FromModule, Principal: []byte("capability"), Hops: sdk.MaxHops,
		Method: string(pattern(1, 200)), Meta: pattern(2, 3000)})
	s.Write([]byte("x"), true)
	h.Run()
	if string(s.Got) != "x" || !s.FIN {
		t.Fatalf("got %q, FIN %v", s.Got, s.FIN)
	}
}

func conformFull(t *testing.T, open func(t *testing.T) Instance) {
	h, p := started(t, open)
	for i := range 2 * sdk.MaxBatchEvents {
		h.Message(p, pattern(uint64(i), 900))
	}
	h.Run()
	if len(h.Sent) != 2*sdk.MaxBatchEvents {
		t.Fatalf("%d of %d messages came back", len(h.Sent), 2*sdk.MaxBatchEvents)
	}
	for i, m := range h.Sent {
		if !bytes.Equal(m.Payload, pattern(uint64(i), 900)) {
			t.Fatalf("message %d came back changed or out of order", i)
		}
	}
}

func conformUnknown(t *testing.T, open func(t *testing.T) Instance) {
	h, p := started(t, open)
	for _, k := range []sdk.EventKind{0, 9, 255, 9999, 65535} {
		h.Queue(sdk.Event{Kind: k, Flags: 0xffff, ID: 0xffff, Peer: p, Ref: 7, Arg: 1 << 63, Payload: []byte("from a newer host")})
	}
	h.Message(p, []byte("after"))
	h.Run()
	if len(h.Effects) != 1 || len(h.Sent) != 1 || string(h.Sent[0].Payload) != "after" {
		t.Fatalf("got %d effects and %d messages, want the one message behind the unknown events", len(h.Effects), len(h.Sent))
	}
}

func conformDrain(t *testing.T, open func(t *testing.T) Instance) {
	h, p := started(t, open)
	s := h.OpenStream(p, echo.ID, sdk.Open{})
	h.Queue(sdk.Event{Kind: sdk.EvDrain, Arg: uint64(time.Second)})
	h.Run()
	if len(h.Effects) != 0 {
		t.Fatalf("Drain was answered with %v while a stream was open", h.Effects[0].Kind)
	}
	s.Write([]byte("last words"), true)
	h.Run()
	if n := len(h.Effects); string(s.Got) != "last words" || n == 0 || h.Effects[n-1].Kind != sdk.OpDrained {
		t.Fatalf("the last stream ended with %q; the last of %d effects is no Drained", s.Got, n)
	}
	h.Stop()
}
