package module_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nethost/host/module"
	"nethost/host/module/inproc"
	"nethost/host/store"
	"nethost/sdk"
)

// fakeHost records; like the node it takes a lock that Deliver is called under.
type fakeHost struct {
	mu    sync.Mutex
	log   []string
	sent  []string
	times []time.Duration
	began time.Time

	resets []sdk.Ref
}

func (h *fakeHost) note(s string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.log = append(h.log, s)
	h.times = append(h.times, time.Since(h.began))
}
func (h *fakeHost) Up(int)          { h.note("up") }
func (h *fakeHost) Down(int)        { h.note("down") }
func (h *fakeHost) Gone(int)        { h.note("gone") }
func (h *fakeHost) Draining(int)    {}
func (h *fakeHost) Streams(int) int { return 0 }
func (h *fakeHost) Swap(_, _ int, move func() []sdk.Ref) {
	h.note("swap")
	h.mu.Lock()
	defer h.mu.Unlock()
	move()
}
func (h *fakeHost) Apply(_ int, fs []sdk.Effect) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range fs {
		if f.Kind == sdk.OpSend {
			h.sent = append(h.sent, string(f.Payload))
		}
		if f.Kind == sdk.OpStreamReset {
			h.resets = append(h.resets, f.Ref)
		}
	}
}
func (h *fakeHost) seen() ([]string, []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.log), slices.Clone(h.sent)
}

type mod struct{ handle func(*sdk.Env, *sdk.Event) }

func (m mod) Describe() sdk.Descriptor         { return sdk.Descriptor{} }
func (m mod) Handle(e *sdk.Env, ev *sdk.Event) { m.handle(e, ev) }

type slowState struct {
	mu    sync.Mutex
	m     map[string]string
	syncs int
}

func (s *slowState) Load(f func(k, v []byte)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, v := range s.m {
		f([]byte(k), []byte(v))
	}
	return nil
}
func (s *slowState) Apply(ops []store.Op) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range ops {
		s.m[string(o.Key)] = string(o.Val)
	}
	return nil
}
func (s *slowState) Sync() error {
	t := time.NewTimer(50 * time.Millisecond)
	<-t.C
	s.mu.Lock()
	defer s.mu.Unlock()
	s.syncs++
	return nil
}

func build(h *fakeHost, inline bool, st *slowState, g module.Grants, handle func(*sdk.Env, *sdk.Event)) *module.Manager {
	h.began = time.Now()
	m := module.NewManager(module.Config{Host: h, Carriers: map[module.Kind]module.Carrier{module.Builtin: inproc.New(map[string]func() sdk.Module{"t": func() sdk.Module { return mod{handle} }})},
		State: func(string) module.State { return st }, Clock: func() time.Duration { return time.Since(h.began) },
		Log: slog.New(slog.DiscardHandler), Entropy: rand.Reader})
	l := module.DefaultLimits
	l.Inline = inline
	m.Add(module.Spec{Name: "t", Kind: module.Builtin, Limits: l, Grants: g, Subprotocols: []sdk.Subprotocol{{ID: 0xf001, Version: sdk.Version{Major: 1}}}})
	return m
}

func deliver(h *fakeHost, m *module.Manager, ev sdk.Event) {
	h.mu.Lock()
	m.Deliver(0, ev)
	h.mu.Unlock()
	m.RunInline()
}

func closeIn(m *module.Manager) time.Duration {
	t := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	m.Close(ctx)
	return time.Since(t)
}

func both(t *testing.T, f func(t *testing.T, inline bool)) {
	for _, inline := range []bool{false, true} {
		t.Run(map[bool]string{false: "goroutine", true: "inline"}[inline], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, inline) })
		})
	}
}

func TestSupervisorCrashRestart(t *testing.T) {
	both(t, func(t *testing.T, inline bool) {
		h := &fakeHost{}
		m := build(h, inline, nil, module.Grants{}, func(e *sdk.Env, ev *sdk.Event) {
			switch ev.Kind {
			case sdk.EvMessage:
				if string(ev.Payload) == "crash" {
					panic("boom")
				}
				e.Send(1, 0xf001, sdk.Realtime, ev.Payload)
			case sdk.EvDrain:
				e.Drained()
			}
		})
		m.Start(t.Context())
		synctest.Wait()
		deliver(h, m, sdk.Event{Kind: sdk.EvMessage, Payload: []byte("a")})
		synctest.Wait()
		deliver(h, m, sdk.Event{Kind: sdk.EvMessage, Payload: []byte("crash")})
		synctest.Wait()
		deliver(h, m, sdk.Event{Kind: sdk.EvMessage, Payload: []byte("b")})
		synctest.Wait()
		log, sent := h.seen()
		if !slices.Equal(log, []string{"up", "down", "up"}) || !slices.Equal(sent, []string{"a", "b"}) {
			t.Errorf("log %v sent %v", log, sent)
		}
		if i := m.List()[0]; i.State != module.StateReady || i.Restarts != 1 || i.LastError == "" {
			t.Errorf("%+v", i)
		}
		if d := closeIn(m); d > 100*time.Millisecond {
			t.Errorf("close took %v", d)
		}
	})
}

