package module_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lukechampine.com/blake3"

	"nethost/host/module"
	"nethost/host/module/inproc"
	"nethost/sdk"
)

// stage runs versions of a module "t" whose behaviour is a function by release.
type stage struct {
	h      *fakeHost
	m      *module.Manager
	st     *slowState
	inline bool
	dir    string
}

type versions map[string]func(*sdk.Env, *sdk.Event)

// byRelease opens the factory of a release.
type byRelease struct{ module.Carrier }

func (c byRelease) Open(ctx context.Context, s module.Spec) (module.Instance, error) {
	s.Name = s.Release
	return c.Carrier.Open(ctx, s)
}

func (s *stage) spec(release string) module.Spec {
	l := module.DefaultLimits
	l.Inline = s.inline
	return module.Spec{Name: "t", Release: release, Kind: module.Builtin, Limits: l, Grants: module.Grants{State: 1 << 20}, Digest: blake3.Sum256([]byte(release)),
		Subprotocols: []sdk.Subprotocol{{ID: 0xf001, Version: sdk.Version{Major: 1}, MinPeer: sdk.Version{Major: 1}}}}
}

// play starts version "1".
func play(t *testing.T, inline bool, v versions, widens func(a, b module.Spec) []string) *stage {
	s := &stage{h: &fakeHost{began: time.Now()}, st: &slowState{m: map[string]string{}}, inline: inline, dir: t.TempDir()}
	factories := map[string]func() sdk.Module{}
	for release, handle := range v {
		factories[release] = func() sdk.Module { return mod{handle} }
	}
	s.m = module.NewManager(module.Config{Host: s.h, Carriers: map[module.Kind]module.Carrier{module.Builtin: byRelease{inproc.New(factories)}},
		State: func(string) module.State { return s.st }, Clock: func() time.Duration { return time.Since(s.h.began) },
		Log: slog.New(slog.DiscardHandler), Entropy: rand.Reader, Crash: s.dir, Widens: widens})
	s.m.Add(s.spec("1"))
	s.m.Start(t.Context())
	synctest.Wait()
	return s
}

func (s *stage) sync(t *testing.T, release string, want string) module.Reloaded {
	t.Helper()
	c := s.m.Sync(t.Context(), []module.Spec{s.spec(release)}, nil, nil)
	synctest.Wait()
	if len(c) != 1 || c[0].What != want {
		t.Fatalf("version %s: %+v, want %s", release, c, want)
	}
	return c[0]
}

// message delivers to a slot.
func (s *stage) message(slot int, text string) {
	s.h.mu.Lock()
	s.m.Deliver(slot, sdk.Event{Kind: sdk.EvMessage, Peer: 1, ID: 0xf001, Version: sdk.Version{Major: 1}, Payload: []byte(text)})
	s.h.mu.Unlock()
	s.m.RunInline()
	synctest.Wait()
}

// keeper keeps what it gets in its state, and says what it starts with.
func keeper(name string, drained bool) func(*sdk.Env, *sdk.Event) {
	return func(e *sdk.Env, ev *sdk.Event) {
		say := func(format string, a ...any) {
			e.Send(1, 0xf001, sdk.Realtime, fmt.Appendf(nil, name+" "+format, a...))
		}
		switch ev.Kind {
		case sdk.EvState:
			k, v, _ := sdk.ParseStateEntry(ev.Payload)
			say("has %s=%s", k, v)
		case sdk.EvStart:
			s, _ := sdk.ParseStart(ev.Payload)
			say("starts %d from %q", s.Reason, s.Previous)
		case sdk.EvMessage:
			if strings.HasPrefix(string(ev.Payload), "die") {
				panic(string(ev.Payload))
			}
			e.Put([]byte("k"), ev.Payload)
			say("got %s", ev.Payload)
		case sdk.EvDenied:
			say("is denied %s", ev.Payload)
		case sdk.EvDrain:
			if drained {
				e.Drained()
			}
		case sdk.EvStop:
			e.Put([]byte("k"), []byte("stop"))
		}
	}
}

