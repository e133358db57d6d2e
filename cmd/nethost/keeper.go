package main

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"nethost/host"
	"nethost/host/store"
	"nethost/sdk"
)

// How the keeper paces itself.
const (
	keepEvery     = time.Second
	lookupFirst   = 2 * time.Second // until a name is looked up again that leads nowhere; doubles
	lookupMost    = 2 * time.Minute
	lookupWithin  = 5 * time.Second
	lookupAddrs   = 4 // of one name
	lookupsAtOnce = 8
	cacheEvery    = 30 * time.Second
	cacheTried    = 2 * time.Minute // a neighbour of last time that does not answer by then is given up
)

// keeper looks after where peers are: names are looked up again while they lead
// nowhere, and neighbours are remembered across restarts.
type keeper struct {
	h      *host.Host
	log    *slog.Logger
	data   string
	lookup func(ctx context.Context, name string) ([]netip.Addr, error)
	fixed  []netip.AddrPort // from the configuration, as numbers
	named  []*namedPeer
	cached []netip.AddrPort // of last time
	saved  []host.PeerAddr  // what remember wrote, by node
	peers  chan []string    // the peers of a configuration that was read again
	lan    neighborhood     // nodes met on the local network
}

// namedPeer is a peer whose host is a name.
type namedPeer struct {
	text, name string
	port       uint16
	node       sdk.NodeID
	addrs      []netip.AddrPort
	wait       time.Duration
	next       time.Time
	fault      string
}

// isName reports whether a peer's host must be looked up.
func isName(addr string) bool {
	_, err := netip.ParseAddrPort(addr)
	return err != nil
}

// newKeeper reads names; peers are those of the configuration that are numbers, which
// the host dials already.
func newKeeper(c *Config, h *host.Host, log *slog.Logger, peers []host.PeerAddr) *keeper {
	k := &keeper{h: h, log: log, data: c.Data, peers: make(chan []string, 1), lan: newNeighborhood(), lookup: func(ctx context.Context, name string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	}}
	for _, p := range peers {
		k.fixed = append(k.fixed, p.Addr)
	}
	for _, text := range c.Peers {
		k.addName(text)
	}
	return k
}

// addName looks after a peer whose host is a name.
func (k *keeper) addName(text string) {
	node, addr, err := splitPeer(text)
	if err != nil || !isName(addr) || node == k.h.Self() {
		return
	}
	name, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.ParseUint(port, 10, 16)
	k.named = append(k.named, &namedPeer{text: text, name: name, port: uint16(n), node: node, wait: lookupFirst})
}

// setPeers takes the peers of a configuration that was read again. It does not wait.
func (k *keeper) setPeers(peers []string) {
	select {
	case <-k.peers: // of a reload that was not looked at yet
	default:
	}
	k.peers <- peers
}

// change begins to dial what is new and stops dialling what is gone.
func (k *keeper) change(peers []string) {
	var gone []netip.AddrPort
	k.named = slices.DeleteFunc(k.named, func(p *namedPeer) bool {
		if slices.Contains(peers, p.text) {
			return false
		}
		gone = append(gone, p.addrs...)
		return true
	})
	fixed := []netip.AddrPort{}
	for _, text := range peers {
		node, addr, err := splitPeer(text)
		if err != nil || node == k.h.Self() {
			continue // refused when the configuration was read, or this node
		}
		if isName(addr) {
			if !slices.ContainsFunc(k.named, func(p *namedPeer) bool { return p.text == text }) {
				k.addName(text)
			}
			continue
		}
		ap := netip.MustParseAddrPort(addr)
		ap = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
		if fixed = append(fixed, ap); !slices.Contains(k.fixed, ap) {
			k.h.Dial(ap, node)
		}
	}
	gone = append(gone, k.fixed...)
	k.fixed = fixed
	for _, a := range gone {
		if !slices.Contains(k.fixed, a) && !k.wanted(a) {
			k.h.Undial(a)
		}
	}
}

// start runs the keeper; the function it gives ends it and waits until the neighbours
// of now are written down.
func (k *keeper) start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// run works until ctx ends.
func (k *keeper) run(ctx context.Context) {
	k.recall()
	started := time.Now()
	saved := started
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		k.names(ctx, time.Now())
		select {
		case <-ctx.Done():
			k.remember(true)
			return
		case peers := <-k.peers:
			k.change(peers)
			continue
		case addrs := <-k.lan.sightings:
			k.sighted(addrs, time.Now())
			continue
		case <-tick.C:
		}
		now := time.Now()
		if k.remember(now.Sub(saved) >= cacheEvery) {
			saved = now
		}
		if now.Sub(started) >= cacheTried {
			k.giveUp()
		}
		k.lose(now)
	}
}

