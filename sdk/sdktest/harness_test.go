package sdktest_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"nethost/sdk"
	"nethost/sdk/sdktest"
)

// script is a module made of one function.
type script func(env *sdk.Env, ev *sdk.Event)

func (script) Describe() sdk.Descriptor { return sdk.Descriptor{Name: "script"} }

func (s script) Handle(env *sdk.Env, ev *sdk.Event) { s(env, ev) }

// on runs do for the first event of kind k.
func on(k sdk.EventKind, do func(env *sdk.Env, ev *sdk.Event)) script {
	done := false
	return func(env *sdk.Env, ev *sdk.Event) {
		if ev.Kind == k && !done {
			done = true
			do(env, ev)
		}
	}
}

// trial is a testing.TB whose Fatalf ends the goroutine and keeps the text.
type trial struct {
	testing.TB
	text string
}

func (t *trial) Helper()        {}
func (t *trial) Cleanup(func()) {}

func (t *trial) Fatalf(format string, args ...any) {
	t.text = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// failure runs do with a trial and gives what it failed with.
func failure(do func(t testing.TB)) string {
	tr := &trial{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		do(tr)
	}()
	<-done
	return tr.text
}

// TestHarnessFindsBreaches: a module that breaks the contract fails the test.
func TestHarnessFindsBreaches(t *testing.T) {
	for _, c := range []struct {
		name, want string
		m          script
	}{
		{"write above credit", "its credit is 10", on(sdk.EvStreamOpen, func(env *sdk.Env, ev *sdk.Event) { env.Write(ev.Ref, make([]byte, 11), false) })},
		{"write after FIN", "after its FIN", on(sdk.EvStreamOpen, func(env *sdk.Env, ev *sdk.Event) {
			env.Write(ev.Ref, nil, true)
			env.Write(ev.Ref, nil, false)
		})},
		{"credit for nothing", "only 4 were delivered", on(sdk.EvStreamData, func(env *sdk.Env, ev *sdk.Event) { env.Credit(ev.Ref, 5) })},
		{"a stream that never was", "never was", on(sdk.EvStreamOpen, func(env *sdk.Env, ev *sdk.Event) { env.Write(ev.Ref+100, nil, false) })},
		{"unknown effect", "unknown kind 999", on(sdk.EvStart, func(env *sdk.Env, ev *sdk.Event) { env.Emit(sdk.Effect{Kind: 999}) })},
		{"an even ref", "fresh odd one", on(sdk.EvStart, func(env *sdk.Env, ev *sdk.Event) {
			env.Emit(sdk.Effect{Kind: sdk.OpStreamOpen, Ref: 2, Payload: sdk.AppendOpen(nil, sdk.Open{})})
		})},
		{"too many timers", "timers are armed", on(sdk.EvStart, func(env *sdk.Env, ev *sdk.Event) {
			for range sdk.MaxTimers + 1 {
				env.After(env.NewRef(), time.Second)
			}
		})},
		{"too many effects", "instance died", on(sdk.EvStart, func(env *sdk.Env, ev *sdk.Event) {
			for range sdk.MaxEffects + 1 {
				env.Drained()
			}
		})},
		{"a message too long", "the limit is 65536", on(sdk.EvPeerUp, func(env *sdk.Env, ev *sdk.Event) {
			env.Send(ev.Peer, ev.ID, sdk.Bulk, make([]byte, sdk.MaxMessage+1))
		})},
		{"an empty state key", "StatePut", on(sdk.EvStart, func(env *sdk.Env, ev *sdk.Event) { env.Put(nil, nil) })},
		{"events for itself without end", "still makes events", func(env *sdk.Env, ev *sdk.Event) {
			if ev.Kind == sdk.EvPosted || ev.Kind == sdk.EvStart {
				env.Post(1, nil)
			}
		}},
	} {
		got := failure(func(t testing.TB) {
			h := sdktest.NewHarness(t, c.m)
			h.Start(sdk.Start{})
			p := h.PeerUp(sdk.NodeID{1}, 0x1001, sdk.Version{Major: 1})
			h.OpenStreamCredit(p, 0x1001, sdk.Open{}, 10).Write([]byte("data"), false)
			h.Run()
		})
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: the harness says %q, want %q in it", c.name, got, c.want)
		}
	}
}

