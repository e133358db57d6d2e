package discovery

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	firstPause = time.Second
	mostPause  = time.Minute
	maxFound   = 64 // instances of a round of questions (D2.1)
)

// Config is what Run needs. All of it but Log must be given.
type Config struct {
	Listen netip.AddrPort // of the node
	// Marks gives the marks of the current network keys for an instance and a port. It
	// is asked once for each answer, from any goroutine.
	Marks func(instance string, port uint16) []string
	// Found takes the addresses of one node that was met, the first being the best. It
	// is told again whenever the node answers again, from one goroutine at a time.
	Found func(addrs []netip.AddrPort)
	Log   *slog.Logger // nil: nowhere
}

// Run announces the node and looks for others until ctx ends. Where multicast does
// not work it says so once and goes on trying: a network may come up later. For a
// loopback address it does nothing (D3.1).
func Run(ctx context.Context, c Config) {
	if c.Listen.Addr().Unmap().IsLoopback() {
		return
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	var name [8]byte
	_, _ = rand.Read(name[:]) // it does not fail
	r := &runner{Config: c, instance: hex.EncodeToString(name[:])}
	defer r.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		next := time.Now().Add(pause)
		r.round(ctx)
		timer.Reset(max(0, time.Until(next)))
	}
}

// runner is what Run remembers from round to round.
type runner struct {
	Config
	instance string
	at       *announcer
	said     []string // what at answers
	told     bool     // that something does not work
}

// round looks at the interfaces, answers on them, and asks once.
func (r *runner) round(ctx context.Context) {
	cs := cards()
	p := placeOf(r.Listen, cs)
	marks := r.Marks(r.instance, r.Listen.Port())
	if err := r.announce(p, cs, marks); err != nil {
		r.fault("this node cannot be found by others on the local network: multicast DNS does not work here", err)
	}
	err := ask(ctx, cs, r.taker(p))
	if err != nil {
		r.fault("nodes on the local network cannot be looked for: multicast DNS does not work here", err)
	}
}

// taker gives what takes the answers of one round, from any goroutine.
func (r *runner) taker(p place) func(answer) {
	var mu sync.Mutex
	seen := map[string]bool{}
	return func(a answer) {
		mu.Lock()
		defer mu.Unlock()
		if a.instance == r.instance || seen[a.instance] || len(seen) == maxFound {
			return
		}
		ours := r.Marks(a.instance, a.port)
		if !slices.ContainsFunc(a.marks, func(m string) bool { return slices.Contains(ours, m) }) {
			return // of another network (D1.2)
		}
		if addrs := a.usable(p); len(addrs) > 0 {
			seen[a.instance] = true
			r.Found(addrs)
		}
	}
}

// announce begins anew when what is to be said has changed.
func (r *runner) announce(p place, cs []card, marks []string) error {
	say := slices.Clone(marks)
	for _, c := range cs {
		say = append(say, c.Name)
	}
	for _, a := range p.own() {
		say = append(say, a.String())
	}
	if r.at != nil && slices.Equal(say, r.said) {
		return nil
	}
	r.close()
	at, err := announce(r.instance, p, cs, marks)
	if r.at, r.said = at, say; err != nil {
		r.said = nil // so that it is tried again
	}
	return err
}

func (r *runner) fault(text string, err error) {
	if !r.told {
		r.told = true
		r.Log.Warn(text+"; `discovery.mdns = false` ends the attempts", "error", err)
	}
}

func (r *runner) close() {
	if r.at != nil {
		r.at.close()
		r.at = nil
	}
}
