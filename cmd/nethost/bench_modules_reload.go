package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"nethost/host"
	"nethost/host/identity"
	"nethost/host/link"
	"nethost/host/module"
	"nethost/host/module/inproc"
	"nethost/host/module/wasm"
	"nethost/sdk"
	"nethost/subprotocols/builtin"
)

const (
	reloadRate    = 50_000 // messages a second
	reloadUnder   = 100    // reloads under that load
	reloadMany    = 1000   // reloads of one builtin
	reloadGuests  = 50     // ... and of a wasm module, whose start is dear
	reloadKills   = 5      // each of a plugin that has not crashed before: the next restarts wait on purpose
	idStorm       = sdk.ID(0xF0B0)
	benchDeadline = 60 * time.Second
)

// benchModulesReload measures what taking over and restarting cost.
func benchModulesReload(ctx context.Context, env *benchEnv) error {
	for _, part := range []func(context.Context, *benchEnv) error{benchReloadUnderLoad, benchKillPlugin, benchReloadBuiltin, benchReloadGuest} {
		if err := part(ctx, env); err != nil {
			return err
		}
	}
	return nil
}

// storm is a module that sends numbered messages to its peer at reloadRate.
type storm struct {
	peer  sdk.Peer
	began time.Duration
	sent  *atomic.Uint64
	on    *atomic.Bool
}

func (s *storm) Describe() sdk.Descriptor { return sdk.Descriptor{Name: "storm"} }

func (s *storm) Handle(env *sdk.Env, ev *sdk.Event) {
	switch ev.Kind {
	case sdk.EvPeerUp:
		s.peer = ev.Peer
		env.After(1, time.Millisecond)
	case sdk.EvDrain:
		env.Drained()
	case sdk.EvTimer:
		env.After(1, time.Millisecond)
		if !s.on.Load() {
			s.began = 0
			return
		}
		if s.began == 0 {
			s.began = env.Now() - time.Millisecond
		}
		due := min(500, int((env.Now()-s.began)*reloadRate/time.Second))
		s.began = env.Now()
		for range due {
			var b [64]byte
			binary.LittleEndian.PutUint64(b[:], s.sent.Add(1))
			env.Send(s.peer, idStorm, sdk.Realtime, b[:])
		}
	}
}

// shelter counts what it gets, over all its versions.
type shelter struct{ log *arrivals }

type arrivals struct {
	mu    sync.Mutex
	n     uint64
	last  time.Time
	worst time.Duration // longest time without a message since it was last asked
}

func (a *arrivals) take() (worst time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	worst, a.worst = a.worst, 0
	return worst
}

func (a *arrivals) count() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n
}

func (s *shelter) Describe() sdk.Descriptor { return sdk.Descriptor{Name: "shelter"} }

func (s *shelter) Handle(env *sdk.Env, ev *sdk.Event) {
	switch ev.Kind {
	case sdk.EvMessage:
		now := time.Now()
		s.log.mu.Lock()
		if s.log.n++; !s.log.last.IsZero() {
			s.log.worst = max(s.log.worst, now.Sub(s.log.last))
		}
		s.log.last = now
		s.log.mu.Unlock()
	case sdk.EvDrain:
		env.Drained()
	}
}

// benchHost runs a node in this process until stop is called.
func benchHost(ctx context.Context, cfg host.Config) (h *host.Host, stop func(), err error) {
	if cfg.Link == nil {
		if cfg.Link, err = link.NewSwitch().Listen(netip.MustParseAddrPort("10.0.0.9:7700")); err != nil {
			return nil, nil, err
		}
	}
	cfg.NetworkKey, cfg.Incarnation = identity.OpenNetworkKey(), 1
	if h, err = host.New(cfg); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		_ = h.Run(ctx)
		close(done)
	}()
	return h, func() { cancel(); <-done }, nil
}

func stormSpec(name, release string) module.Spec {
	v := sdk.Version{Major: 1}
	return module.Spec{Name: name, Release: release, Kind: module.Builtin, Limits: module.DefaultLimits,
		Subprotocols: []sdk.Subprotocol{{ID: idStorm, Version: v, MinPeer: v}}}
}