// TestTakeOver (L3.1-L3.4): the new version starts with the state the old one left,
// messages that wait go to it, the old one may write no more and is cut when it
// does not finish.
func TestTakeOver(t *testing.T) {
	both(t, func(t *testing.T, inline bool) {
		s := play(t, inline, versions{"1": keeper("one", false), "2": keeper("two", true), "3": keeper("three", true)}, nil)
		s.message(0, "a")
		s.sync(t, "2", "upgraded")
		s.message(1, "b")
		s.message(0, "late") // to the old one, as of a peer that has not heard yet
		if s.st.m["k"] != "b" {
			t.Errorf("the state is %q: the old version must not write it", s.st.m["k"])
		}
		if i := s.m.List(); len(i) != 1 || i[0].Release != "2" || i[0].Finishing != 1 {
			t.Errorf("%+v", i)
		}
		time.Sleep(29 * time.Second)
		if i := s.m.List(); i[0].Finishing != 1 {
			t.Errorf("after 29 s: %+v", i[0])
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		log, sent := s.h.seen()
		want := []string{`one starts 1 from ""`, "one got a", "two has k=a", `two starts 3 from "1"`, "two got b", "one got late", "one is denied DRAINING"}
		if !slices.Equal(sent, want) || !slices.Equal(log, []string{"up", "swap", "down", "gone"}) {
			t.Errorf("%q\n%q", sent, log)
		}
		if i := s.m.List(); i[0].Finishing != 0 || s.st.m["k"] != "b" {
			t.Errorf("after 31 s: %+v, state %v", i[0], s.st.m)
		}
		// The slot is free again, and the third version finds it.
		s.sync(t, "3", "upgraded")
		s.message(0, "c")
		if s.st.m["k"] != "c" {
			t.Errorf("slot 0 does not answer: %v", s.st.m)
		}
		s.sync(t, "3", "unchanged")
		closeIn(s.m)
	})
}

// TestRollback (L3.6): a version that crashes within a minute of taking over gives
// the one before its place back, and is not taken again until it is another one.
func TestRollback(t *testing.T) {
	both(t, func(t *testing.T, inline bool) {
		s := play(t, inline, versions{"1": keeper("one", true), "2": keeper("two", true), "3": keeper("three", true)}, nil)
		s.sync(t, "2", "upgraded")
		time.Sleep(50 * time.Second)
		s.message(1, "die")
		time.Sleep(time.Second)
		synctest.Wait()
		i := s.m.List()[0]
		if i.Release != "1" || i.State != module.StateReady || i.Restarts != 1 || !strings.Contains(i.Upgrade, "version 2 crashed within 1m0s of taking over and was rolled back: ") {
			t.Errorf("%+v", i)
		}
		s.sync(t, "2", "unchanged")
		s.sync(t, "3", "upgraded")
		time.Sleep(time.Minute)
		log, _ := s.h.seen()
		slot := 0 // which one version 3 has shows where its messages go
		for ; slot < 3; slot++ {
			s.message(slot, "die too")
			if s.m.List()[0].Restarts > 0 {
				break
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if i := s.m.List()[0]; i.Release != "3" || i.State != module.StateReady || i.Restarts != 1 {
			t.Errorf("a crash after a minute: %+v, %v", i, log)
		}
		closeIn(s.m)
	})
}

// TestNotTaken (L3.5): a version that cannot start leaves the one that serves as it
// is, its right to write included.
func TestNotTaken(t *testing.T) {
	both(t, func(t *testing.T, inline bool) {
		s := play(t, inline, versions{"1": keeper("one", true), "2": func(_ *sdk.Env, ev *sdk.Event) {
			if ev.Kind == sdk.EvStart {
				panic("not today")
			}
		}}, nil)
		c := s.sync(t, "2", "failed")
		if c.Err == nil || !strings.Contains(c.Err.Error(), "not today") || !strings.Contains(c.Err.Error(), "the version that serves goes on") {
			t.Errorf("%v", c.Err)
		}
		if c := s.sync(t, "none", "failed"); c.Err == nil {
			t.Error("a version without a program was taken")
		}
		s.message(0, "x")
		log, _ := s.h.seen()
		if i := s.m.List()[0]; i.Release != "1" || s.st.m["k"] != "x" || i.Upgrade == "" || !slices.Equal(log, []string{"up"}) {
			t.Errorf("%+v, %v, %v", i, s.st.m, log)
		}
		closeIn(s.m)
	})
}

// TestApproval (L3.7): a version that asks for more waits while the other serves.
func TestApproval(t *testing.T) {
	both(t, func(t *testing.T, inline bool) {
		s := play(t, inline, versions{"1": keeper("one", true), "2": keeper("two", true)}, func(a, b module.Spec) []string {
			return []string{"sign"}
		})
		s.sync(t, "2", "needs-approval")
		s.sync(t, "2", "needs-approval")
		if i := s.m.List()[0]; i.Release != "1" || i.State != module.StateReady || i.Waiting != "2" || !slices.Equal(i.Widens, []string{"sign"}) {
			t.Errorf("%+v", i)
		}
		s.sync(t, "1", "unchanged") // the operator put the old one back
		if i := s.m.List()[0]; i.Waiting != "" || len(i.Widens) != 0 {
			t.Errorf("%+v", i)
		}
		s.sync(t, "2", "needs-approval")
		if c := s.m.Approve(t.Context(), s.spec("2")); c.What != "upgraded" || c.Err != nil {
			t.Errorf("%+v", c)
		}
		if i := s.m.List()[0]; i.Release != "2" || i.Waiting != "" {
			t.Errorf("%+v", i)
		}
		if c := s.m.Approve(t.Context(), s.spec("2")); c.What != "unchanged" {
			t.Errorf("nothing waits: %+v", c)
		}
		closeIn(s.m)
	})
}

// TestEnableDisable (L2.4, L3.8).
func TestEnableDisable(t *testing.T) {
	both(t, func(t *testing.T, inline bool) {
		s := play(t, inline, versions{"1": keeper("one", true), "2": keeper("two", true)}, nil)
		state := func(want module.Phase) {
			t.Helper()
			synctest.Wait()
			if i := s.m.List()[0]; i.State != want {
				t.Errorf("%v, want %v", i.State, want)
			}
		}
		do := func(f func(context.Context, string) error, fails bool) {
			t.Helper()
			if err := f(t.Context(), "t"); (err != nil) != fails {
				t.Errorf("%v", err)
			}
		}
		do(s.m.Enable, true)
		do(s.m.Disable, false)
		state(module.StateStopped)
		s.sync(t, "2", "disabled")
		state(module.StateStopped)
		do(s.m.Enable, false)
		state(module.StateReady)
		for i := range 5 {
			for slot := range 3 {
				s.message(slot, fmt.Sprint("die ", i, slot))
			}
			time.Sleep(10 * time.Second)
		}
		state(module.StateQuarantined)
		do(s.m.Enable, false)
		state(module.StateReady)
		log, _ := s.h.seen()
		if log[len(log)-1] != "up" || log[len(log)-2] != "gone" {
			t.Errorf("%v", log)
		}
		if err := s.m.Enable(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "it has t") {
			t.Errorf("%v", err)
		}
		closeIn(s.m)
	})
}

// TestPoison (L4): an event that is in two crashes is dropped from then on and kept;
// what was in the same batches by chance is not.
func TestPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := play(t, false, versions{"1": keeper("one", true)}, nil)
		for range 3 {
			s.h.mu.Lock() // one batch
			for _, text := range []string{"good", "die of this", "better"} {
				s.m.Deliver(0, sdk.Event{Kind: sdk.EvMessage, Peer: 1, ID: 0xf001, Payload: []byte(text)})
			}
			s.h.mu.Unlock()
			time.Sleep(time.Second)
			synctest.Wait()
		}
		i := s.m.List()[0]
		if i.Restarts != 2 || i.Poisoned != 1 || i.State != module.StateReady {
			t.Errorf("%+v", i)
		}
		_, sent := s.h.seen()
		if got := strings.Join(sent, ", "); !strings.HasSuffix(got, "one got good, one got better") {
			t.Errorf("%s", got)
		}
		poison, _ := filepath.Glob(filepath.Join(s.dir, "t", "poison-*.events"))
		if len(poison) != 1 {
			t.Fatalf("%v", poison)
		}
		info, err := os.Stat(poison[0])
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info, err)
		}
		if b, _ := os.ReadFile(poison[0]); !strings.Contains(string(b), "die of this") || strings.Contains(string(b), "good") {
			t.Errorf("%q", b)
		}
		closeIn(s.m)
	})
}

