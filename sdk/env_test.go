package sdk

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"strings"
	"testing"
	"time"

	"nethost/sdk/internal/record"
)

// recorder reads back what an Env wrote; decoding in earnest is sdk/abi's.
type recorder struct{ out record.Writer }

func newRecorder() (*recorder, *Env) {
	r := &recorder{}
	r.out.Start(0, MaxEffects, MaxEffectBytes)
	return r, NewEnv(&r.out)
}

func (r *recorder) got() (all []Effect) {
	for b := r.out.Bytes(); len(b) > 0; {
		u16, u32, u64 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32, binary.LittleEndian.Uint64
		n := int(u32(b[4:]))
		all = append(all, Effect{Kind: EffectKind(u16(b)), Flags: u16(b[2:]), Peer: Peer(u32(b[8:])), ID: ID(u16(b[12:])),
			Version: Version{b[14], b[15]}, Ref: Ref(u64(b[16:])), Arg: u64(b[24:]), Payload: bytes.Clone(b[32 : 32+n])})
		b = b[32+(n+7)&^7:]
	}
	return all
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
	env.TrySend(7, 1, 2, Bulk, time.Second, []byte("m"))
	env.TrySend(0, 1, 2, Realtime, -1, []byte("m"))
	env.SendWithin(0, 1, 2, Bulk, nil)
}

// TestShorthands: each method writes what Emit of its effect writes.
func TestShorthands(t *testing.T) {
	r, env := newRecorder()
	everything(env)
	text := func(s string) []byte { return []byte(s) }
	want := []Effect{
		{Kind: OpSend, Flags: FlagBulk, ID: 2, Peer: 1, Payload: text("m")},
		{Kind: OpSendMany, ID: 2, Payload: AppendSendMany(nil, []Peer{1}, text("m"))},
		{Kind: OpConnect, Ref: 3, Payload: node[:]},
		{Kind: OpStreamOpen, Ref: 1, Peer: 1, ID: 2, Payload: AppendOpen(nil, Open{Method: "a"})},
		{Kind: OpStreamOpen, Flags: FlagModule, Ref: 3, ID: 2, Payload: AppendOpen(nil, Open{Method: "b"})},
		{Kind: OpStreamWrite, Flags: FlagFIN, Ref: 1, Payload: text("x")},
		{Kind: OpStreamCredit, Ref: 1, Arg: 5},
		{Kind: OpStreamReset, Ref: 1, Arg: uint64(NotFound), Payload: text("gone")},
		{Kind: OpTimer, Ref: 1, Arg: uint64(time.Second)},
		{Kind: OpTimer, Ref: 1},
		{Kind: OpStatePut, Payload: AppendStateEntry(nil, text("k"), text("v"))},
		{Kind: OpStateDelete, Payload: text("k")},
		{Kind: OpCommit, Ref: 1},
		{Kind: OpPost, Ref: 1, Payload: text("p")},
		{Kind: OpAnnounce, Payload: AppendTags(nil, []string{"t"})},
		{Kind: OpSign, Ref: 1, Payload: text("s")},
		{Kind: OpVerify, Ref: 1, Payload: append(append(node[:len(node):len(node)], append([]byte{1}, make([]byte, 63)...)...), 's')},
		{Kind: OpLog, Arg: uint64(LogInfo), Payload: text("l")},
		{Kind: OpCount, Arg: 2, Payload: text("c")},
		{Kind: OpPenalize, Peer: 1, Arg: 3, Payload: text("r")},
		{Kind: OpDrained},
		{Kind: OpSend, Flags: FlagBulk, ID: 2, Peer: 1, Ref: 7, Arg: uint64(time.Second), Payload: text("m")},
		{Kind: OpSend, ID: 2, Peer: 1, Ref: 5, Payload: text("m")}, // 1 and 3 were taken above
		{Kind: OpSend, Flags: FlagBulk, ID: 2, Peer: 1, Arg: 1},
	}
	raw, byHand := newRecorder()
	for _, f := range want {
		byHand.Emit(f)
	}
	if !bytes.Equal(r.out.Bytes(), raw.out.Bytes()) {
		t.Errorf("got\n%+v\nwant\n%+v", r.got(), raw.got())
	}
	full := Effect{Kind: 1, Flags: 2, ID: 3, Version: Version{4, 5}, Peer: 6, Ref: 7, Arg: 8, Payload: text("nine")}
	r, env = newRecorder()
	if env.Emit(full); !reflect.DeepEqual(r.got(), []Effect{full}) {
		t.Errorf("Emit of %+v wrote %+v", full, r.got())
	}
	r, env = newRecorder()
	if env.Send(1, 2, Realtime, nil); r.got()[0].Flags != 0 {
		t.Errorf("a Realtime message has flags %d", r.got()[0].Flags)
	}
}

func TestEnvRefsAreOddAndFresh(t *testing.T) {
	_, env := newRecorder()
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
		r, env := newRecorder()
		env.Write(2, make([]byte, n), true)
		got := r.got()
		if len(got) != len(want) {
			t.Fatalf("%d bytes become %d effects, want %d", n, len(got), len(want))
		}
		for i, e := range got {
			if last := i == len(want)-1; len(e.Payload) != want[i] || (e.Flags == FlagFIN) != last {
				t.Errorf("%d bytes, effect %d: %d bytes with flags %d", n, i, len(e.Payload), e.Flags)
			}
		}
	}
}

func TestEnvBounds(t *testing.T) {
	r, env := newRecorder()
	env.After(1, 0)
	env.After(1, -time.Hour)
	env.Log(LogError, strings.Repeat("x", 2*MaxLogText))
	got := r.got()
	if got[0].Arg != uint64(MinTimer) || got[1].Arg != uint64(MinTimer) {
		t.Errorf("short timers become %d and %d ns, want MinTimer", got[0].Arg, got[1].Arg)
	}
	if len(got[2].Payload) != MaxLogText {
		t.Errorf("a long log line has %d bytes, want %d", len(got[2].Payload), MaxLogText)
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
