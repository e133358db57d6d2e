package plugin

import (
	"bytes"
	"net"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"nethost/sdk"
	"nethost/sdk/abi"
	"nethost/sdk/plugin/frame"
)

// testModule answers messages by what they say.
type testModule struct{}

func (testModule) Describe() sdk.Descriptor {
	v := sdk.Version{Major: 1}
	return sdk.Descriptor{Name: "test", Release: "1.2.3", Methods: []string{"a", "b"},
		Subprotocols: []sdk.Subprotocol{{ID: 0x1234, Version: v, MinPeer: v, Required: true}}}
}

func (testModule) Handle(env *sdk.Env, ev *sdk.Event) {
	if ev.Kind != sdk.EvMessage {
		return
	}
	switch string(ev.Payload) {
	case "work":
		ref := env.NewRef()
		env.Work(ref, func() []byte { return []byte("done") })
	case "flood":
		for range sdk.MaxEffects + 1 {
			env.Count("n", 1)
		}
	case "time":
		env.Log(sdk.LogInfo, env.Now().String())
	default:
		env.Send(ev.Peer, ev.ID, sdk.Realtime, ev.Payload)
	}
}

// host is the other end of a loop: it speaks frames by hand.
type host struct {
	t    *testing.T
	conn net.Conn
	in   *frame.Reader
	out  *frame.Writer
	seq  uint64
	end  chan error
}

func start(t *testing.T) *host {
	ours, theirs := net.Pipe()
	h := &host{t: t, conn: ours, in: frame.NewReader(ours, sdk.MaxEffectBytes), out: frame.NewWriter(ours), end: make(chan error, 1)}
	go func() {
		h.end <- serveBatches(theirs, testModule{})
		theirs.Close()
	}()
	t.Cleanup(func() { ours.Close() })
	return h
}

func (h *host) send(payloads ...string) {
	h.t.Helper()
	h.seq++
	var w abi.Writer
	w.ResetEvents(h.seq, 7*time.Second, 0)
	for _, p := range payloads {
		w.Event(sdk.Event{Kind: sdk.EvMessage, Peer: 1, ID: 0x1234, Payload: []byte(p)})
	}
	w.Event(sdk.Event{Kind: sdk.EvFlush})
	if err := h.out.Write(w.Bytes()); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) receive() (seq uint64, effects []sdk.Effect) {
	h.t.Helper()
	b, err := h.in.Next()
	if err != nil {
		h.t.Fatal(err)
	}
	head, r, err := abi.Parse(b, sdk.MaxEffectBytes)
	if err != nil {
		h.t.Fatal(err)
	}
	for {
		e, ok := r.NextEffect()
		if !ok {
			break
		}
		e.Payload = bytes.Clone(e.Payload)
		effects = append(effects, e)
	}
	return head.Seq, effects
}

func TestBatchIsAnsweredWithItsSequence(t *testing.T) {
	h := start(t)
	for i := 1; i < 4; i++ {
		h.send("x", "y")
		seq, effects := h.receive()
		if seq != uint64(i) || len(effects) != 2 || string(effects[1].Payload) != "y" {
			t.Fatalf("batch %d: seq %d, %v", i, seq, effects)
		}
	}
	h.send()
	if seq, effects := h.receive(); seq != 4 || len(effects) != 0 {
		t.Fatalf("a batch without effects: seq %d, %v", seq, effects)
	}
	h.send("time")
	if _, effects := h.receive(); string(effects[0].Payload) != "7s" {
		t.Fatalf("time of the batch: %q", effects[0].Payload)
	}
}

func TestWorkComesBackAsPostWithSequenceZero(t *testing.T) {
	h := start(t)
	h.send("work")
	if seq, effects := h.receive(); seq != 1 || len(effects) != 0 {
		t.Fatalf("answer: seq %d, %v", seq, effects)
	}
	seq, effects := h.receive()
	if seq != 0 || len(effects) != 1 || effects[0].Kind != sdk.OpPost || effects[0].Ref != 1 || string(effects[0].Payload) != "done" {
		t.Fatalf("post: seq %d, %v", seq, effects)
	}
}

func TestEndOfStreamIsOrderly(t *testing.T) {
	h := start(t)
	h.conn.Close()
	if err := <-h.end; err != nil {
		t.Fatal(err)
	}
}

func TestFloodEndsTheProgram(t *testing.T) {
	h := start(t)
	h.send("flood")
	if err := <-h.end; err == nil || !strings.Contains(err.Error(), "several batches") {
		t.Fatalf("got %v", err)
	}
}

func TestBadBatchEndsTheProgram(t *testing.T) {
	h := start(t)
	if err := h.out.Write([]byte("no batch")); err != nil {
		t.Fatal(err)
	}
	if err := <-h.end; err == nil {
		t.Fatal("accepted")
	}
}

func TestWorkersAreBounded(t *testing.T) {
	const limit, jobs = 3, 50
	var now, most atomic.Int32
	results := make(chan sdk.Ref, jobs)
	w := workers{limit: limit, done: func(r sdk.Ref, _ []byte) { results <- r }}
	gate := make(chan struct{})
	var list []sdk.Work
	for i := range jobs {
		list = append(list, sdk.Work{Ref: sdk.Ref(i), Do: func() []byte {
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			<-gate
			now.Add(-1)
			return nil
		}})
	}
	w.add(list)
	close(gate)
	seen := map[sdk.Ref]bool{}
	for range jobs {
		seen[<-results] = true
	}
	if len(seen) != jobs || most.Load() > limit {
		t.Fatalf("%d jobs done, %d at once", len(seen), most.Load())
	}
}

func TestDescriptorRoundTrip(t *testing.T) {
	want := testModule{}.Describe()
	b, err := MarshalDescriptor(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := UnmarshalDescriptor(b)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"", "[]", `{"subprotocols":[{"id":"x"}]}`, `{"subprotocols":[{"id":"1","version":"1"}]}`} {
		if _, err := UnmarshalDescriptor([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

type sinkModule struct{ testModule }

func (sinkModule) Handle(env *sdk.Env, ev *sdk.Event) {
	if ev.Kind == sdk.EvMessage {
		env.Send(ev.Peer, ev.ID, sdk.Realtime, ev.Payload)
	}
}

type replay struct {
	batch []byte
	n     int
}

func (r *replay) Read(b []byte) (int, error)  { return copy(b, r.batch), nil }
func (r *replay) Write(b []byte) (int, error) { r.n++; return len(b), nil }

func TestStepDoesNotAllocate(t *testing.T) {
	var w abi.Writer
	w.ResetEvents(1, 0, 0)
	w.Event(sdk.Event{Kind: sdk.EvMessage, Peer: 1, Payload: make([]byte, 1024)})
	w.Event(sdk.Event{Kind: sdk.EvFlush})
	src := &replay{batch: frame.Append(nil, w.Bytes())}
	l := newLoop(src, sinkModule{})
	if n := testing.AllocsPerRun(100, func() { l.step() }); n != 0 {
		t.Errorf("%v allocations a batch, want 0", n)
	}
}
