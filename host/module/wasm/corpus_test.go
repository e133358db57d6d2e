package wasm

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nethost/host/module"
	"nethost/host/module/inproc"
	"nethost/host/store"
	"nethost/sdk"
	"nethost/sdk/abi"
)

// town is a host of two modules: slot 0 is the hostile guest, slot 1 its neighbour.
type town struct {
	ups   chan int
	downs chan int
	echo  chan struct{}
	sent  atomic.Int64 // effects of the hostile guest that reached the host
	lines atomic.Int64
	state ledger
}

// ledger is state of which only the sizes are kept.
type ledger struct {
	mu    sync.Mutex
	sizes map[string]int
}

func (s *ledger) Load(func(k, v []byte)) error { return nil }
func (s *ledger) Sync() error                  { return nil }
func (s *ledger) Apply(ops []store.Op) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range ops {
		s.sizes[string(o.Key)] = len(o.Key) + len(o.Val)
	}
	return nil
}

func (s *ledger) bytes() (sum int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.sizes {
		sum += n
	}
	return sum
}

func (w *town) Up(slot int) { w.ups <- slot }
func (w *town) Down(slot int) {
	if slot == 0 {
		w.downs <- slot
	}
}
func (w *town) Gone(int)                        {}
func (w *town) Draining(int)                    {}
func (w *town) Streams(int) int                 { return 0 }
func (w *town) Swap(int, int, func() []sdk.Ref) {}
func (w *town) Apply(slot int, fs []sdk.Effect) {
	if slot == 0 {
		w.sent.Add(int64(len(fs)))
		return
	}
	w.echo <- struct{}{}
}

// Enabled, Handle, WithAttrs and WithGroup make it a slog.Handler that counts.
func (w *town) Enabled(context.Context, slog.Level) bool { return true }
func (w *town) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "flood") {
		w.lines.Add(1)
	}
	return nil
}
func (w *town) WithAttrs([]slog.Attr) slog.Handler { return w }
func (w *town) WithGroup(string) slog.Handler      { return w }

type neighbour struct{}

func (neighbour) Describe() sdk.Descriptor { return sdk.Descriptor{} }
func (neighbour) Handle(e *sdk.Env, ev *sdk.Event) {
	switch ev.Kind {
	case sdk.EvMessage:
		e.Send(ev.Peer, ev.ID, sdk.Realtime, ev.Payload)
	case sdk.EvDrain:
		e.Drained()
	}
}

const (
	effectsAt = 1 << 16
	drainedAt = 60000
)

// provoked is a guest that does as told in a batch that begins with a Message or
// Posted event, answers Drain as it should, and nothing to any other.
func provoked(pages byte, data []byte, more []fn, code ...[]byte) []byte {
	kind := []byte{opLocalGet, 0, 0x2f, 1, abi.HeaderSize}
	drained := effects(1, sdk.Effect{Kind: sdk.OpDrained})
	guard := cat(kind, i32const(int64(sdk.EvDrain)), []byte{opI32Eq, opIf, blockEmpty}, i32const(drainedAt+16), []byte{opLocalGet, 0, 0x29, 3, 16, 0x37, 3, 0},
		packed(drainedAt, uint32(len(drained))), []byte{opReturn, opEnd}, kind, i32const(int64(sdk.EvMessage)), []byte{0x47}, kind, i32const(int64(sdk.EvPosted)), []byte{0x47, 0x71,
			opIf, blockEmpty, opI64Const, 0, opReturn, opEnd})
	a := asm{handle: fn{code: cat(guard, cat(code...))}, more: more, memory: []byte{0, pages}}
	segments := cat([]byte{1}, dataAt(drainedAt, drained))
	if data != nil {
		segments = cat([]byte{2}, dataAt(drainedAt, drained), dataAt(effectsAt, data))
	}
	a.extra = map[byte][]byte{secData: segments}
	return a.bytes()
}

// answering gives the batch of effects in data, with the sequence of its events.
func answering(data []byte, more ...[]byte) []byte {
	seq := cat(i32const(effectsAt+16), []byte{opLocalGet, 0, 0x29, 3, 16, 0x37, 3, 0})
	return provoked(18, data, nil, seq, cat(more...), packed(effectsAt, uint32(len(data))))
}

// effects writes n effects as a guest of this repository would.
func effects(n int, f sdk.Effect) []byte {
	var w abi.Writer
	w.ResetEffects(0)
	for i := range n {
		f.Ref = sdk.Ref(2*i + 1)
		w.Emit(f)
	}
	return slices.Clone(w.Bytes())
}

func poke32(b []byte, at int, v uint32) []byte {
	b = slices.Clone(b)
	binary.LittleEndian.PutUint32(b[at:], v)
	return b
}

// hostile is one guest of the corpus and what must become of it.
type hostile struct {
	name string
	bin  []byte
	dies string // in its last error; "" = it lives
	also func(t *testing.T, w *town, i module.Info)
}