// recall dials the neighbours of last time.
func (k *keeper) recall() {
	list, err := store.LoadPeers(k.data, time.Now())
	if err != nil {
		k.log.Warn("the neighbours of last time are not known", "error", err)
	}
	for _, p := range list {
		node, err := sdk.ParseNodeID(p.Node)
		addr, err2 := netip.ParseAddrPort(p.Addr)
		if err != nil || err2 != nil || node == k.h.Self() || slices.Contains(k.fixed, addr) {
			continue
		}
		k.cached = append(k.cached, addr)
		k.h.Dial(addr, node)
	}
}

// remember writes the neighbours of now, when they are others than last time or must
// be; it reports whether it did.
func (k *keeper) remember(must bool) bool {
	now := k.h.Neighbors()
	slices.SortFunc(now, func(a, b host.PeerAddr) int { return a.Node.Compare(b.Node) })
	if len(now) == 0 || !must && slices.Equal(now, k.saved) {
		return false
	}
	k.saved = now
	var list []store.Peer
	for _, p := range now {
		list = append(list, store.Peer{Node: p.Node.String(), Addr: p.Addr.String(), Seen: time.Now().UTC().Truncate(time.Second)})
	}
	if err := store.SavePeers(k.data, time.Now(), list); err != nil {
		k.log.Warn("the neighbours of now will not be known next time", "error", err)
	}
	return true
}

// giveUp stops dialling neighbours of last time that do not answer.
func (k *keeper) giveUp() {
	if len(k.cached) == 0 {
		return
	}
	for _, d := range k.h.Snapshot().Dials {
		if d.Error != "" && slices.Contains(k.cached, d.Addr) && !k.wanted(d.Addr) {
			k.h.Undial(d.Addr)
		}
	}
	k.cached = nil
}

// wanted reports whether a name stands for addr, or it was met on the local network.
func (k *keeper) wanted(addr netip.AddrPort) bool {
	return k.lan.dials(addr) || slices.ContainsFunc(k.named, func(p *namedPeer) bool { return slices.Contains(p.addrs, addr) })
}

// names looks up the names that lead nowhere and whose time has come.
func (k *keeper) names(ctx context.Context, now time.Time) {
	if len(k.named) == 0 {
		return
	}
	s := k.h.Snapshot()
	var due []*namedPeer
	for _, p := range k.named {
		reached := false
		for _, q := range s.Peers {
			reached = reached || q.Direct && (q.Node == p.node || slices.Contains(p.addrs, q.Addr))
		}
		if reached {
			p.wait, p.next = lookupFirst, now.Add(lookupFirst)
			continue
		}
		if now.Before(p.next) || ctx.Err() != nil {
			continue
		}
		p.next = now.Add(p.wait)
		p.wait = min(2*p.wait, lookupMost)
		due = append(due, p)
	}
	// All at once: a server that does not answer for one name must not hold up the
	// others.
	found, faults := make([][]netip.Addr, len(due)), make([]error, len(due))
	var wg sync.WaitGroup
	gate := make(chan struct{}, lookupsAtOnce)
	for i, p := range due {
		wg.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			ctx, cancel := context.WithTimeout(ctx, lookupWithin)
			defer cancel()
			found[i], faults[i] = k.lookup(ctx, p.name)
		})
	}
	wg.Wait()
	for i, p := range due {
		k.resolved(ctx, p, found[i], faults[i])
	}
}

// resolved takes what a name stands for: new addresses are dialled, old ones given up.
func (k *keeper) resolved(ctx context.Context, p *namedPeer, ips []netip.Addr, err error) {
	if err != nil {
		if ctx.Err() != nil {
			return
		}
		if err.Error() != p.fault { // once, not with every try
			p.fault = err.Error()
			k.log.Warn("a peer's name cannot be looked up; it will be tried again", "peer", p.text, "error", err)
		}
		return
	}
	p.fault = ""
	var addrs []netip.AddrPort
	for _, ip := range ips[:min(len(ips), lookupAddrs)] {
		addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), p.port))
	}
	old := p.addrs
	p.addrs = addrs
	for _, a := range addrs {
		if !slices.Contains(old, a) {
			k.h.Dial(a, p.node)
		}
	}
	for _, a := range old {
		if !k.wanted(a) && !slices.Contains(k.fixed, a) {
			k.h.Undial(a)
		}
	}
}