// benchReloadUnderLoad replaces a module while a peer sends to it.
func benchReloadUnderLoad(ctx context.Context, env *benchEnv) error {
	var sent atomic.Uint64
	var on atomic.Bool
	log := &arrivals{}
	carriers := map[module.Kind]module.Carrier{module.Builtin: inproc.New(map[string]func() sdk.Module{
		"storm":   func() sdk.Module { return &storm{sent: &sent, on: &on} },
		"shelter": func() sdk.Module { return &shelter{log} },
	})}
	sw := link.NewSwitch()
	addr := [2]netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:7700"), netip.MustParseAddrPort("10.0.0.2:7700")}
	var hosts [2]*host.Host
	for i, name := range []string{"shelter", "storm"} {
		l, err := sw.Listen(addr[i])
		if err != nil {
			return err
		}
		cfg := host.Config{Key: identity.NewKey(sha256.Sum256([]byte(name))), Link: l, Carriers: carriers, Modules: []module.Spec{stormSpec(name, "0")}}
		if i == 1 {
			cfg.Peers = []host.PeerAddr{{Addr: addr[0]}}
		}
		h, stop, err := benchHost(ctx, cfg)
		if err != nil {
			return err
		}
		defer stop()
		hosts[i] = h
	}
	on.Store(true)
	if err := poll(ctx, benchDeadline, "messages flow", func() bool { return log.count() > reloadRate/10 }); err != nil {
		return err
	}
	var pauses, gaps, calm []float64
	began, first := time.Now(), sent.Load()
	for i := range reloadUnder {
		log.take()
		time.Sleep(20 * time.Millisecond)
		calm = append(calm, ms(log.take()))
		c := hosts[0].Modules().Sync(ctx, []module.Spec{stormSpec("shelter", strconv.Itoa(i+1))}, nil, nil)
		if len(c) != 1 || c[0].What != "upgraded" {
			return fmt.Errorf("reload %d: %+v", i, c)
		}
		time.Sleep(20 * time.Millisecond)
		gaps, pauses = append(gaps, ms(log.take())), append(pauses, ms(c[0].Pause))
	}
	rate := float64(sent.Load()-first) / time.Since(began).Seconds()
	on.Store(false)
	last := uint64(0)
	if err := poll(ctx, benchDeadline, "everything that was sent has arrived or is lost", func() bool {
		now := log.count()
		settled := now == last && !on.Load() && now > 0
		last = now
		return settled || now == sent.Load()
	}); err != nil {
		return err
	}
	slices.Sort(pauses)
	slices.Sort(gaps)
	slices.Sort(calm)
	p99 := func(v []float64) float64 { return v[len(v)*99/100] }
	env.value("hot reload under load: messages a second", rate, "1/s", 0)
	env.value(fmt.Sprintf("hot reload under load: messages lost in %d reloads", reloadUnder), float64(sent.Load()-log.count()), "messages", 0.5)
	env.value("hot reload under load: pause of the module, median", median(pauses), "ms", 0)
	env.value("hot reload under load: pause of the module, p99", p99(pauses), "ms", 5)
	env.ratio("hot reload under load: longest gap between messages, median", median(gaps), "ms", "without a reload", median(calm), 0)
	env.ratio("hot reload under load: longest gap between messages, p99", p99(gaps), "ms", "without a reload", p99(calm), 0)
	return nil
}

// footprint is what a process holds.
type footprint struct{ rss, goroutines, files float64 }

func footprintNow() (f footprint, err error) {
	debug.FreeOSMemory()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return f, err
	}
	pages, err := strconv.ParseFloat(strings.Fields(string(b))[1], 64)
	if err != nil {
		return f, err
	}
	open, err := os.ReadDir("/proc/self/fd")
	return footprint{pages * float64(os.Getpagesize()) / (1 << 20), float64(runtime.NumGoroutine()), float64(len(open))}, err
}

// benchReloadBuiltin is about the host alone.
func benchReloadBuiltin(ctx context.Context, env *benchEnv) error {
	return reloadOften(ctx, env, module.Builtin, inproc.New(builtin.All()), reloadMany)
}

// benchReloadGuest is about the wasm carrier as well.
func benchReloadGuest(ctx context.Context, env *benchEnv) error {
	guests, err := wasm.New(filepath.Join(env.dir, "cache"))
	if err != nil {
		return err
	}
	return reloadOften(ctx, env, module.Wasm, guests, reloadGuests)
}

// reloadOften loads one module anew many times, the first tenth before the first
// look at memory.
func reloadOften(ctx context.Context, env *benchEnv, kind module.Kind, carrier module.Carrier, many int) error {
	spec, err := env.echoSpec(kind)
	if err != nil {
		return err
	}
	warm := many / 10
	h, stop, err := benchHost(ctx, host.Config{Key: identity.NewKey([32]byte{1}), Carriers: map[module.Kind]module.Carrier{kind: carrier},
		Modules: []module.Spec{spec}, Kept: filepath.Join(env.dir, "kept")})
	if err != nil {
		return err
	}
	defer stop()
	ready := func() bool {
		i := h.Modules().List()[0]
		return i.State == module.StateReady && i.Finishing == 0
	}
	if err := poll(ctx, benchDeadline, "the module is ready", ready); err != nil {
		return err
	}
	var before footprint
	began := time.Now()
	for i := range warm + many {
		if i == warm {
			if err := poll(ctx, benchDeadline, "old versions have ended", ready); err != nil {
				return err
			}
			if before, err = footprintNow(); err != nil {
				return err
			}
			began = time.Now()
		}
		c := h.Modules().Sync(ctx, []module.Spec{spec}, []string{spec.Name}, nil)
		if len(c) != 1 || c[0].What != "upgraded" {
			return fmt.Errorf("reload %d: %+v", i, c)
		}
	}
	each := time.Since(began) / time.Duration(many)
	if err := poll(ctx, benchDeadline, "old versions have ended", ready); err != nil {
		return err
	}
	after, err := footprintNow()
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%d reloads of a %s module", many, kind)
	env.value(name+": each", ms(each), "ms", 0)
	env.ratio(name+": resident memory", after.rss, "MiB", "before", before.rss, 1.1)
	env.ratio(name+": goroutines", after.goroutines, "", "before", before.goroutines, 1)
	env.ratio(name+": open files", after.files, "", "before", before.files, 1)
	return nil
}