func corpus() []hostile {
	zero := []byte{opI64Const, 0}
	spin := []byte{opLoop, blockEmpty, opBr, 0, opEnd}
	var tree []fn
	for k := range byte(30) {
		tree = append(tree, fn{typ: typVoid, code: []byte{opCall, 4 + k, opCall, 4 + k}})
	}
	tree = append(tree, fn{typ: typVoid, code: []byte{0x01}})
	// Grows until that fails, and writes to each page it gets.
	bomb := cat([]byte{opLoop, blockEmpty}, i32const(1), []byte{opMemoryGrow, 0, opLocalTee, 0}, i32const(-1), []byte{0x47, opIf, blockEmpty,
		opLocalGet, 0}, i32const(16), []byte{0x74}, i32const(7), []byte{0x36, 2, 0, opBr, 1, opEnd, opEnd}, zero)
	send := sdk.Effect{Kind: sdk.OpSend, Peer: 1, ID: 7, Payload: []byte("x")}
	one := effects(1, send)
	denied := func(n uint64) func(*testing.T, *town, module.Info) {
		return func(t *testing.T, w *town, i module.Info) {
			if i.Denied < n || w.sent.Load() != 0 {
				t.Errorf("%d effects were refused and %d went through, want %d and none", i.Denied, w.sent.Load(), n)
			}
		}
	}
	key := sdk.AppendStateEntry(nil, []byte("key"), make([]byte, 60<<10))
	return []hostile{
		{"endless loop", provoked(2, nil, nil, spin, zero), "cpu_max", nil},
		{"loop-free exponential recursion", provoked(2, nil, tree, []byte{opCall, 3}, zero), "cpu_max", nil},
		{"endless recursion", provoked(2, nil, []fn{{typ: typVoid, code: []byte{opCall, 3}}}, []byte{opCall, 3}, zero), "call stack", nil},
		{"memory bomb", provoked(2, nil, nil, bomb), "", func(t *testing.T, w *town, i module.Info) {
			if i.Usage.CPU == 0 {
				t.Error("it cost nothing")
			}
		}},
		{"effects outside the memory", provoked(2, nil, nil, packed(0xfffffff0, 4096)), "outside the memory", nil},
		{"effects across its end", provoked(2, nil, nil, packed(2<<16-64, 128)), "outside the memory", nil},
		{"1 M effects", answering(poke32(effects(1000, send), 8, 1<<20)), "broke the ABI", nil},
		{"1 M effects in 32 MiB", provoked(2, nil, nil, packed(0, 40+32<<20)), "bytes of effects", nil},
		{"more effects than the cap", answering(poke32(effects(8192, send), 8, 8193)), "broke the ABI", nil},
		{"a count above the records", answering(poke32(one, 8, 2)), "broke the ABI", nil},
		{"a count below the records", answering(poke32(effects(3, send), 8, 2)), "broke the ABI", nil},
		{"a batch longer than it says", answering(poke32(one, 12, 40)), "broke the ABI", nil},
		{"a batch shorter than it says", answering(poke32(one, 12, 1<<30)), "broke the ABI", nil},
		{"a payload past the end", answering(poke32(one, 44, 1<<31)), "broke the ABI", nil},
		{"no such effect", answering(poke32(one, 40, 0xfff)), "broke the ABI", nil},
		{"another batch's sequence", provoked(18, one, nil, packed(effectsAt, uint32(len(one)))), "sequence", nil},
		{"another module's id", answering(effects(100, sdk.Effect{Kind: sdk.OpStreamOpen, Flags: sdk.FlagModule, ID: 8, Payload: sdk.AppendOpen(nil, sdk.Open{})})), "", denied(100)},
		{"giant state", answering(effects(17, sdk.Effect{Kind: sdk.OpStatePut, Payload: key})), "", func(t *testing.T, w *town, i module.Info) {
			if w.state.bytes() > 60<<10+3 || i.Denied != 0 {
				t.Errorf("%d bytes of state, %d refused: one key written again costs nothing more", w.state.bytes(), i.Denied)
			}
		}},
		{"state above the grant", answering(func() []byte {
			var b abi.Writer
			b.ResetEffects(0)
			for i := range 16 {
				b.Emit(sdk.Effect{Kind: sdk.OpStatePut, Payload: sdk.AppendStateEntry(nil, []byte{byte(i)}, make([]byte, 60<<10))})
			}
			return slices.Clone(b.Bytes())
		}()), "", func(t *testing.T, w *town, i module.Info) {
			if w.state.bytes() > stateGrant || i.Denied < 14 {
				t.Errorf("%d bytes of state for a grant of %d, %d refused", w.state.bytes(), stateGrant, i.Denied)
			}
		}},
		{"log flood", answering(effects(8000, sdk.Effect{Kind: sdk.OpLog, Payload: []byte("flood")})), "", func(t *testing.T, w *town, i module.Info) {
			if n := w.lines.Load(); n == 0 || n > 200 {
				t.Errorf("%d lines reached the log", n)
			}
		}},
		{"counter flood", answering(func() []byte {
			var b abi.Writer
			b.ResetEffects(0)
			for i := range 8000 {
				b.Emit(sdk.Effect{Kind: sdk.OpCount, Arg: 1, Payload: fmt.Appendf(nil, "counter%d", i)})
			}
			return slices.Clone(b.Bytes())
		}()), "", func(t *testing.T, w *town, i module.Info) {
			if len(i.Counters) > 256 {
				t.Errorf("%d counters", len(i.Counters))
			}
		}},
		{"timer flood", answering(effects(8192, sdk.Effect{Kind: sdk.OpTimer, Arg: 1})), "", func(t *testing.T, w *town, i module.Info) {
			if n := w.sent.Load(); n != 8192 && n != 2*8192 { // both messages may be one batch; the node allows sdk.MaxTimers of them and raises them to sdk.MinTimer
				t.Errorf("%d timers", n)
			}
		}},
		{"posts that breed", answering(effects(8192, sdk.Effect{Kind: sdk.OpPost, Payload: []byte("x")})), "mailbox overflow", nil},
	}
}

