package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"nethost/host/module"
	"nethost/host/module/inproc"
	"nethost/host/module/wasm"
	"nethost/sdk"
	"nethost/subprotocols/builtin"
)

// benchGuest is a C guest; its source is beside it.
//
//go:embed benchguest/guest.wasm
var benchGuest []byte

// benchModules measures the module host. Each part is a file of its own.
func benchModules(ctx context.Context, env *benchEnv) error {
	for _, part := range []func(context.Context, *benchEnv) error{benchFuel, benchCGuest, benchRunaway, benchStarts, benchRestart, benchProcess} {
		if err := part(ctx, env); err != nil {
			return err
		}
	}
	return nil
}

// benchFuel measures what metering costs five loops.
func benchFuel(_ context.Context, env *benchEnv) error {
	var ratios []float64
	for _, loop := range []struct {
		name string
		arg  uint32
	}{{"hash", 300}, {"parse", 600}, {"aead", 60}, {"recursion", 22}, {"copy", 800}} {
		c, err := wasm.MeasureCost(benchGuest, "loop_"+loop.name, loop.arg, 1001)
		if err != nil {
			return fmt.Errorf("loop %s: %w", loop.name, err)
		}
		base := float64(c.Plain.Nanoseconds()) / 1e3
		env.ratio("fuel on, "+loop.name, base*c.Ratio, "us", "fuel off", base, 1.35)
		ratios = append(ratios, c.Ratio)
	}
	env.value("fuel on / off, median of the five", median(ratios), "x", 1.2)
	return nil
}

// guestSpec writes the C guest to a file.
func (e *benchEnv) guestSpec() (module.Spec, error) {
	path := filepath.Join(e.dir, "guest.wasm")
	return module.Spec{Name: "guest", Kind: module.Wasm, Artifact: path, Limits: module.DefaultLimits, Log: func(sdk.LogLevel, string) {},
		Post: func([]byte) {}}, os.WriteFile(path, benchGuest, 0o600)
}

// copied is an instance with the copies that a guest's memory costs.
type copied struct {
	module.Instance
	in, out []byte
}

func (c *copied) Deliver(batch []byte) ([]byte, error) {
	c.in = append(c.in[:0], batch...)
	out, err := c.Instance.Deliver(c.in)
	c.out = append(c.out[:0], out...)
	return c.out, err
}

// benchCGuest measures an echo in C beside the builtin one with the same copies.
func benchCGuest(ctx context.Context, env *benchEnv) error {
	spec, err := env.guestSpec()
	if err != nil {
		return err
	}
	guests, err := wasm.New("")
	if err != nil {
		return err
	}
	defer guests.Close()
	own, err := env.echoSpec(module.Builtin)
	if err != nil {
		return err
	}
	own.Log, own.Post = spec.Log, spec.Post
	var ns [2][]float64
	runs := [2]*batcher{}
	for i, open := range []func() (module.Instance, error){
		func() (module.Instance, error) { return guests.Open(ctx, spec) },
		func() (module.Instance, error) {
			inst, err := inproc.New(builtin.All()).Open(ctx, own)
			return &copied{Instance: inst}, err
		},
	} {
		inst, err := open()
		if err != nil {
			return err
		}
		defer inst.Close()
		runs[i] = &batcher{inst: inst}
		if err := runs[i].start(); err != nil {
			return err
		}
	}
	for range 5 {
		for i, r := range runs {
			v, err := r.measure(1024, 16)
			if err != nil {
				return err
			}
			ns[i] = append(ns[i], v)
		}
	}
	env.ratio("echo as a C guest, 1024 B, batch 16", median(ns[0]), "ns/event", "builtin with the same copies", median(ns[1]), 4)
	return nil
}

// town is a host for two modules: 0 runs away, 1 answers.
type town struct{ up, down, answer chan struct{} }

func (t *town) Up(int) { t.up <- struct{}{} }
func (t *town) Down(slot int) {
	if slot == 0 {
		t.down <- struct{}{}
	}
}
func (t *town) Gone(int)                        {}
func (t *town) Draining(int)                    {}
func (t *town) Streams(int) int                 { return 0 }
func (t *town) Swap(int, int, func() []sdk.Ref) {}
func (t *town) Apply(_ int, _ []sdk.Effect)     { t.answer <- struct{}{} }

