package kernel

import (
	"net/netip"
	"slices"
	"time"

	"nethost/host/identity"
	"nethost/sdk"
)

// anchor is an address from the configuration: we keep a session with whoever
// answers there.
type anchor struct {
	addr  netip.AddrPort
	node  sdk.NodeID // who must answer; zero: anybody
	found sdk.NodeID // who did
	dial  *dial
	wait  time.Duration // current back-off
	timer timer
	err   string // why the last try failed
}

// addDial keeps a session with addr from now on.
func (k *Kernel) addDial(addr netip.AddrPort, node sdk.NodeID) {
	if k.dials[addr] != nil {
		return
	}
	a := &anchor{addr: addr, node: node, wait: redialMin}
	a.timer.fire = func(time.Duration) { k.redial(a) }
	k.dials[addr] = a
	k.order = append(k.order, addr)
	k.redial(a)
}

// removeDial keeps no session with addr any more; one that stands goes on.
func (k *Kernel) removeDial(addr netip.AddrPort) {
	a := k.dials[addr]
	if a == nil {
		return
	}
	if a.dial != nil {
		k.dialEnd(a.dial, false)
	}
	k.timers.set(&a.timer, never)
	delete(k.dials, addr)
	k.order = slices.DeleteFunc(k.order, func(o netip.AddrPort) bool { return o == addr })
}

// redialSoon looks for a neighbour that was lost, if it is one we dial.
func (k *Kernel) redialSoon(id sdk.NodeID) {
	for _, addr := range k.order {
		if a := k.dials[addr]; a.found == id || a.node == id {
			a.wait = redialMin
			k.timers.set(&a.timer, k.now+redialSoonest)
		}
	}
}

// redial begins a handshake unless a session with the anchor stands.
func (k *Kernel) redial(a *anchor) {
	if k.down || k.dials[a.addr] != a {
		return
	}
	if !a.node.IsZero() && !k.rules.admits(a.node) {
		a.err = k.deniedText(a.node)
		k.timers.set(&a.timer, k.now+redialMax)
		return
	}
	id := a.node
	if id.IsZero() {
		id = a.found
	}
	if p := k.peers[id]; p != nil && p.cur != nil && p.addr.IsValid() {
		a.wait = redialMin
		k.timers.set(&a.timer, k.now+time.Second)
		return
	}
	if a.dial == nil {
		d := &dial{node: a.node, addr: a.addr, home: a}
		// It does not count as the peer's own dial: an address where nobody
		// answers must not keep the node from being reached through the mesh.
		if !a.node.IsZero() {
			d.dest = identity.RIDOf(a.node)
		}
		a.dial = d
		k.begin(d)
	}
	a.wait = min(a.wait*2, redialMax)
	k.timers.set(&a.timer, k.now+a.wait)
}
