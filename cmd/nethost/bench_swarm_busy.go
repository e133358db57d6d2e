package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"

	"nethost/host/kernel"
	"nethost/sdk/client"
	v1 "nethost/sdk/client/nethostv1"
)

// liveBusy counts verdicts on neighbours that are well, while busy loops take the
// processors: the four nodes of a diamond, with the flow, for as long as --for says.
func liveBusy(ctx context.Context, env *benchEnv) error {
	for _, profile := range []kernel.Profile{kernel.ProfileDefault, kernel.ProfileFast} {
		for _, loops := range []int{1, 4} {
			r, err := liveVerdicts(ctx, env, profile, loops)
			if err != nil {
				return err
			}
			name := fmt.Sprintf("live: %v under busy loops, %d a core, %v: ", env.soak, loops, profile)
			env.value(name+"false dead", float64(r.dead.Load()), "verdicts", 0.5) // none
			env.value(name+"false suspect", float64(r.suspect.Load()), "verdicts", 0)
			env.value(name+"longest gap of the flow", r.gap, "ms", 0)
		}
	}
	return nil
}

// verdicts counts what nodes said of their neighbours.
type verdicts struct {
	dead, suspect atomic.Int64
	gap           float64 // ms
}

func (v *verdicts) count(kind kernel.TraceKind) {
	switch kind {
	case kernel.TraceDead:
		v.dead.Add(1)
	case kernel.TraceSuspect:
		v.suspect.Add(1)
	}
}

func liveVerdicts(ctx context.Context, env *benchEnv, profile kernel.Profile, loops int) (v *verdicts, err error) {
	v = &verdicts{}
	d, err := newDiamond(ctx, env, profile, false, true)
	if err != nil {
		return v, err
	}
	defer d.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range loops * runtime.NumCPU() {
		stop, err := startLoop(ctx, env)
		if err != nil {
			return v, err
		}
		defer stop()
	}
	for _, end := range []liveEnd{d.a, d.b} {
		events, cancel := end.Watch()
		defer cancel()
		go func() {
			for e := range events {
				v.count(e.Kind)
			}
		}()
	}
	for i := range d.relays {
		go func() { // until ctx ends
			_ = client.New(d.relays[i].socket).Watch(ctx, func(e *v1.Event) error {
				v.count(kernel.TraceKind(e.Kind))
				return nil
			})
		}()
	}
	d.sink.mark()
	if err := pause(ctx, env.soak); err != nil {
		return v, err
	}
	gap, _, _ := d.sink.heard()
	v.gap = millis(gap)
	return v, nil
}

// startLoop starts a process that does nothing as fast as it can.
func startLoop(ctx context.Context, env *benchEnv) (stop func(), err error) {
	cmd := exec.CommandContext(ctx, env.exe, "bench", "peer", "loop", "")
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}, nil
}

// busyLoop is the body of that process.
func busyLoop() {
	for n := uint64(1); n != 0; n += 2 { // odd for ever
	}
}