func TestSupervisorQuarantine(t *testing.T) {
	both(t, func(t *testing.T, inline bool) {
		h := &fakeHost{}
		m := build(h, inline, nil, module.Grants{}, func(e *sdk.Env, ev *sdk.Event) {
			if ev.Kind == sdk.EvMessage {
				panic("boom")
			}
		})
		m.Start(t.Context())
		for i := range 5 {
			time.Sleep(time.Minute / 2)
			deliver(h, m, sdk.Event{Kind: sdk.EvMessage, Payload: []byte{byte(i)}})
		}
		synctest.Wait()
		log, _ := h.seen()
		if log[len(log)-1] != "gone" || m.List()[0].State != module.StateQuarantined {
			t.Errorf("%v %v", log, m.List()[0].State)
		}
		deliver(h, m, sdk.Event{Kind: sdk.EvMessage, Payload: []byte("x")})
		closeIn(m)
	})
}

func TestSupervisorCommit(t *testing.T) {
	both(t, func(t *testing.T, inline bool) {
		h, st := &fakeHost{}, &slowState{m: map[string]string{}}
		m := build(h, inline, st, module.Grants{State: 1 << 20}, func(e *sdk.Env, ev *sdk.Event) {
			switch ev.Kind {
			case sdk.EvMessage:
				e.Put([]byte("k"), ev.Payload)
				e.Commit(7)
				e.Send(1, 0xf001, sdk.Realtime, []byte("held"))
			case sdk.EvCommitted:
				e.Send(1, 0xf001, sdk.Realtime, []byte("committed"))
			case sdk.EvDrain:
				e.Drained()
			}
		})
		m.Start(t.Context())
		synctest.Wait()
		began := time.Now()
		deliver(h, m, sdk.Event{Kind: sdk.EvMessage, Payload: []byte("a")})
		if d := time.Since(began); d != 0 {
			t.Errorf("the caller waited %v", d)
		}
		synctest.Wait()
		if _, sent := h.seen(); len(sent) != 0 {
			t.Errorf("before the sync: %v", sent)
		}
		time.Sleep(60 * time.Millisecond)
		synctest.Wait()
		if _, sent := h.seen(); !slices.Equal(sent, []string{"held", "committed"}) || st.syncs != 1 {
			t.Errorf("%v %d", sent, st.syncs)
		}
		closeIn(m)
	})
}

// A module that answers Drained only when its last work ends.
func TestSupervisorLateDrained(t *testing.T) {
	both(t, func(t *testing.T, inline bool) {
		h := &fakeHost{}
		draining := false
		m := build(h, inline, nil, module.Grants{}, func(e *sdk.Env, ev *sdk.Event) {
			switch {
			case ev.Kind == sdk.EvDrain:
				draining = true
			case ev.Kind == sdk.EvMessage && draining:
				e.Drained()
			}
		})
		m.Start(t.Context())
		synctest.Wait()
		go func() {
			time.Sleep(100 * time.Millisecond)
			deliver(h, m, sdk.Event{Kind: sdk.EvMessage})
		}()
		if d := closeIn(m); d > 150*time.Millisecond {
			t.Errorf("close took %v, Drained came after 100ms", d)
		}
	})
}

type badCarrier struct{}

func (badCarrier) Open(context.Context, module.Spec) (module.Instance, error) {
	return nil, errors.New("no")
}

func TestSupervisorNeverOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fakeHost{}
		m := module.NewManager(module.Config{Host: h, Carriers: map[module.Kind]module.Carrier{module.Wasm: badCarrier{}}, Clock: func() time.Duration { return time.Since(time.Time{}) }, Log: slog.New(slog.DiscardHandler), Entropy: rand.Reader})
		m.Add(module.Spec{Name: "a", Kind: module.Wasm})
		m.Add(module.Spec{Name: "b", Kind: module.Process})
		m.Start(t.Context())
		time.Sleep(2 * time.Second)
		synctest.Wait()
		l := m.List()
		if l[0].State != module.StateQuarantined || l[1].State != module.StateFailed {
			t.Errorf("%v %v", l[0].State, l[1].State)
		}
		if log, _ := h.seen(); !slices.Equal(log, []string{"gone", "gone"}) {
			t.Errorf("%v", log)
		}
		closeIn(m)
	})
}
