package abi

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"nethost/sdk"
)

var update = flag.Bool("update", false, "rewrite the golden vectors")

const (
	goldenNow  = 1500 * time.Millisecond
	goldenWall = int64(1_700_000_000_000_000_000)
)

var v12 = sdk.Version{Major: 1, Minor: 2}

// goldenEvents has every event kind of A3, in order.
func goldenEvents() []sdk.Event {
	node := sdk.NodeID{0xaa, 31: 0xbb}
	info := sdk.AppendPeerInfo(nil, sdk.PeerInfo{Node: node, RTT: 250 * time.Microsecond, MTU: 1100})
	return []sdk.Event{
		{Kind: sdk.EvState, Payload: sdk.AppendStateEntry(nil, []byte("key"), []byte("value"))},
		{Kind: sdk.EvConfig, Payload: sdk.AppendPairs(nil, []sdk.Pair{{Key: "greeting", Value: "hello"}})},
		{Kind: sdk.EvStart, Payload: sdk.AppendStart(nil, sdk.Start{Reason: sdk.StartUpgrade, Self: node, Previous: "0.3.1",
			MemoryLimit: 32 << 20, StateLimit: 1 << 20, Grants: []string{"state", "call:x"}, Entropy: []byte{1, 2}, Secret: []byte{3}})},
		{Kind: sdk.EvDrain, Arg: uint64(time.Second)},
		{Kind: sdk.EvStop},
		{Kind: sdk.EvPeerUp, Peer: 7, ID: 0x1001, Version: v12, Payload: info},
		{Kind: sdk.EvPeerUpdate, Peer: 7, ID: 0x1001, Version: v12, Payload: info},
		{Kind: sdk.EvPeerDown, Peer: 7, ID: 0x1001, Arg: uint64(sdk.DownDead)},
		{Kind: sdk.EvConnectFailed, Ref: 5, Arg: uint64(sdk.NoRoute), Payload: []byte("no route")},
		{Kind: sdk.EvMessage, Peer: 7, ID: 0x1001, Version: v12, Payload: []byte("message")},
		{Kind: sdk.EvDropped, Peer: 7, Arg: 3, Payload: []byte("\x00queue full")},
		{Kind: sdk.EvOverload, Peer: 7, Arg: 4},
		{Kind: sdk.EvUnsupported, Peer: 7, ID: 0x1001},
		{Kind: sdk.EvWouldBlock, Ref: 13, Peer: 7, ID: 0x1001, Flags: sdk.FlagBulk},
		{Kind: sdk.EvWritable, Peer: 7, Flags: sdk.FlagBulk},
		{Kind: sdk.EvStreamOpen, Ref: 2, Peer: 7, ID: 0x1001, Version: v12, Arg: sdk.InitialCredit, Payload: sdk.AppendOpen(nil,
			sdk.Open{From: sdk.FromPeer, Principal: node[:], Hops: 1, Deadline: time.Minute, Method: "add", Meta: []byte{9}})},
		{Kind: sdk.EvStreamData, Ref: 2, Flags: sdk.FlagFIN, Payload: []byte("12345678")},
		{Kind: sdk.EvStreamCredit, Ref: 2, Arg: 1000},
		{Kind: sdk.EvStreamReset, Ref: 2, Arg: uint64(sdk.Cancelled), Payload: []byte("bye")},
		{Kind: sdk.EvTimer, Ref: 1},
		{Kind: sdk.EvPosted, Ref: 3, Payload: []byte("result")},
		{Kind: sdk.EvCommitted, Ref: 5},
		{Kind: sdk.EvSigned, Ref: 7, Payload: bytes.Repeat([]byte{0x55}, 64)},
		{Kind: sdk.EvVerified, Ref: 9, Arg: 1},
		{Kind: sdk.EvAnnounceChanged, ID: 0x0c00, Payload: sdk.AppendTags(nil, []string{"subprotocol:0x1001"})},
		{Kind: sdk.EvDenied, Ref: 11, Arg: uint64(sdk.OpSign), Payload: []byte("UNIMPLEMENTED")},
		{Kind: sdk.EvRoute, Arg: 1500, Payload: bytes.Repeat([]byte{7}, 32)},
		{Kind: sdk.EvFlush},
	}
}