// TestHarnessTimers: virtual time, order, replacement and cancelling.
func TestHarnessTimers(t *testing.T) {
	var fired []string
	h := sdktest.NewHarness(t, script(func(env *sdk.Env, ev *sdk.Event) {
		switch ev.Kind {
		case sdk.EvStart:
			env.After(1, 30*time.Millisecond)
			env.After(3, 10*time.Millisecond)
			env.After(5, 10*time.Millisecond)
			env.After(7, 20*time.Millisecond)
			env.CancelTimer(7)
			env.After(1, 15*time.Millisecond)
		case sdk.EvTimer:
			fired = append(fired, fmt.Sprintf("%d@%v", ev.Ref, env.Now()))
			if ev.Ref == 3 {
				env.After(9, 0)
			}
		}
	}))
	h.Start(sdk.Start{})
	h.Advance(9 * time.Millisecond)
	if len(fired) != 0 || h.Timers() != 3 {
		t.Fatalf("after 9 ms: fired %v, %d armed", fired, h.Timers())
	}
	h.Advance(time.Second)
	if got, want := strings.Join(fired, " "), "3@10ms 5@10ms 9@11ms 1@15ms"; got != want || h.Timers() != 0 {
		t.Errorf("fired %q, want %q; %d armed", got, want, h.Timers())
	}
	if h.Now() != time.Second+9*time.Millisecond {
		t.Errorf("now %v", h.Now())
	}
}

// TestHarnessOpened: streams that the module opens, and Commit, Post and Work.
func TestHarnessOpened(t *testing.T) {
	var seen []string
	h := sdktest.NewHarness(t, script(func(env *sdk.Env, ev *sdk.Event) {
		switch ev.Kind {
		case sdk.EvPeerUp:
			env.Write(env.OpenPeer(ev.Peer, ev.ID, sdk.Open{Method: "hello"}), []byte("hi"), true)
			env.Put([]byte("k"), []byte("v"))
			env.Commit(11)
			env.Work(13, func() []byte { return []byte("worked") })
		case sdk.EvCommitted, sdk.EvPosted, sdk.EvStreamData, sdk.EvStreamReset:
			seen = append(seen, fmt.Sprintf("%v %d %s", ev.Kind, ev.Ref, ev.Payload))
		}
	}))
	h.Start(sdk.Start{})
	p := h.PeerUp(sdk.NodeID{1}, 0x1001, sdk.Version{Major: 1})
	h.Run()
	o := h.Opened()
	if len(o) != 1 || o[0].Peer != p || o[0].Open.Method != "hello" || string(o[0].Got) != "hi" || !o[0].FIN || len(h.Opened()) != 0 {
		t.Fatalf("opened %+v", o)
	}
	o[0].Write([]byte("answer"), false)
	h.PeerDown(p, sdk.DownDead)
	h.Run()
	want := "Committed 11 |Posted 13 worked|StreamData 1 answer|StreamReset 1 "
	if got := strings.Join(seen, "|"); got != want {
		t.Errorf("saw %q, want %q", got, want)
	}
	if string(h.State["k"]) != "v" {
		t.Errorf("state %q", h.State)
	}
}

// TestInProcessWipesPayloads: a module that keeps a borrowed payload sees junk.
func TestInProcessWipesPayloads(t *testing.T) {
	var kept []byte
	h := sdktest.NewHarness(t, on(sdk.EvMessage, func(env *sdk.Env, ev *sdk.Event) { kept = ev.Payload }))
	h.Start(sdk.Start{})
	h.Message(h.PeerUp(sdk.NodeID{1}, 0x1001, sdk.Version{}), []byte("borrowed"))
	h.Run()
	if string(kept) == "borrowed" {
		t.Error("the payload of an old event is still readable")
	}
}
