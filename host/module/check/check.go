package check

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"nethost/sdk"
	"nethost/sdk/sdktest"
)

// Subject is a module and what its package says.
type Subject struct {
	Subprotocols []sdk.Subprotocol
	Methods      []string
	Config       []sdk.Pair
	Grants       []string // asked for, and given unless a case says otherwise
	StateLimit   uint64   // bytes
	MemoryLimit  uint64   // bytes
	// Deterministic: the same batches must give the same effects (a wasm guest). A
	// program may read clocks and devices.
	Deterministic bool
	// Open gives a fresh instance.
	Open func() (sdktest.Instance, error)
}

// Result is one line of the report.
type Result struct {
	Group  string        `json:"group"` // abi, limits, permissions, negotiation, state, determinism, crash
	Case   string        `json:"case"`
	Pass   bool          `json:"pass"`
	Skip   bool          `json:"skipped,omitempty"`
	Detail string        `json:"detail,omitempty"` // why it failed or was skipped
	Took   time.Duration `json:"took_ns"`
}

type testCase struct {
	group, name string
	run         func(r *run)
}

// Run runs every case and calls each with its result, in a fixed order. It reports
// whether all passed.
func Run(s Subject, each func(Result)) bool {
	all := true
	for _, c := range cases {
		began := time.Now()
		r := &run{Subject: s}
		r.do(c.run)
		res := Result{Group: c.group, Case: c.name, Pass: r.failure == "" && r.skipped == "", Skip: r.skipped != "" && r.failure == "",
			Detail: r.failure + r.skipped, Took: time.Since(began)}
		all = all && (res.Pass || res.Skip)
		each(res)
	}
	return all
}

// run is one case under way. It stands in for a test, so that sdktest's harness and its
// checks of the contract serve here too.
type run struct {
	testing.TB // nil: what is not overridden below is not used
	Subject
	failure, skipped string
	cleanup          []func()
}

func (r *run) do(f func(*run)) {
	done := make(chan struct{})
	go func() { // Fatalf ends a goroutine, as in package testing
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				r.failure = fmt.Sprintf("the kit panicked: %v", p)
			}
			for i := len(r.cleanup) - 1; i >= 0; i-- {
				r.cleanup[i]()
			}
		}()
		f(r)
	}()
	<-done
}

func (r *run) Helper()          {}
func (r *run) Cleanup(f func()) { r.cleanup = append(r.cleanup, f) }
func (r *run) Fatal(a ...any)   { r.Fatalf("%s", fmt.Sprint(a...)) }

func (r *run) Errorf(format string, a ...any) {
	if r.failure == "" {
		r.failure = fmt.Sprintf(format, a...)
	}
}

func (r *run) Fatalf(format string, a ...any) {
	r.Errorf(format, a...)
	runtime.Goexit()
}

func (r *run) Skipf(format string, a ...any) {
	r.skipped = fmt.Sprintf(format, a...)
	runtime.Goexit()
}

// open gives a fresh instance.
func (r *run) open() sdktest.Instance {
	i, err := r.Open()
	if err != nil {
		r.Fatalf("it does not start: %v", err)
	}
	r.Cleanup(func() { i.Close() })
	return i
}

// start is what the module is told when it holds what it asked for.
func (r *run) start() sdk.Start {
	s := sdk.Start{Reason: sdk.StartFresh, Self: sdk.NodeID{9}, MemoryLimit: r.MemoryLimit, StateLimit: r.StateLimit, Grants: r.Grants}
	for _, g := range r.Grants {
		switch g {
		case "entropy":
			s.Entropy = make([]byte, 32)
		case "secret":
			s.Secret = make([]byte, 32)
		}
	}
	return s
}

// started gives a harness over a started instance with one peer for each subprotocol.
func (r *run) started() (*sdktest.Harness, []sdk.Peer) {
	h := sdktest.NewHarnessOver(r, r.open())
	for _, g := range r.Grants {
		if g == "wall" {
			h.SetWall(int64(1_700_000_000) * int64(time.Second))
		}
	}
	h.Start(r.start(), r.Config...)
	return h, r.peers(h)
}

func (r *run) peers(h *sdktest.Harness) (peers []sdk.Peer) {
	for i, p := range r.Subprotocols {
		peers = append(peers, h.PeerUp(sdk.NodeID{1, byte(i)}, p.ID, p.Version))
	}
	h.Run()
	return peers
}
