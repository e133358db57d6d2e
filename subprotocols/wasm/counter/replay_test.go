package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nethost/host/module"
	"nethost/host/module/inproc"
	"nethost/host/module/wasm"
	"nethost/host/store"
	"nethost/sdk"
)

// node is a host that answers nothing: what the counter writes comes out of answers.
type node struct {
	up      chan struct{}
	answers chan string
}

func (n *node) Up(int)                          { n.up <- struct{}{} }
func (n *node) Down(int)                        {}
func (n *node) Gone(int)                        {}
func (n *node) Draining(int)                    {}
func (n *node) Streams(int) int                 { return 0 }
func (n *node) Swap(int, int, func() []sdk.Ref) {}
func (n *node) Apply(_ int, fs []sdk.Effect) {
	for _, f := range fs {
		switch f.Kind {
		case sdk.OpStreamWrite:
			n.answers <- string(f.Payload)
		case sdk.OpStreamReset:
			n.answers <- "reset"
		}
	}
}

func await[T any](t *testing.T, ctx context.Context, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-ctx.Done():
		t.Fatal("nothing came")
	}
	return v
}

// recordCounter runs a counter in a sandbox under a real manager and store, records it,
// and gives the files in order. bulk is how many messages of 60 KiB it gets.
func recordCounter(t *testing.T, guests *wasm.Carrier, spec module.Spec, bulk int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	db, err := store.Open(filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	n := &node{up: make(chan struct{}, 1), answers: make(chan string, 1)}
	origin := time.Now()
	m := module.NewManager(module.Config{Host: n, Carriers: map[module.Kind]module.Carrier{module.Wasm: guests}, Records: filepath.Join(dir, "records"),
		State: func(name string) module.State { return db.Module(name) }, Clock: func() time.Duration { return time.Since(origin) },
		Log: slog.New(slog.DiscardHandler), Entropy: rand.Reader})
	m.Add(spec)
	m.Start(ctx)
	await(t, ctx, n.up)
	v := sdk.Version{Major: 1}
	m.Deliver(0, sdk.Event{Kind: sdk.EvPeerUp, Peer: 1, ID: ID, Version: v, Payload: sdk.AppendPeerInfo(nil, sdk.PeerInfo{})})
	ref := sdk.Ref(0)
	call := func(method, arg, want string) {
		t.Helper()
		ref += 2
		m.Deliver(0, sdk.Event{Kind: sdk.EvStreamOpen, Peer: 1, ID: ID, Version: v, Ref: ref, Arg: 1 << 16, Payload: sdk.AppendOpen(nil, sdk.Open{Method: method})})
		m.Deliver(0, sdk.Event{Kind: sdk.EvStreamData, Ref: ref, Flags: sdk.FlagFIN, Payload: []byte(arg)})
		if got := await(t, ctx, n.answers); got != want {
			t.Fatalf("%s %s: %s, want %s", method, arg, got, want)
		}
	}
	call("add", "40", "40")
	call("add", "2", "42")
	call("add", "x", "reset")
	for i := range bulk {
		m.Deliver(0, sdk.Event{Kind: sdk.EvMessage, Peer: 1, ID: ID, Version: v, Payload: make([]byte, 60<<10)})
		call("messages", "", fmt.Sprint(i+1))
	}
	call("get", "", "42")
	m.Close(ctx)
	files, err := filepath.Glob(filepath.Join(dir, "records", "counter", "*.record"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no record: %v", err)
	}
	return files
}

func guestSpec(t *testing.T) module.Spec {
	t.Helper()
	path := filepath.Join(t.TempDir(), "counter.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", path, ".")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	sum, err := module.Digest(path)
	if err != nil {
		t.Fatal(err)
	}
	l := module.DefaultLimits
	l.Memory, l.CPUMax = 64<<20, time.Second
	return module.Spec{Name: "counter", Release: "1.0.0", Kind: module.Wasm, Artifact: path, Digest: sum, Limits: l, Subprotocols: New().Describe().Subprotocols,
		Grants: module.Grants{State: 1 << 20, Wall: true, Entropy: true}, Record: true}
}

func newGuests(t *testing.T) *wasm.Carrier {
	t.Helper()
	c, err := wasm.New("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestReplay: what a guest did is done again, byte by byte, by a guest and by the same
// module in this process (R4.1, R4.4), and a module that counts otherwise is found out.
func TestReplay(t *testing.T) {
	if raced {
		t.Skip("compiling a Go guest under the race detector takes minutes")
	}
	spec, guests := guestSpec(t), newGuests(t)
	t.Run("whole", func(t *testing.T) { replayWhole(t, spec, guests) })
	t.Run("parts", func(t *testing.T) { replayParts(t, spec, guests) })
}

func replayWhole(t *testing.T, spec module.Spec, guests *wasm.Carrier) {
	files := recordCounter(t, guests, spec, 3)
	if info, err := os.Stat(files[0]); err != nil || info.Mode().Perm() != 0o600 { // R3.1
		t.Errorf("%v %v", info.Mode(), err)
	}
	record, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	rr, err := module.NewRecordReader(bytes.NewReader(record))
	if err != nil || rr.Head.Name != "counter" || rr.Head.Digest != spec.Digest || len(rr.Head.Subprotocols) != 1 {
		t.Fatalf("%+v %v", rr, err)
	}
	again := func(kind module.Kind, c module.Carrier) *module.Replayed {
		t.Helper()
		s := rr.Head.Spec()
		s.Kind, s.Artifact = kind, spec.Artifact
		r, err := module.Replay(t.Context(), bytes.NewReader(record), c, s)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	here := func(fresh func() sdk.Module) module.Carrier {
		return inproc.New(map[string]func() sdk.Module{"counter": fresh})
	}
	for range 2 {
		for kind, c := range map[module.Kind]module.Carrier{module.Wasm: guests, module.Builtin: here(New)} {
			if r := again(kind, c); r.Difference != nil || r.Fault != nil || r.Batches < 8 || len(r.Notes) != 0 {
				t.Errorf("%s: %+v %+v", kind, r, r.Difference)
			}
		}
	}
	r := again(module.Builtin, here(func() sdk.Module { return &forgetful{New()} }))
	if d := r.Difference; d == nil || d.Seq != 2 || !strings.Contains(d.Then, `messages0"`) || !strings.Contains(d.Here, `messages-1"`) {
		t.Errorf("a counter that forgets a message: %+v", d)
	}
}

// forgetful misses one message.
type forgetful struct{ sdk.Module }

func (f *forgetful) Handle(env *sdk.Env, ev *sdk.Event) {
	if ev.Kind == sdk.EvStart { // as if one had come less
		f.Module.(*Counter).messages--
	}
	f.Module.Handle(env, ev)
}

// replayParts: a record that is too long for one file goes on with a snapshot in
// the next, which is replayed by itself; only by the carrier that it is of (R3.3).
func replayParts(t *testing.T, spec module.Spec, guests *wasm.Carrier) {
	files := recordCounter(t, guests, spec, 150)
	if len(files) != 2 {
		t.Fatalf("%d files", len(files))
	}
	for part, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		rr, err := module.NewRecordReader(f)
		if err != nil || (rr.Snapshot != nil) != (part == 1) || rr.Head.Part != uint32(part) {
			t.Fatalf("part %d: %+v %v", part, rr.Head, err)
		}
		s := rr.Head.Spec()
		s.Artifact = spec.Artifact
		rewind(t, f)
		r, err := module.Replay(t.Context(), f, guests, s)
		if err != nil || r.Difference != nil || r.Fault != nil || r.Batches < 5 {
			t.Fatalf("part %d: %+v %v", part, r, err)
		}
		if part == 0 {
			continue
		}
		rewind(t, f)
		s.Kind = module.Builtin
		if _, err := module.Replay(t.Context(), f, inproc.New(map[string]func() sdk.Module{"counter": New}), s); err == nil || errors.Is(err, module.ErrRecordCorrupt) ||
			!strings.Contains(err.Error(), "snapshot") {
			t.Errorf("a builtin took a guest's snapshot: %v", err)
		}
	}
}

func rewind(t *testing.T, f *os.File) {
	t.Helper()
	if _, err := f.Seek(0, 0); err != nil {
		t.Fatal(err)
	}
}
