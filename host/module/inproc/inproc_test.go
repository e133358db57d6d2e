package inproc

import (
	"errors"
	"testing"

	"nethost/host/module"
	"nethost/sdk"
	"nethost/sdk/abi"
	"nethost/sdk/sdktest"
	"nethost/sdk/sdktest/holdback"
	"nethost/subprotocols/builtin/echo"
)

func open(t *testing.T, name string, post func([]byte)) module.Instance {
	t.Helper()
	c := New(map[string]func() sdk.Module{"echo": echo.New, "holdback": holdback.New, "odd": func() sdk.Module { return odd{} }})
	inst, err := c.Open(t.Context(), module.Spec{Name: name, Post: post})
	if err != nil {
		t.Fatal(err)
	}
	return inst
}

func TestConform(t *testing.T) {
	sdktest.Conform(t, func(t *testing.T) sdktest.Instance { return open(t, "echo", func([]byte) {}) })
}

func TestHoldBack(t *testing.T) {
	sdktest.ConformHoldBack(t, func(t *testing.T) sdktest.Instance { return open(t, "holdback", func([]byte) {}) })
}

func TestUnknown(t *testing.T) {
	if _, err := New(nil).Open(t.Context(), module.Spec{Name: "nobody"}); err == nil {
		t.Error("a module that is not compiled in was opened")
	}
}

// odd does what a timer's ref says.
type odd struct{}

func (odd) Describe() sdk.Descriptor { return sdk.Descriptor{Name: "odd"} }

func (odd) Handle(env *sdk.Env, ev *sdk.Event) {
	if ev.Kind != sdk.EvTimer {
		return
	}
	switch ev.Ref {
	case 1:
		panic("odd")
	case 3:
		env.Work(5, func() []byte { return []byte("done") })
	case 7:
		env.Work(9, func() []byte { panic("in work") })
	case 11:
		for range sdk.MaxEffects + 1 {
			env.Count("n", 1)
		}
	}
}

func batch(seq uint64, ref sdk.Ref) []byte {
	var w abi.Writer
	w.ResetEvents(seq, 0, 0)
	w.Event(sdk.Event{Kind: sdk.EvTimer, Ref: ref})
	w.Event(sdk.Event{Kind: sdk.EvFlush})
	return w.Bytes()
}

func TestFailures(t *testing.T) {
	for name, c := range map[string]struct {
		batch []byte
		want  error
	}{"panic": {batch(1, 1), module.ErrTrap}, "too many effects": {batch(1, 11), module.ErrProtocol}, "malformed batch": {[]byte("x"), module.ErrProtocol}} {
		inst := open(t, "odd", nil)
		if _, err := inst.Deliver(c.batch); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if _, err := inst.Deliver(batch(2, 0)); !errors.Is(err, module.ErrGone) {
			t.Errorf("%s: the dead instance says %v", name, err)
		}
		inst.Close()
	}
}

// TestWork: the result comes back as a batch of one Post; a panic in the function
// ends the instance, and tells so by a batch that is none.
func TestWork(t *testing.T) {
	posted := make(chan []byte, 1)
	inst := open(t, "odd", func(b []byte) { posted <- append([]byte(nil), b...) })
	defer func() {
		if _, err := inst.Deliver(batch(2, 7)); err != nil {
			t.Fatal(err)
		}
		if b := <-posted; len(b) != 0 {
			t.Errorf("a panic in work posted %x", b)
		}
		if _, err := inst.Deliver(batch(3, 3)); !errors.Is(err, module.ErrGone) {
			t.Errorf("after a panic in work: %v", err)
		}
	}()
	if _, err := inst.Deliver(batch(1, 3)); err != nil {
		t.Fatal(err)
	}
	_, r, err := abi.Parse(<-posted, sdk.MaxEffectBytes)
	if err != nil {
		t.Fatal(err)
	}
	if e, ok := r.NextEffect(); !ok || e.Kind != sdk.OpPost || e.Ref != 5 || string(e.Payload) != "done" {
		t.Errorf("posted %+v", e)
	}
}
