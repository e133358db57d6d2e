package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"sort"
	"time"

	"github.com/spf13/cobra"

	"nethost/host/module"
	"nethost/host/module/inproc"
	"nethost/host/module/process"
	"nethost/host/module/wasm"
	"nethost/sdk"
	"nethost/sdk/abi"
	"nethost/subprotocols/builtin"
)

// benchFor is how long one figure is measured.
const benchFor = 400 * time.Millisecond

// benchCore measures the carriers, the kernel and the round trips.
func benchCore(ctx context.Context, env *benchEnv) error {
	trips := func(ctx context.Context, env *benchEnv) error { return benchRoundTrips(ctx, env, 2.5, 1.5) }
	for _, part := range []func(context.Context, *benchEnv) error{benchCarriers, benchKernel, trips} {
		if err := part(ctx, env); err != nil {
			return err
		}
	}
	return nil
}

// echoSpec finds the echo package of a carrier.
func (e *benchEnv) echoSpec(kind module.Kind) (module.Spec, error) {
	opts := module.Options{Unsigned: true, Core: coreModules, Builtin: builtin.All()}
	if kind == module.Builtin {
		return module.BuiltinSpec("echo", builtin.All()["echo"]().Describe(), opts), nil
	}
	dir := e.plugins
	if kind == module.Process {
		dir += "-process"
	}
	specs, _, err := module.Load(dir, opts)
	if err != nil {
		return module.Spec{}, fmt.Errorf("%w: run `make build` first, or name the packages with --plugins", err)
	}
	for _, s := range specs {
		if s.Name == "echo" && s.Kind == kind {
			return s, nil
		}
	}
	return module.Spec{}, fmt.Errorf("%s has no echo package of carrier %s: run `make build` first", dir, kind)
}

// benchCarriers measures one event through each carrier, by size and batch.
func benchCarriers(ctx context.Context, env *benchEnv) error {
	guests, err := wasm.New(filepath.Join(env.dir, "cache"))
	if err != nil {
		return err
	}
	carriers := []struct {
		kind module.Kind
		c    module.Carrier
	}{{module.Builtin, inproc.New(builtin.All())}, {module.Wasm, guests}, {module.Process, process.New(process.Options{})}}
	bare, err := bareSocket(ctx, env)
	if err != nil {
		return err
	}
	for _, c := range carriers {
		spec, err := env.echoSpec(c.kind)
		if err != nil {
			return err
		}
		spec.Log, spec.Post = func(sdk.LogLevel, string) {}, func([]byte) {}
		inst, err := c.c.Open(ctx, spec)
		if err != nil {
			return err
		}
		run := &batcher{inst: inst}
		if err := run.start(); err != nil {
			return err
		}
		for _, size := range []int{64, 1024} {
			for _, n := range []int{1, 16, 64} {
				ns, err := run.measure(size, n)
				if err != nil {
					return fmt.Errorf("%s: %w", c.kind, err)
				}
				name := fmt.Sprintf("echo as %s, %d B, batch %d", c.kind, size, n)
				switch {
				case c.kind == module.Process && n == 1:
					env.ratio(name+", round trip", ns/1e3, "us", "bare unix socket", bare[size], map[int]float64{1024: 2}[size])
				case c.kind == module.Wasm && n == 16:
					env.value(name, ns, "ns/event", map[int]float64{64: 60, 1024: 150}[size])
				default:
					env.value(name, ns, "ns/event", 0)
				}
			}
		}
		inst.Close()
	}
	return nil
}

// batcher feeds an instance with batches of messages.
type batcher struct {
	inst module.Instance
	w    abi.Writer
	seq  uint64
}

func (b *batcher) start() error {
	b.seq++
	b.w.ResetEvents(b.seq, 0, 0)
	b.w.Event(sdk.Event{Kind: sdk.EvStart, Payload: sdk.AppendStart(nil, sdk.Start{Reason: sdk.StartFresh})})
	b.w.Event(sdk.Event{Kind: sdk.EvPeerUp, Peer: 1, ID: 7, Version: sdk.Version{Major: 1}, Payload: sdk.AppendPeerInfo(nil, sdk.PeerInfo{})})
	b.w.Event(sdk.Event{Kind: sdk.EvFlush})
	_, err := b.inst.Deliver(b.w.Bytes())
	return err
}

