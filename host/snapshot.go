package host

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"nethost/host/internal/ring"
	"nethost/host/kernel"
	"nethost/host/link"
	"nethost/host/module"
	"nethost/host/route"
	"nethost/registry"
	"nethost/sdk"
)

// Snapshot is the state of a node for listings, taken under the lock.
type Snapshot struct {
	Node        sdk.NodeID
	Incarnation uint64
	Addr        netip.AddrPort
	Uptime      time.Duration
	Relay       bool
	Killed      bool // the kill-switch is on
	Counters    kernel.Counters
	Swarm       kernel.Swarm
	Peers       []kernel.PeerStatus
	Refused     []kernel.RefusedStatus
	Dials       []kernel.DialStatus
	Routes      []Route
	Manifest    registry.Manifest
	Modules     []module.Info
	Link        link.Stats // Mode "" when the link keeps none
	Outbox      ring.Stats // datagrams that wait for the network, or waited too long
}

// Route is a route with its next hops named.
type Route struct {
	route.Route
	Via  sdk.NodeID
	Alts []sdk.NodeID
	Why  string // why it goes that way, as a trace tells it
}

// Snapshot gives the state of the node now.
func (h *Host) Snapshot() Snapshot {
	mods := h.mods.List()
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.Now()
	s := Snapshot{Node: h.k.Self(), Incarnation: h.k.Swarm(now).Incarnation, Swarm: h.k.Swarm(now), Addr: h.cfg.Link.LocalAddr(), Uptime: now,
		Counters: h.k.Counters(), Peers: h.k.Peers(now), Dials: h.k.Dials(), Refused: h.k.Refused(),
		Manifest: h.k.Manifest(), Modules: mods}
	pol := h.k.Policy()
	s.Relay, s.Killed = !pol.NoRelay && !pol.Killed, pol.Killed
	s.Outbox = h.outbox.stats()
	if src, ok := h.cfg.Link.(link.StatsSource); ok {
		s.Link = src.Stats()
		s.Link.Note = strings.Join(append(nonEmpty(s.Link.Note), lostTrains(s.Link.Mode, s.Peers)...), "; ")
	}
	for _, r := range h.k.Routes() {
		hr := Route{Route: r, Via: h.k.NodeOf(r.Next), Why: h.k.RouteWhy(r.Dest)}
		for _, a := range r.Alternates {
			hr.Alts = append(hr.Alts, h.k.NodeOf(a))
		}
		s.Routes = append(s.Routes, hr)
	}
	return s
}

// Resolve finds the subprotocol id and method behind what a user typed: a module
// name ("echo"), a module and method ("counter.add"), or an id ("0x1001").
func (h *Host) Resolve(name string) (sdk.ID, string, error) {
	if strings.HasPrefix(name, "0x") {
		id, method := methodOf(name)
		n, err := sdk.ParseID(id)
		return n, method, err
	}
	mod, method := methodOf(name)
	var known []string
	for _, s := range h.mods.List() {
		if s.Name == mod && len(s.Subprotocols) > 0 {
			return s.Subprotocols[0].ID, method, nil
		}
		known = append(known, s.Name)
	}
	if len(known) == 0 {
		return 0, "", fmt.Errorf("no module %q: this node has none; give an id such as 0x0007, or start it with --plugins DIR", mod)
	}
	return 0, "", fmt.Errorf("no module %q on this node: it has %s", mod, strings.Join(known, ", "))
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// lostTrains says to which neighbours packets leave one by one although the system
// could do better.
func lostTrains(mode string, peers []kernel.PeerStatus) (notes []string) {
	for _, p := range peers {
		if mode == "gso" && p.NoTrains > 0 {
			notes = append(notes, fmt.Sprintf("trains to %s get lost: packets leave for it one by one for %v still", p.Node.Short(), p.NoTrains.Round(time.Second)))
		}
	}
	return notes
}