// goldenEffects writes every effect kind of A3 through Env, in order.
func goldenEffects(env *sdk.Env) {
	node := sdk.NodeID{0xaa, 31: 0xbb}
	env.Send(7, 0x1001, sdk.Realtime, []byte("message"))
	env.Send(7, 0x1001, sdk.Bulk, nil)
	env.SendMany(0x1001, sdk.Bulk, []sdk.Peer{7, 8}, []byte("to many"))
	env.Connect(env.NewRef(), node)
	env.OpenPeer(7, 0x1001, sdk.Open{Method: "add", Deadline: time.Second})
	env.OpenModule(0x0c00, sdk.Open{Method: "find", Hops: 1})
	env.Write(3, []byte("12345678"), false)
	env.Write(3, nil, true)
	env.Credit(3, 1000)
	env.Reset(5, sdk.Overloaded, "later")
	env.After(1, 50*time.Millisecond)
	env.After(1, 1) // raised to MinTimer
	env.CancelTimer(1)
	env.Put([]byte("key"), []byte("value"))
	env.Delete([]byte("key"))
	env.Commit(7)
	env.Post(9, []byte("note"))
	env.Announce([]string{"telemetry:cpu"})
	env.Sign(11, []byte("statement"))
	env.Verify(13, node, [64]byte{1, 63: 2}, []byte("statement"))
	env.Log(sdk.LogWarn, "careful")
	env.Count("packets", 3)
	env.Penalize(7, 10, "rude")
	env.Drained()
}

func goldenBatches(t testing.TB) (events, effects []byte) {
	var in, out Writer
	in.ResetEvents(42, goldenNow, goldenWall)
	for _, e := range goldenEvents() {
		if !in.Event(e) {
			t.Fatalf("event %v does not fit", e.Kind)
		}
	}
	out.ResetEffects(42)
	goldenEffects(sdk.NewEnv(out.Records()))
	if out.Err() != nil {
		t.Fatal(out.Err())
	}
	return in.Bytes(), out.Bytes()
}

