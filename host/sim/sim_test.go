package sim

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"nethost/sdk"
	"nethost/sdk/sdktest"
	"nethost/subprotocols/builtin/echo"
)

// tap answers to any id at version 1.0 (or the one after @) and echoes streams
// by collecting and answering "got N bytes".
type tap struct {
	id      sdk.ID
	version sdk.Version
	min     sdk.Version
	must    bool
	size    map[sdk.Ref]int
}

func (t *tap) Describe() sdk.Descriptor {
	return sdk.Descriptor{Name: "tap", Release: "1.0.0",
		Subprotocols: []sdk.Subprotocol{{ID: t.id, Version: t.version, MinPeer: t.min, Required: t.must}}}
}

func (t *tap) Handle(env *sdk.Env, ev *sdk.Event) {
	if ev.Kind != sdk.EvStreamData {
		return
	}
	if t.size == nil {
		t.size = map[sdk.Ref]int{}
	}
	t.size[ev.Ref] += len(ev.Payload)
	env.Credit(ev.Ref, len(ev.Payload))
	if ev.FIN() {
		env.Write(ev.Ref, fmt.Appendf(nil, "got %d bytes", t.size[ev.Ref]), true)
	}
}

// moduleNamed makes the modules of scripts: echo, salvo, or ID@VERSION[-MINPEER][!] where
// ! says required.
func moduleNamed(name string) (sdk.Module, error) {
	switch name {
	case "echo":
		return echo.New(), nil
	case "salvo":
		return newSalvo(), nil
	}
	name, must := strings.CutSuffix(name, "!")
	id, version, ok := strings.Cut(name, "@")
	if !ok {
		version = "1.0"
	}
	version, minPeer, ok := strings.Cut(version, "-")
	if !ok {
		minPeer = version
	}
	n, err := sdk.ParseID(id)
	if err != nil {
		return nil, err
	}
	v, err := sdk.ParseVersion(version)
	if err != nil {
		return nil, err
	}
	m, err := sdk.ParseVersion(minPeer)
	return &tap{id: n, version: v, min: m, must: must}, err
}

// runScript runs one command of a datadriven file in a world.
func runScript(w *World, d *datadriven.TestData) string {
	a := Args{Keys: map[string]string{}}
	for _, arg := range d.CmdArgs {
		if len(arg.Vals) == 0 {
			a.Words = append(a.Words, arg.Key)
		} else {
			a.Keys[arg.Key] = strings.Join(arg.Vals, ",")
		}
	}
	out, err := w.Exec(d.Cmd, a, moduleNamed)
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	if out == "" {
		return "ok\n"
	}
	return out + "\n"
}

// TestScripts runs every script twice from one seed: the answers are the ones in
// the file, and both traces have the same hash.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		first, second := New(1), New(1)
		first.Check(Invariants)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			out := runScript(first, d)
			if again := runScript(second, d); again != out {
				d.Fatalf(t, "the second run from the same seed said %q, the first %q", again, out)
			}
			return out
		})
		if err := Nonces(first); err != nil {
			t.Error(err)
		}
		if a, b := first.Hash(), second.Hash(); a != b {
			t.Errorf("trace hash %s, then %s from the same seed", a, b)
		}
	})
}

// TestConform: echo means the same in the simulator as behind every carrier.
func TestConform(t *testing.T) {
	sdktest.Conform(t, func(*testing.T) sdktest.Instance { return NewInstance(echo.New()) })
}
