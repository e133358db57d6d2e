package main

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"nethost/host/discovery"
	"nethost/host/identity"
	"nethost/sdk"
)

const (
	lanMost   = 64               // addresses of the local network that are dialled at once
	lanTried  = 2 * time.Minute  // an address that does not answer by then is left alone
	lanPeace  = 10 * time.Minute // for as long as this
	lanSilent = 5 * time.Minute  // a node that says nothing for so long, and has no session, is gone
)

// meet looks for nodes of our network on the local network until ctx ends.
func meet(ctx context.Context, c *Config, k *keeper, listen netip.AddrPort, log *slog.Logger) {
	m := &marker{read: func() (first, second identity.NetworkKey, err error) { return networkKeys(c) }, now: time.Now}
	discovery.Run(ctx, discovery.Config{Listen: listen, Marks: m.marks, Found: k.sight, Log: log})
}

// markerReads is how often the keys are read: `nethost network rotate` changes them.
const markerReads = 10 * time.Second

// marker says what tells nodes of our network from others.
type marker struct {
	read func() (first, second identity.NetworkKey, err error)
	now  func() time.Time

	mu   sync.Mutex // guards what follows
	keys []identity.NetworkKey
	at   time.Time
}

func (m *marker) marks(instance string, port uint16) (out []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := m.now(); m.keys == nil || now.Sub(m.at) >= markerReads {
		m.at = now
		if first, second, err := m.read(); err == nil { // else those of before: the reload tells of the fault
			m.keys = []identity.NetworkKey{first}
			if second != (identity.NetworkKey{}) {
				m.keys = append(m.keys, second)
			}
		}
	}
	for _, k := range m.keys {
		out = append(out, k.Beacon(instance, port))
	}
	return out
}

// neighborhood is the keeper's memory of nodes met on the local network.
type neighborhood struct {
	sightings chan []netip.AddrPort
	met       []*lanAddr
}

// lanAddr is an address that answered a question on the local network.
type lanAddr struct {
	addr   netip.AddrPort
	dialed bool
	since  time.Time // it is dialled, or left alone
	seen   time.Time
}

func newNeighborhood() neighborhood {
	return neighborhood{sightings: make(chan []netip.AddrPort, lanMost)}
}

func (n *neighborhood) find(addr netip.AddrPort) *lanAddr {
	if i := slices.IndexFunc(n.met, func(a *lanAddr) bool { return a.addr == addr }); i >= 0 {
		return n.met[i]
	}
	return nil
}

// dials reports whether an address is dialled because it was met.
func (n *neighborhood) dials(addr netip.AddrPort) bool {
	a := n.find(addr)
	return a != nil && a.dialed
}

// sight tells the keeper of the addresses of a node. It does not wait: what is too
// much now is told again.
func (k *keeper) sight(addrs []netip.AddrPort) {
	select {
	case k.lan.sightings <- addrs:
	default:
	}
}

// sighted dials the first address of a node that nothing leads to yet.
func (k *keeper) sighted(addrs []netip.AddrPort, now time.Time) {
	fresh := netip.AddrPort{}
	for _, addr := range addrs {
		if a := k.lan.find(addr); a != nil {
			if a.seen = now; a.dialed {
				return
			}
			continue // left alone: the next address may do better
		}
		if k.reaches(addr) {
			return
		}
		if !fresh.IsValid() {
			fresh = addr
		}
	}
	if !fresh.IsValid() || len(k.lan.met) == lanMost {
		return
	}
	k.lan.met = append(k.lan.met, &lanAddr{addr: fresh, dialed: true, since: now, seen: now})
	k.log.Info("a node of this network was met on the local network", "addr", fresh)
	k.h.Dial(fresh, sdk.NodeID{}) // whoever holds the network key: the announcement names nobody
}

// reaches reports whether an address is dialled anyway, or leads to a neighbour.
func (k *keeper) reaches(addr netip.AddrPort) bool {
	if slices.Contains(k.fixed, addr) || k.wanted(addr) {
		return true
	}
	s := k.h.Snapshot()
	for _, p := range s.Peers {
		if p.Direct && p.Addr == addr {
			return true
		}
	}
	return false
}

// lose stops dialling who does not answer, and forgets who is not there any more.
func (k *keeper) lose(now time.Time) {
	if len(k.lan.met) == 0 {
		return
	}
	s := k.h.Snapshot()
	k.lan.met = slices.DeleteFunc(k.lan.met, func(a *lanAddr) bool {
		for _, p := range s.Peers {
			if p.Direct && p.Addr == a.addr {
				a.seen, a.since = now, now
				return false
			}
		}
		gone := now.Sub(a.seen) >= lanSilent
		if a.dialed && (gone || now.Sub(a.since) >= lanTried) {
			a.dialed, a.since = false, now
			if !slices.Contains(k.fixed, a.addr) && !k.wanted(a.addr) {
				k.h.Undial(a.addr)
			}
		}
		return gone || !a.dialed && now.Sub(a.since) >= lanPeace
	})
}