const stateGrant = 100 << 10

// TestCorpus: what hostile guests do ends as it should, their neighbour is served
// while they do it, and nothing of them stays: goroutines, descriptors, mappings.
func TestCorpus(t *testing.T) {
	c := newCarrier(t)
	dir := t.TempDir()
	run := func(t *testing.T, h hostile) {
		w := &town{ups: make(chan int, 64), downs: make(chan int, 64), echo: make(chan struct{}, 64), state: ledger{sizes: map[string]int{}}}
		path := filepath.Join(dir, strings.ReplaceAll(h.name, " ", "_"))
		if err := os.WriteFile(path, h.bin, 0o600); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		m := module.NewManager(module.Config{Host: w, State: func(string) module.State { return &w.state }, Clock: func() time.Duration { return time.Since(began) },
			Carriers: map[module.Kind]module.Carrier{module.Wasm: c, module.Builtin: inproc.New(map[string]func() sdk.Module{"neighbour": func() sdk.Module { return neighbour{} }})},
			Log:      slog.New(w), Entropy: rand.Reader})
		limits := module.DefaultLimits
		limits.Memory, limits.CPUMax = 2<<20, 5*time.Millisecond
		m.Add(module.Spec{Name: "hostile", Kind: module.Wasm, Artifact: path, Limits: limits, Grants: module.Grants{State: stateGrant}})
		m.Add(module.Spec{Name: "neighbour", Kind: module.Builtin, Limits: module.DefaultLimits, Subprotocols: []sdk.Subprotocol{{ID: 8}}})
		m.Start(context.Background())
		<-w.ups
		<-w.ups
		m.Deliver(0, sdk.Event{Kind: sdk.EvMessage, Peer: 1, ID: 7, Payload: []byte("do it")})
		for range 20 {
			m.Deliver(1, sdk.Event{Kind: sdk.EvMessage, Peer: 1, ID: 8})
			<-w.echo
		}
		if h.dies != "" {
			<-w.downs
			<-w.ups // and it is there again
		} else {
			m.Deliver(0, sdk.Event{Kind: sdk.EvMessage, Peer: 2, ID: 7})
			tick := time.NewTicker(time.Millisecond)
			for i := m.List()[0]; i.Mailbox > 0 || i.Events < 4; i = m.List()[0] { // Config, Start and two messages
				<-tick.C
			}
			tick.Stop()
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		m.Close(ctx)
		i := m.List()[0]
		if (i.LastError == "") != (h.dies == "") || !strings.Contains(i.LastError, h.dies) {
			t.Errorf("last error %q, want %q", i.LastError, h.dies)
		}
		if h.also != nil {
			h.also(t, w, i)
		}
	}
	cases := corpus()
	for _, h := range cases[:2] {
		run(t, h) // what is made once and stays
	}
	before := held(t)
	for _, h := range cases {
		t.Run(h.name, func(t *testing.T) { run(t, h) })
	}
	for range 3 {
		run(t, cases[0])
	}
	after := held(t)
	for what, n := range after {
		if n > before[what]+2 {
			t.Errorf("%d %s, %d before", n, what, before[what])
		}
	}
}

// held counts what a process could leak.
func held(t *testing.T) map[string]int {
	t.Helper()
	runtime.GC()
	n := map[string]int{"goroutines": runtime.NumGoroutine()}
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		n["descriptors"] = len(fds)
	}
	if maps, err := os.ReadFile("/proc/self/maps"); err == nil {
		// The guests' memories: private, writable, anonymous, of just that size.
		for line := range strings.Lines(string(maps)) {
			var from, to uint64
			if _, err := fmt.Sscanf(line, "%x-%x rw-p", &from, &to); err == nil && to-from == 2<<20 {
				n["memories"]++
			}
		}
	}
	return n
}