// measure gives the best of five medians-by-time: nanoseconds for each event.
func (b *batcher) measure(size, n int) (float64, error) {
	payload := make([]byte, size)
	var runs []float64
	for range 5 {
		events, began := 0, time.Now()
		for time.Since(began) < benchFor/5 {
			for range 16 {
				b.seq++
				b.w.ResetEvents(b.seq, time.Duration(b.seq), 0)
				for range n {
					b.w.Event(sdk.Event{Kind: sdk.EvMessage, Peer: 1, ID: 7, Version: sdk.Version{Major: 1}, Payload: payload})
				}
				b.w.Event(sdk.Event{Kind: sdk.EvFlush})
				out, err := b.inst.Deliver(b.w.Bytes())
				if err != nil {
					return 0, err
				}
				if len(out) < n*(abi.RecordSize+size) {
					return 0, fmt.Errorf("%d events of %d bytes gave %d bytes of effects", n, size, len(out))
				}
				events += n
			}
		}
		runs = append(runs, float64(time.Since(began).Nanoseconds())/float64(events))
	}
	sort.Float64s(runs)
	return runs[len(runs)/2], nil
}

// bareSocket measures the round trip of a length-prefixed message over a unix
// socket to another process, in microseconds by size: the least a process
// carrier could cost.
func bareSocket(ctx context.Context, env *benchEnv) (map[int]float64, error) {
	path := filepath.Join(env.dir, "bare")
	lis, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	defer lis.Close()
	child := exec.CommandContext(ctx, env.exe, "bench", "peer", "unix", path)
	child.SysProcAttr = dieWithParent()
	if err := child.Start(); err != nil {
		return nil, err
	}
	defer child.Wait()
	conn, err := lis.Accept()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	out := map[int]float64{}
	for _, size := range []int{64, 1024} {
		// As many bytes as the batch has: header, message and flush.
		buf := make([]byte, abi.HeaderSize+2*abi.RecordSize+size)
		us, err := roundTrips(func() error {
			if _, err := conn.Write(buf); err != nil {
				return err
			}
			_, err := io.ReadFull(conn, buf)
			return err
		})
		if err != nil {
			return nil, err
		}
		out[size] = us
	}
	return out, nil
}

// roundTrips repeats a round trip and gives the median in microseconds.
func roundTrips(once func() error) (float64, error) {
	us, err := inTurns(once)
	if err != nil {
		return 0, err
	}
	return us[0], nil
}

// inTurns repeats round trips of several kinds, each for a while and then the next
// one, and gives the medians in microseconds: what slows the machine for a second
// slows all of them.
func inTurns(ways ...func() error) ([]float64, error) {
	const turns, warm = 8, 50
	all := make([][]float64, len(ways))
	for range turns {
		for i, once := range ways {
			for range warm {
				if err := once(); err != nil {
					return nil, err
				}
			}
			for began := time.Now(); time.Since(began) < 2*benchFor/turns; {
				t := time.Now()
				if err := once(); err != nil {
					return nil, err
				}
				all[i] = append(all[i], float64(time.Since(t).Nanoseconds())/1e3)
			}
		}
	}
	medians := make([]float64, len(ways))
	for i, us := range all {
		sort.Float64s(us)
		medians[i] = us[len(us)/2]
	}
	return medians, nil
}

// benchPeerCommand is the other process of a baseline.
func benchPeerCommand() *cobra.Command {
	return &cobra.Command{Use: "peer KIND ADDR", Hidden: true, Args: args(cobra.ExactArgs(2)), RunE: func(_ *cobra.Command, a []string) error {
		switch a[0] {
		case "unix":
			conn, err := net.Dial("unix", a[1])
			if err != nil {
				return err
			}
			buf := make([]byte, 64<<10)
			for {
				n, err := conn.Read(buf)
				if err != nil {
					return nil
				}
				if _, err := conn.Write(buf[:n]); err != nil {
					return nil
				}
			}
		case "unary":
			process.ServeUnary()
			return nil
		case "udp":
			return echoUDP(a[1])
		case "reflect":
			return reflectTrains(a[1])
		case "flood":
			return flood(a[1])
		case "loop":
			busyLoop()
		}
		return usageError{fmt.Errorf("no peer of kind %q", a[0])}
	}}
}