// TestGolden holds the bytes still: A1, A2, A3.3 and the payloads of A4.
func TestGolden(t *testing.T) {
	events, effects := goldenBatches(t)
	var hold Writer // A8, apart: hosts and SDKs of before do not have it
	hold.ResetEffects(42)
	env := sdk.NewEnv(hold.Records())
	env.TrySend(15, 7, 0x1001, sdk.Bulk, 0, []byte("if there is room"))
	env.SendWithin(20*time.Millisecond, 7, 0x1001, sdk.Realtime, []byte("now or never"))
	for name, got := range map[string][]byte{"events.hex": events, "effects.hex": effects, "hold.hex": hold.Bytes()} {
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(file, []byte(dump(got)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if dump(got) != string(text) {
			t.Errorf("%s: the writer gives other bytes; if that is meant, it is another ABI", name)
		}
	}
}

// TestGoldenParses reads the files, not what this build writes.
func TestGoldenParses(t *testing.T) {
	b := load(t, "events.hex")
	h, r, err := Parse(b, sdk.MaxBatchBytes)
	if err != nil {
		t.Fatal(err)
	}
	want := goldenEvents()
	if wantH := (Header{Records: uint32(len(want)), Bytes: uint32(len(b)), Seq: 42, Now: goldenNow, Wall: goldenWall}); h != wantH {
		t.Errorf("header %+v, want %+v", h, wantH)
	}
	for i := range want {
		e, ok := r.NextEvent()
		if want[i].Payload == nil {
			want[i].Payload = []byte{}
		}
		if !ok || !reflect.DeepEqual(e, want[i]) {
			t.Errorf("event %d: got %+v (%v), want %+v", i, e, ok, want[i])
		}
	}
	if _, ok := r.NextEvent(); ok || r.Err() != nil {
		t.Errorf("after the last event: ok %v, err %v", ok, r.Err())
	}
}

// TestEveryKindHasAVector keeps the golden files complete as kinds are added.
func TestEveryKindHasAVector(t *testing.T) {
	seenEv, seenOp := map[sdk.EventKind]bool{}, map[sdk.EffectKind]bool{}
	_, r, _ := Parse(load(t, "events.hex"), sdk.MaxBatchBytes)
	for e, ok := r.NextEvent(); ok; e, ok = r.NextEvent() {
		seenEv[e.Kind] = true
	}
	_, r, _ = Parse(load(t, "effects.hex"), sdk.MaxEffectBytes)
	for f, ok := r.NextEffect(); ok; f, ok = r.NextEffect() {
		seenOp[f.Kind] = true
	}
	spec, err := os.ReadFile("SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	for k := range 100 {
		ev, op := sdk.EventKind(k), sdk.EffectKind(k)
		if ev.String() != "" && (!seenEv[ev] || !strings.Contains(string(spec), fmt.Sprintf("\n| %v | %d |", ev, k))) {
			t.Errorf("event %v (%d) is missing in testdata/events.hex or in the table of A3", ev, k)
		}
		if op.String() != "" && (!seenOp[op] || !strings.Contains(string(spec), fmt.Sprintf("\n| %v | %d |", op, k))) {
			t.Errorf("effect %v (%d) is missing in testdata/effects.hex or in the table of A3", op, k)
		}
	}
}

// walk reads a batch to its end.
func walk(b []byte, limit int) (records int, err error) {
	_, r, err := Parse(b, limit)
	if err != nil {
		return 0, err
	}
	for {
		if _, ok := r.NextEvent(); !ok {
			return records, r.Err()
		}
		records++
	}
}

// TestTruncated: A1.5. A batch cut anywhere is refused, also when its header is
// mended to the shorter length (A1.4, A2.3).
func TestTruncated(t *testing.T) {
	for _, name := range []string{"events.hex", "effects.hex"} {
		b := load(t, name)
		for n := range b {
			if _, err := walk(b[:n], len(b)); err == nil {
				t.Fatalf("%s cut to %d of %d bytes is accepted", name, n, len(b))
			}
			if n < HeaderSize {
				continue
			}
			cut := bytes.Clone(b[:n])
			binary.LittleEndian.PutUint32(cut[12:], uint32(n))
			if _, err := walk(cut, len(b)); err == nil {
				t.Fatalf("%s cut to %d of %d bytes with a mended header is accepted", name, n, len(b))
			}
		}
	}
}

func TestBreaches(t *testing.T) {
	var w Writer
	w.ResetEvents(1, 0, 0)
	w.Event(sdk.Event{Kind: sdk.EvMessage, Payload: []byte("hello")})
	w.Event(sdk.Event{Kind: sdk.EvFlush})
	good := w.Bytes()
	for _, c := range []struct {
		clause string
		at     int
		to     byte
		want   error
	}{
		{"A1.1 magic", 3, '2', ErrMagic},
		{"A1.2 a newer minor", 4, 9, nil},
		{"A1.3 flags", 7, 0x80, ErrReserved},
		{"A1.4 one record too few", 8, 1, ErrCount},
		{"A1.4 one record too many", 8, 3, ErrRecord},
		{"A1.4 very many records", 11, 0xff, ErrRecord},
		{"A1.5 length", 13, 1, ErrShort},
		{"A2.2 padding", HeaderSize + RecordSize + 7, 1, ErrPadding},
		{"A2.2 padding", HeaderSize + RecordSize + 5, 1, ErrPadding},
		{"A2.3 length past the end", HeaderSize + 7, 0xff, ErrRecord},
		{"A3.1 an unknown kind is a record like any other", HeaderSize, 0xfe, nil},
	} {
		b := bytes.Clone(good)
		b[c.at] = c.to
		if _, err := walk(b, len(b)); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.clause, err, c.want)
		}
	}
	if _, err := walk(append(bytes.Clone(good), 0), len(good)+1); !errors.Is(err, ErrShort) {
		t.Errorf("A1.5 a byte behind the batch: got %v, want %v", err, ErrShort)
	}
	if _, err := walk(good, len(good)-1); !errors.Is(err, ErrLimit) {
		t.Errorf("A5 over the limit: got %v, want %v", err, ErrLimit)
	}
}

// TestReaderStaysDead: after an error nothing more comes out.
func TestReaderStaysDead(t *testing.T) {
	b := load(t, "events.hex")
	b[8]++
	_, r, _ := Parse(b, len(b))
	for ok := true; ok; _, ok = r.NextEvent() {
	}
	for range 3 {
		if _, ok := r.NextEffect(); ok || !errors.Is(r.Err(), ErrRecord) {
			t.Fatalf("after an error: ok %v, err %v", ok, r.Err())
		}
	}
}

// dump writes hex, a line for each 8 bytes, so that a diff shows the field.
func dump(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		n := min(8, len(b))
		fmt.Fprintf(&s, "%x\n", b[:n])
		b = b[n:]
	}
	return s.String()
}

func load(t testing.TB, name string) []byte {
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.ReplaceAll(string(text), "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
