package check

import (
	"fmt"
	"strings"
	"testing"

	"nethost/sdk"
	"nethost/sdk/sdktest"
	"nethost/subprotocols/builtin/echo"
)

func subject(m func() sdk.Module) Subject {
	d := m().Describe()
	return Subject{Subprotocols: d.Subprotocols, Methods: d.Methods, Deterministic: true, MemoryLimit: 32 << 20,
		Open: func() (sdktest.Instance, error) { return sdktest.InProcess(m()), nil }}
}

// failed runs the kit and gives the cases that failed, with why.
func failed(s Subject) map[string]string {
	out := map[string]string{}
	Run(s, func(r Result) {
		if !r.Pass && !r.Skip {
			out[r.Case] = r.Detail
		}
	})
	return out
}

func TestEchoPasses(t *testing.T) {
	if f := failed(subject(echo.New)); len(f) > 0 {
		t.Errorf("%v", f)
	}
}

// bad is echo with a fault.
type bad struct {
	sdk.Module
	handle func(env *sdk.Env, ev *sdk.Event, next func())
}

func (b *bad) Handle(env *sdk.Env, ev *sdk.Event) {
	b.handle(env, ev, func() { b.Module.Handle(env, ev) })
}

// TestFaultsAreFound: each case that can fail for a module's own doing does so for the
// module that has the fault, and says which one it is.
func TestFaultsAreFound(t *testing.T) {
	instances := 0
	for _, c := range []struct {
		name, fault, detail string
		change              func(*Subject)
		handle              func(env *sdk.Env, ev *sdk.Event, next func())
	}{
		{"state without the grant", "asks for what it uses", "needs the grant state", nil,
			func(env *sdk.Env, ev *sdk.Event, next func()) {
				if ev.Kind == sdk.EvMessage {
					env.Put([]byte("k"), nil)
				}
				next()
			}},
		{"more state than granted", "keeps within the state it was granted", "[wants] says 20",
			func(s *Subject) { s.Grants, s.StateLimit = []string{"state"}, 20 },
			func(env *sdk.Env, ev *sdk.Event, next func()) {
				if ev.Kind == sdk.EvMessage {
					env.Put([]byte("key"), make([]byte, 100))
				}
				next()
			}},
		{"not deterministic", "does the same to the same batches", "effect", nil,
			func(env *sdk.Env, ev *sdk.Event, next func()) {
				if ev.Kind == sdk.EvStart {
					instances++
					env.Log(sdk.LogInfo, fmt.Sprint("instance ", instances))
				}
				next()
			}},
		{"answers unknown events", "skips events of kinds it does not know", "was answered", nil,
			func(env *sdk.Env, ev *sdk.Event, next func()) {
				if ev.Kind > 1000 {
					env.Reset(ev.Ref, sdk.Internal, "what?")
				}
				next()
			}},
		{"does not drain", "drains", "not answered with Drained", nil,
			func(env *sdk.Env, ev *sdk.Event, next func()) {
				if ev.Kind != sdk.EvDrain {
					next()
				}
			}},
		{"writes above credit", "takes 64 streams that give no credit", "credit is 0", nil,
			func(env *sdk.Env, ev *sdk.Event, next func()) {
				if ev.Kind == sdk.EvStreamData {
					env.Write(ev.Ref, ev.Payload, false)
				}
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := subject(func() sdk.Module { return &bad{echo.New(), c.handle} })
			if c.change != nil {
				c.change(&s)
			}
			got := failed(s)
			if why, ok := got[c.fault]; !ok || !strings.Contains(why, c.detail) {
				t.Errorf("case %q did not fail with %q, but: %v", c.fault, c.detail, got)
			}
		})
	}
}

func TestAnInstanceThatDoesNotStart(t *testing.T) {
	s := subject(echo.New)
	s.Open = func() (sdktest.Instance, error) { return nil, fmt.Errorf("no such file") }
	if f := failed(s); !strings.Contains(f["drains"], "no such file") {
		t.Errorf("%v", f)
	}
}