// TestPoisonStream (L4.3): the stream that brought poison is reset.
func TestPoisonStream(t *testing.T) {
	both(t, func(t *testing.T, inline bool) {
		s := play(t, inline, versions{"1": func(_ *sdk.Env, ev *sdk.Event) {
			if ev.Kind == sdk.EvStreamData {
				panic("no data please")
			}
		}}, nil)
		for ref := sdk.Ref(2); ref <= 8; ref += 2 {
			s.h.mu.Lock()
			s.m.Deliver(0, sdk.Event{Kind: sdk.EvStreamOpen, Ref: ref, ID: 0xf001, Payload: sdk.AppendOpen(nil, sdk.Open{})})
			s.m.Deliver(0, sdk.Event{Kind: sdk.EvStreamData, Ref: ref, Payload: []byte("x")})
			s.h.mu.Unlock()
			s.m.RunInline()
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if i := s.m.List()[0]; i.Restarts != 2 || i.Poisoned != 2 || i.State != module.StateReady {
			t.Errorf("%+v", i)
		}
		s.h.mu.Lock()
		if !slices.Equal(s.h.resets, []sdk.Ref{6, 8}) {
			t.Errorf("resets %v", s.h.resets)
		}
		s.h.mu.Unlock()
		closeIn(s.m)
	})
}

// TestCrashBundle (L4.4): what a module was doing is kept, and not without end.
func TestCrashBundle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := play(t, false, versions{"1": keeper("one", true)}, nil)
		for i := range 8 {
			s.message(0, fmt.Sprint("die ", i))
			time.Sleep(10 * time.Minute)
		}
		all, _ := filepath.Glob(filepath.Join(s.dir, "t", "crash-*"))
		if len(all) != 5 {
			t.Fatalf("%d bundles are kept", len(all))
		}
		for name, want := range map[string]string{"report.json": `"error": "module trapped: panic: die 7`, "batch.events": "die 7", "log.txt": "module crashed error=module trapped: panic: die 6"} {
			b, err := os.ReadFile(filepath.Join(all[4], name))
			if err != nil || !strings.Contains(string(b), want) {
				t.Errorf("%s: %v\n%s", name, err, b)
			}
		}
		closeIn(s.m)
	})
}