const (
	runaways   = 20
	runawayMax = 10 * time.Millisecond // cpu_max of the guest that runs away
)

// benchRunaway measures how far past cpu_max a guest runs, and how late another
// module answers meanwhile, with the garbage collector at work.
func benchRunaway(ctx context.Context, env *benchEnv) error {
	spec, err := env.guestSpec()
	if err != nil {
		return err
	}
	spec.Limits.CPUMax = runawayMax
	guests, err := wasm.New("")
	if err != nil {
		return err
	}
	defer guests.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var past []float64
	for range runaways {
		inst, err := guests.Open(ctx, spec)
		if err != nil {
			return err
		}
		run := &batcher{inst: inst}
		if err := run.start(); err != nil {
			return err
		}
		run.seq++
		run.w.ResetEvents(run.seq, 0, 0)
		run.w.Event(sdk.Event{Kind: sdk.EvMessage, Peer: 1, ID: 7, Payload: []byte("SPIN")})
		run.w.Event(sdk.Event{Kind: sdk.EvFlush})
		began := threadTime()
		_, err = inst.Deliver(run.w.Bytes())
		past = append(past, float64(threadTime()-began-runawayMax)/1e6)
		if !errors.Is(err, module.ErrFuel) {
			return fmt.Errorf("the runaway guest ended with %v", err)
		}
		if err := inst.Close(); err != nil {
			return err
		}
	}
	env.value(fmt.Sprintf("runaway guest, processor time past cpu_max of %v, median", runawayMax), median(past), "ms", 5)
	env.value(fmt.Sprintf("runaway guest, processor time past cpu_max of %v, worst of %d", runawayMax, runaways), past[runaways-1], "ms", 5)
	worst, err := stall(ctx, env, spec, guests)
	if err == nil {
		env.value("1 kHz echo beside a runaway guest, longest stall beyond cpu_max", float64(worst-runawayMax)/1e6, "ms", 5)
	}
	return err
}

// stall gives the longest that a builtin echo, asked every millisecond, takes to
// answer while a guest beside it runs away again and again.
func stall(ctx context.Context, env *benchEnv, spec module.Spec, guests module.Carrier) (worst time.Duration, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	own, err := env.echoSpec(module.Builtin)
	if err != nil {
		return 0, err
	}
	t := &town{up: make(chan struct{}, 64), down: make(chan struct{}, 64), answer: make(chan struct{}, 1024)}
	origin := time.Now()
	for range runaways / 4 { // each manager sees four: the fifth would be quarantine
		m := module.NewManager(module.Config{Host: t, Carriers: map[module.Kind]module.Carrier{module.Wasm: guests, module.Builtin: inproc.New(builtin.All())},
			Clock: func() time.Duration { return time.Since(origin) }, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Entropy: rand.Reader})
		m.Add(spec)
		m.Add(own)
		m.Start(ctx)
		<-t.up
		<-t.up
		m.Deliver(1, sdk.Event{Kind: sdk.EvPeerUp, Peer: 1, ID: 7, Version: sdk.Version{Major: 1}, Payload: sdk.AppendPeerInfo(nil, sdk.PeerInfo{})})
		tick := time.NewTicker(time.Millisecond)
		for crashed, n := 0, 0; crashed < 4; n++ {
			if n%50 == 10 {
				m.Deliver(0, sdk.Event{Kind: sdk.EvMessage, Peer: 1, ID: 7, Payload: []byte("SPIN")})
				go runtime.GC()
			}
			due := time.Now()
			m.Deliver(1, sdk.Event{Kind: sdk.EvMessage, Peer: 1, ID: 7, Version: sdk.Version{Major: 1}, Payload: []byte("tick")})
			m.RunInline() // as the reader of a node does after each step
			<-t.answer
			// What the ticker was late by counts as well: the host could not run.
			worst = max(worst, time.Since(due), since(tick.C, due))
			select {
			case <-t.down:
				crashed++
			default:
			}
		}
		tick.Stop()
		end, stop := context.WithTimeout(ctx, 5*time.Second)
		m.Close(end)
		stop()
		for len(t.up) > 0 {
			<-t.up
		}
	}
	return worst, nil
}

