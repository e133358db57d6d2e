package sdk

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"
)

// recorder keeps effects by value; it has no EmitRef.
type recorder struct{ got []Effect }

func (r *recorder) Emit(e Effect) {
	e.Payload = bytes.Clone(e.Payload)
	r.got = append(r.got, e)
}

// refRecorder takes effects by reference too.
type refRecorder struct {
	recorder
	byRef int
}

func (r *refRecorder) EmitRef(e *Effect) {
	r.byRef++
	r.Emit(*e)
}

func everything(env *Env) {
	env.Send(1, 2, Bulk, []byte("m"))
	env.SendMany(2, Realtime, []Peer{1}, []byte("m"))
	env.Connect(3, node)
	env.OpenPeer(1, 2, Open{Method: "a"})
	env.OpenModule(2, Open{Method: "b"})
	env.Write(1, []byte("x"), true)
	env.Credit(1, 5)
	env.Reset(1, NotFound, "gone")
	env.After(1, time.Second)
	env.CancelTimer(1)
	env.Put([]byte("k"), []byte("v"))
	env.Delete([]byte("k"))
	env.Commit(1)
	env.Post(1, []byte("p"))
	env.Announce([]string{"t"})
	env.Sign(1, []byte("s"))
	env.Verify(1, node, [64]byte{1}, []byte("s"))
	env.Log(LogInfo, "l")
	env.Count("c", 2)
	env.Penalize(1, 3, "r")
	env.Drained()
}

// TestSinksAgree: a sink by value and one by reference see the same effects, and
// no field of one effect leaks into the next.
func TestSinksAgree(t *testing.T) {
	var byValue recorder
	var byRef refRecorder
	for range 2 {
		everything(NewEnv(&byValue))
		everything(NewEnv(&byRef))
	}
	if !reflect.DeepEqual(byValue.got, byRef.got) || byRef.byRef == 0 {
		t.Errorf("by value:\n%+v\nby reference (%d):\n%+v", byValue.got, byRef.byRef, byRef.got)
	}
	var r recorder
	env := NewEnv(&r)
	env.Send(1, 2, Bulk, []byte("m"))
	env.Write(4, nil, false)
	env.Credit(6, 7)
	want := []Effect{{Kind: OpSend, Flags: FlagBulk, ID: 2, Peer: 1, Payload: []byte("m")}, {Kind: OpStreamWrite, Ref: 4}, {Kind: OpStreamCredit, Ref: 6, Arg: 7}}
	for i, e := range want {
		if got := r.got[i]; got.Kind != e.Kind || got.Flags != e.Flags || got.ID != e.ID || got.Peer != e.Peer || got.Ref != e.Ref ||
			got.Arg != e.Arg || string(got.Payload) != string(e.Payload) {
			t.Errorf("effect %d: got %+v, want %+v", i, got, e)
		}
	}
}

func TestEnvRefsAreOddAndFresh(t *testing.T) {
	env := NewEnv(&recorder{})
	seen := map[Ref]bool{}
	for range 100 {
		r := env.NewRef()
		if r%2 != 1 || seen[r] {
			t.Fatalf("ref %d after %d others", r, len(seen))
		}
		seen[r] = true
	}
}

func TestEnvWriteSplits(t *testing.T) {
	for n, want := range map[int][]int{0: {0}, 1: {1}, MaxStreamData: {MaxStreamData}, MaxStreamData + 1: {MaxStreamData, 1},
		2 * MaxStreamData: {MaxStreamData, MaxStreamData}} {
		var r recorder
		NewEnv(&r).Write(2, make([]byte, n), true)
		if len(r.got) != len(want) {
			t.Fatalf("%d bytes become %d effects, want %d", n, len(r.got), len(want))
		}
		for i, e := range r.got {
			if last := i == len(want)-1; len(e.Payload) != want[i] || (e.Flags == FlagFIN) != last {
				t.Errorf("%d bytes, effect %d: %d bytes with flags %d", n, i, len(e.Payload), e.Flags)
			}
		}
	}
}

func TestEnvBounds(t *testing.T) {
	var r recorder
	env := NewEnv(&r)
	env.After(1, 0)
	env.After(1, -time.Hour)
	env.Log(LogError, strings.Repeat("x", 2*MaxLogText))
	if r.got[0].Arg != uint64(MinTimer) || r.got[1].Arg != uint64(MinTimer) {
		t.Errorf("short timers become %d and %d ns, want MinTimer", r.got[0].Arg, r.got[1].Arg)
	}
	if len(r.got[2].Payload) != MaxLogText {
		t.Errorf("a long log line has %d bytes, want %d", len(r.got[2].Payload), MaxLogText)
	}
	env.Begin(time.Second, 0)
	if env.Now() != time.Second || !env.Wall().IsZero() {
		t.Error("Begin without wall time: Wall is not the zero time")
	}
	env.Begin(2*time.Second, 1e18)
	if env.Now() != 2*time.Second || env.Wall().UnixNano() != 1e18 {
		t.Error("Begin with wall time")
	}
}

func TestNames(t *testing.T) {
	for c := Cancelled; c <= HandshakeFailed; c++ {
		if s := c.String(); s == "" || strings.HasPrefix(s, "code ") {
			t.Errorf("code %d has no name", c)
		}
	}
	if Code(99).String() != "code 99" || DownReason(99).String() != "reason 99" {
		t.Error("unknown numbers must show")
	}
	for r := DownGoodbye; r <= DownLocal; r++ {
		if strings.HasPrefix(r.String(), "reason ") {
			t.Errorf("reason %d has no name", r)
		}
	}
}