// TestDisabledAtStart (L3.8): what was disabled in an earlier life stays down, and
// comes when it is enabled.
func TestDisabledAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fakeHost{began: time.Now()}
		factories := map[string]func() sdk.Module{"1": func() sdk.Module { return mod{func(*sdk.Env, *sdk.Event) {}} }}
		m := module.NewManager(module.Config{Host: h, Carriers: map[module.Kind]module.Carrier{module.Builtin: byRelease{inproc.New(factories)}},
			Clock: func() time.Duration { return time.Since(h.began) }, Log: slog.New(slog.DiscardHandler), Entropy: rand.Reader,
			Disabled: func(name string) bool { return name == "t" }})
		spec := (&stage{}).spec("1")
		spec.Grants.State = 0
		m.Add(spec)
		m.Start(t.Context())
		synctest.Wait()
		if i := m.List()[0]; i.State != module.StateStopped {
			t.Errorf("%v", i.State)
		}
		if c := m.Sync(t.Context(), []module.Spec{spec}, nil, nil); c[0].What != "disabled" {
			t.Errorf("%+v", c)
		}
		other := spec
		other.Name, other.Subprotocols = "u", nil
		if c := m.Sync(t.Context(), []module.Spec{spec, other}, nil, nil); c[1].What != "added" {
			t.Errorf("%+v", c)
		}
		if err := m.Enable(t.Context(), "t"); err != nil || m.List()[0].State != module.StateReady {
			t.Errorf("%v, %+v", err, m.List()[0])
		}
		closeIn(m)
	})
}
