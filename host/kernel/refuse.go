package kernel

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"

	"nethost/host/wire"
	"nethost/registry"
	"nethost/sdk"
)

// refusal is a peer with which a required id could not be agreed.
type refusal struct {
	theirs   registry.Manifest
	outcomes []registry.Outcome
	why      string
}

// RefusedStatus is what a listing shows of a peer without a session because a
// required id was not agreed.
type RefusedStatus struct {
	Node     sdk.NodeID
	Theirs   registry.Manifest
	Outcomes []registry.Outcome
	Why      string
}

// Refused lists the peers that a required id keeps away, by NodeID.
func (k *Kernel) Refused() []RefusedStatus {
	var list []RefusedStatus
	for id, r := range k.refusals {
		list = append(list, RefusedStatus{id, r.theirs, r.outcomes, r.why})
	}
	slices.SortFunc(list, func(a, b RefusedStatus) int { return bytes.Compare(a.Node[:], b.Node[:]) })
	return list
}

// refuseRequired ends a session over a required id. Both sides have the same
// manifests and come to the same end, so the session stays until the peer has ours:
// then it knows why.
func (k *Kernel) refuseRequired(p *peer, id sdk.ID, agreed registry.Agreed) {
	why := k.whyRefused(p, id)
	theirs := p.theirs
	if p.hasAgreed {
		k.announceDown(p, sdk.DownAgreement)
	}
	p.theirs, p.refusal = theirs, why
	if _, known := k.refusals[p.id]; known || len(k.refusals) < maxRefused {
		k.refusals[p.id] = refusal{theirs, agreed.Outcomes, why}
	}
	k.trace(TraceRefused, p.id, netip.AddrPort{}, why)
	k.failWaiting(p, sdk.UnsupportedID, why)
	for _, addr := range k.order {
		if a := k.dials[addr]; a.found == p.id || a.node == p.id {
			a.err = why
		}
	}
	if p.manifestHeard {
		k.part(p)
		return
	}
	k.timers.set(&p.parting, k.now+partWithin)
}

// whyRefused says which side requires an id, and what the other has of it.
func (k *Kernel) whyRefused(p *peer, id sdk.ID) string {
	side := func(name string, m registry.Manifest) (has string, requires bool) {
		for _, l := range m.Lines {
			if l.ID == id {
				has += " " + l.Version.String()
				requires = requires || l.Required
			}
		}
		if has == "" {
			return name + " does not have it", false
		}
		return name + " has" + has, requires
	}
	us, weRequire := side(k.self.Short(), p.heard)
	them, theyRequire := side(p.id.Short(), p.theirs)
	if k.self.Compare(p.id) > 0 { // both ends say the same words
		us, them = them, us
	}
	by := "both"
	switch {
	case !theyRequire:
		by = k.self.Short()
	case !weRequire:
		by = p.id.Short()
	}
	return fmt.Sprintf("%s is required by %s and was not agreed: %s, %s", id, by, us, them)
}

// partRefused says goodbye to a refused peer that has our manifest by now.
func (k *Kernel) partRefused(p *peer) {
	if p.refusal != "" {
		k.timers.set(&p.parting, k.now)
	}
}

// part ends the session with a refused peer.
func (k *Kernel) part(p *peer) {
	if p.cur == nil {
		return
	}
	k.timers.set(&p.parting, never)
	p.mux.Control(wire.AppendGoodbye(nil, wire.Goodbye{Reason: uint8(sdk.DownAgreement)}))
	if via := k.path(p); via != nil {
		k.sendPacket(p, via)
	}
	k.peerDown(p, sdk.DownAgreement)
}