// since waits for the next tick and gives how late after due it came, the tick's
// own millisecond left out.
func since(tick <-chan time.Time, due time.Time) time.Duration {
	<-tick
	return time.Since(due) - time.Millisecond
}

const starts = 50

// benchStarts measures how long 50 modules take to start in parallel when their
// code is in the cache on disk. Each has a carrier of its own, so that none finds
// in memory what another one loaded.
func benchStarts(ctx context.Context, env *benchEnv) error {
	own, err := env.guestSpec()
	if err != nil {
		return err
	}
	theirs, err := env.echoSpec(module.Wasm)
	if err != nil {
		return err
	}
	theirs.Log, theirs.Post = own.Log, own.Post
	for _, g := range []struct {
		name   string
		spec   module.Spec
		target float64
	}{{"C", own, 0.5}, {"Go", theirs, 2}} {
		var runs []float64
		for range 3 {
			d, err := startAll(ctx, filepath.Join(env.dir, "starts"), g.spec)
			if err != nil {
				return err
			}
			runs = append(runs, d.Seconds())
		}
		slices.Sort(runs)
		env.value(fmt.Sprintf("start of %d cached %s guests in parallel", starts, g.name), runs[1], "s", g.target)
	}
	return nil
}

func startAll(ctx context.Context, cache string, spec module.Spec) (time.Duration, error) {
	carriers := make([]*wasm.Carrier, starts)
	for i := range carriers {
		c, err := wasm.New(cache)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		carriers[i] = c
	}
	first, err := carriers[0].Open(ctx, spec) // fills the cache
	if err != nil {
		return 0, err
	}
	if err := first.Close(); err != nil {
		return 0, err
	}
	if err := carriers[0].Close(); err != nil {
		return 0, err
	}
	if carriers[0], err = wasm.New(cache); err != nil {
		return 0, err
	}
	type opened struct {
		inst module.Instance
		err  error
	}
	done := make(chan opened, starts)
	began := time.Now()
	for _, c := range carriers {
		go func() {
			inst, err := c.Open(ctx, spec)
			done <- opened{inst, err}
		}()
	}
	all := make([]opened, 0, starts)
	for range starts {
		all = append(all, <-done)
	}
	took := time.Since(began)
	for _, o := range all {
		if o.err != nil {
			err = o.err
			continue
		}
		defer o.inst.Close()
	}
	return took, err
}

// benchRestart measures how long the next instance of a Go guest takes when one
// failed, beside a start from the cache.
func benchRestart(ctx context.Context, env *benchEnv) error {
	spec, err := env.echoSpec(module.Wasm)
	if err != nil {
		return err
	}
	spec.Log, spec.Post = func(sdk.LogLevel, string) {}, func([]byte) {}
	spec.Limits.CPUMax = time.Microsecond // its first batch takes more
	guests, err := wasm.New(filepath.Join(env.dir, "starts"))
	if err != nil {
		return err
	}
	defer guests.Close()
	var cold, warm []float64
	for n := range 11 {
		spec.Seed = [32]byte{byte(n)} // nothing is kept of another seed
		for _, ms := range []*[]float64{&cold, &warm} {
			began := time.Now()
			inst, err := guests.Open(ctx, spec)
			if err != nil {
				return err
			}
			*ms = append(*ms, float64(time.Since(began))/1e6)
			if err := (&batcher{inst: inst}).start(); !errors.Is(err, module.ErrFuel) {
				return fmt.Errorf("a batch with a budget of 1 us ended with %v", err)
			}
			if err := inst.Close(); err != nil {
				return err
			}
		}
	}
	env.ratio("instance of a Go guest after one that trapped", median(warm), "ms", "a start from the cache", median(cold), 0)
	return nil
}
