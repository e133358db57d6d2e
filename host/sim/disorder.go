package sim

import (
	"time"

	"nethost/host/identity"
	"nethost/host/kernel"
	"nethost/host/liveness"
	"nethost/host/wire"
	"nethost/sdk"
)

// socketBuffer is how many datagrams wait for a node that is paused; more are lost.
const socketBuffer = 256

// now is the node's own clock.
func (n *Node) now() time.Duration { return n.w.now + n.cfg.Skew }

// changed notes that the network is another from now on.
func (w *World) changed() {
	w.changedAt = w.now
	w.routes++
}

// Grey makes a node drop, without a word, what it should forward to another (nil: to
// anybody), while it goes on speaking for itself.
func (n *Node) Grey(grey bool, to *Node) {
	n.grey, n.greyTo = grey, to
	n.w.changed()
}

// drops reports that the node drops a datagram instead of sending it.
func (n *Node) drops(b []byte) bool {
	if !n.grey {
		return false
	}
	h, _, ok := wire.ParseHop(b)
	return ok && h.Type == wire.TypeForward && h.TTL < wire.MaxTTL && (n.greyTo == nil || h.Dest == identity.RIDOf(n.greyTo.ID()))
}

// Pause stops a node for a time, as a machine does that has other things to do or
// SIGSTOP: it sends nothing and no timer runs. Then timers that are due run first,
// and what its socket has kept is read.
func (n *Node) Pause(d time.Duration) {
	if n.k == nil {
		return
	}
	n.paused = max(n.paused, n.w.now+d)
	life := n.life
	n.w.at(n.paused, func() {
		if n.life != life || n.k == nil || n.w.now < n.paused {
			return
		}
		n.armed = 1 << 62
		n.step(kernel.Input{Kind: kernel.InTick})
		late := n.backlog
		n.backlog = nil
		for _, t := range late {
			n.step(kernel.Input{Kind: kernel.InDatagram, Datagram: t.Bytes, From: t.Addr})
		}
	})
}

// Rollback makes the next start of a node count from an incarnation again, as after
// its data came back from a backup.
func (n *Node) Rollback(inc uint64) { n.inc = inc }

// Sparing keeps no record of what passes (no capture, no hash) and checks each
// signature once in the whole world, where every node would: for large worlds,
// whose behaviour it does not change.
func (w *World) Sparing() {
	w.sparing, w.verified = true, map[[64]byte]bool{}
}

// verifier is how the nodes check signatures.
func (w *World) verifier() func(id sdk.NodeID, domain string, sig []byte, parts ...[]byte) bool {
	if !w.sparing {
		return nil
	}
	return func(id sdk.NodeID, domain string, sig []byte, parts ...[]byte) bool {
		good, ok := w.verified[[64]byte(sig)]
		if !ok {
			good = identity.Verify(id, domain, sig, parts...)
			w.verified[[64]byte(sig)] = good
		}
		return good // nobody in such a world signs twice alike
	}
}

// Event is a verdict of a node on a neighbour.
type Event struct {
	At    time.Duration // the world's clock
	Node  sdk.NodeID
	State liveness.State
}

// verdict notes those.
func (n *Node) verdict(t *kernel.Trace) {
	s := liveness.State(0)
	switch t.Kind {
	case kernel.TraceSuspect:
		s = liveness.Suspect
	case kernel.TraceDead:
		s = liveness.Dead
	default:
		return
	}
	n.events = append(n.events, Event{n.w.now, t.Node, s})
}

// Events lists the verdicts of the node on its neighbours since ForgetTrace.
func (n *Node) Events() []Event { return n.events }

// ForgetTrace forgets what the node said so far.
func (n *Node) ForgetTrace() { n.events, n.trace = nil, nil }

// Now is the node's own clock.
func (n *Node) Now() time.Duration { return n.now() }

// After does something when so much time has passed.
func (w *World) After(d time.Duration, do func()) { w.at(w.now+d, do) }

// Traffic counts the datagrams that a node sent.
type Traffic struct{ Packets, Bytes uint64 }

func (t *Traffic) count(b []byte) {
	t.Packets++
	t.Bytes += uint64(len(b))
}

// Sent is what the node has sent so far, in UDP payload.
func (n *Node) Sent() Traffic { return n.stats }

// redial dials again after a start what was dialled before.
func (n *Node) redial(to *Node) { n.step(kernel.Input{Kind: kernel.InDial, From: to.Addr}) }
