package host

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"time"

	"nethost/host/identity"
	"nethost/host/kernel"
	"nethost/host/link"
	"nethost/host/module"
	"nethost/registry"
	"nethost/sdk"
)

// Host is a running node. All methods are safe for concurrent use.
type Host struct {
	cfg    Config
	start  time.Time
	mods   *module.Manager
	jobs   chan *kernel.Job
	outbox *outbox
	push   chan struct{} // holds a token when the kernel has left bytes for the next step
	reader *reader

	mu    sync.Mutex // guards everything below
	k     *kernel.Kernel
	out   kernel.Output
	in    kernel.Input // reused, so that a step allocates nothing
	timer *time.Timer
	armed time.Duration // when the timer fires
	table *registry.Table
	apps  map[uint64]*Stream
	by    *Stream // whose application runs the step under way
	next  uint64  // last application stream number
	watch map[chan kernel.Trace]struct{}
	// traces are the questions of TraceHop under way, by token.
	traces map[uint64]chan kernel.Hop
	warns  warnLimit
	down   bool

	facts facts
}

// ErrClosed is returned by calls on a host that has ended.
var ErrClosed = errors.New("host: closed")

// New makes a node. Nothing runs before Run.
func New(cfg Config) (*Host, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	var seed [32]byte
	if _, err := io.ReadFull(cfg.Entropy, seed[:]); err != nil {
		return nil, errors.Join(errors.New("host: entropy source failed"), err)
	}
	h := &Host{cfg: cfg, start: time.Now(), outbox: newOutbox(cfg.Link), push: make(chan struct{}, 1), reader: newReader(cfg.Link), jobs: make(chan *kernel.Job, 1024), table: registry.NewTable(),
		apps: map[uint64]*Stream{}, watch: map[chan kernel.Trace]struct{}{}, traces: map[uint64]chan kernel.Hop{}, armed: never}
	var names []string
	for _, s := range cfg.Modules {
		names = append(names, s.Name)
	}
	k, err := kernel.New(kernel.Config{Key: cfg.Key, Static: identity.NewStatic(cfg.Key, seed, cfg.Incarnation),
		NetworkKey: cfg.NetworkKey, NetworkKey2: cfg.NetworkKey2, Redeem: cfg.Redeem, Entropy: cfg.Entropy, Modules: names, NoRelay: cfg.NoRelay, Policy: cfg.Policy,
		AES: fastAES(), MaxMTU: cfg.MaxMTU, Memory: cfg.Memory / 2, Profile: cfg.Profile, DeadAfter: cfg.DeadAfter, WaveInterval: cfg.WaveInterval}, h.Now())
	if err != nil {
		return nil, err
	}
	h.k = k
	h.mods = module.NewManager(module.Config{Host: h, Carriers: cfg.Carriers, State: cfg.State, Clock: h.Now,
		Self: k.Self(), Log: cfg.Log, Entropy: cfg.Entropy, Sign: cfg.Key.SignRaw, Announced: h.announced,
		Crash: cfg.Crash, Kept: cfg.Kept, Records: cfg.Records, Widens: cfg.Widens, Disabled: cfg.Disabled})
	for _, s := range cfg.Modules {
		h.mods.Add(s)
	}
	return h, nil
}

// Now is the host's monotonic clock: time since New.
func (h *Host) Now() time.Duration { return time.Since(h.start) }

// Self is the node's id.
func (h *Host) Self() sdk.NodeID { return h.k.Self() }

// Run works until ctx ends, then says goodbye to the neighbours, stops the
// modules and closes the link. It returns nil after a clean stop, else why the
// link failed.
func (h *Host) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	stop := make(chan struct{})
	h.mu.Lock()
	h.timer = time.AfterFunc(time.Hour, h.tick)
	h.mu.Unlock()
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() { h.work(stop) })
	}
	wg.Go(func() { h.write(stop) })
	wg.Go(func() { h.pushes(stop) })
	if src, ok := h.cfg.Link.(link.ErrorSource); ok {
		src.OnRejection(func(r link.Rejection) {
			if r.Local {
				h.step(func(in *kernel.Input) { *in = kernel.Input{Kind: kernel.InRefused, From: r.To, N: uint64(r.Size)} })
				return
			}
			h.step(func(in *kernel.Input) { *in = kernel.Input{Kind: kernel.InLinkError, From: r.To, Datagram: r.Quote} })
		})
	}
	failed := make(chan error, 1)
	wg.Go(func() { failed <- h.read() })
	h.mods.Start(ctx)
	wg.Go(func() { h.tell(stop) })
	for _, p := range h.cfg.Peers {
		h.step(func(in *kernel.Input) { *in = kernel.Input{Kind: kernel.InDial, From: p.Addr, Node: p.Node} })
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	h.close()
	close(stop)
	wg.Wait()
	return err
}

// close ends everything in order: modules first, so that they may still say
// what they have to; then the peers hear goodbye; then the link goes.
func (h *Host) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	h.mods.Close(ctx)
	h.step(func(in *kernel.Input) { *in = kernel.Input{Kind: kernel.InShutdown} })
	h.mu.Lock()
	h.down = true
	h.timer.Stop()
	for id, s := range h.apps {
		s.fail(sdk.Draining, "the host is stopping")
		delete(h.apps, id)
	}
	for c := range h.watch {
		close(c)
		delete(h.watch, c)
	}
	h.mu.Unlock()
	h.cfg.Link.Close()
}

// pushes steps the kernel when it has left bytes for that (kernel.Output.Lazy).
func (h *Host) pushes(stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-h.push:
			h.step(func(in *kernel.Input) { *in = kernel.Input{Kind: kernel.InTick} })
		}
	}
}

// work runs jobs off the lock.
func (h *Host) work(stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case j := <-h.jobs:
			j.Run()
			h.step(func(in *kernel.Input) { *in = kernel.Input{Kind: kernel.InJob, Job: j} })
		}
	}
}
