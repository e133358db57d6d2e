package kernel

import (
	"fmt"
	"slices"
	"time"

	"nethost/registry"
	"nethost/sdk"
)

// appOpen opens a stream for an application: to a local module, or straight to
// the module of a peer. The application names the stream (Input.App).
func (k *Kernel) appOpen(in *Input) {
	from := end{kind: endApp, app: in.App}
	fail := func(code sdk.Code, text string) { k.notify(&from, code, text) }
	o := in.Open
	o.Principal = slices.Clone(o.Principal)
	o.Meta = slices.Clone(o.Meta)
	switch {
	case k.apps[in.App] != nil:
		fail(sdk.InvalidArgument, "stream number in use")
	case len(k.apps) >= maxAppStreams:
		fail(sdk.Overloaded, "too many application streams")
	case in.Node.IsZero() || in.Node == k.self:
		v, slot, ok := k.reg.Newest(in.ID)
		if !ok {
			fail(sdk.UnsupportedID, "no module on this node answers to "+in.ID.String())
			return
		}
		o.From = sdk.FromApp
		if pi, code := k.offer(from, slot, in.ID, v, o); pi == nil {
			fail(code, "module "+k.moduleName(slot)+": "+code.String())
		} else {
			k.opened(pi)
		}
	default:
		if !k.rules.admits(in.Node) {
			fail(sdk.PermissionDenied, k.deniedText(in.Node))
			return
		}
		p := k.peerOf(in.Node)
		if p == nil || len(p.waiting) >= maxWaiting {
			fail(sdk.Overloaded, "too many peers, or too many opens that wait for this one")
			return
		}
		if p.refusal != "" {
			fail(sdk.UnsupportedID, p.refusal)
			return
		}
		pi := &pipe{end: [2]end{from}, id: in.ID, open: o, waits: true}
		if p.hasAgreed {
			k.openWaiting(p, pi)
			return
		}
		wait := openTimeout
		if o.Deadline > 0 {
			wait = o.Deadline
		}
		k.wait(p, pi, wait)
	}
}

// opened tells the application that it may write.
func (k *Kernel) opened(pi *pipe) {
	k.out.Apps = append(k.out.Apps, AppEvent{Kind: AppOpened, App: pi.end[0].app, N: pi.credit[0]})
}

// wait parks an open until the peer's session is agreed, and starts one.
func (k *Kernel) wait(p *peer, pi *pipe, timeout time.Duration) {
	if pi.end[0].kind == endApp {
		k.apps[pi.end[0].app] = pi
	}
	pi.timer.fire = func(time.Duration) {
		why := "no session could be made"
		if _, ok := k.table.Lookup(p.rid); !ok && p.cur == nil {
			why = "no route is known"
		}
		k.failOpen(pi, sdk.NoRoute, fmt.Sprintf("%s after %v: is the node up, and does it share a relay with us?", why, timeout))
	}
	pi.end[1].peer = p
	k.timers.set(&pi.timer, k.now+min(timeout, never/2))
	p.waiting = append(p.waiting, pi)
	if p.cur == nil {
		k.dialPeer(p)
	}
}

// serveWaiting opens everything that waited for this peer.
func (k *Kernel) serveWaiting(p *peer) {
	waiting := p.waiting
	p.waiting = nil
	for _, pi := range waiting {
		k.timers.set(&pi.timer, never)
		k.openWaiting(p, pi)
	}
}

func (k *Kernel) openWaiting(p *peer, pi *pipe) {
	from := pi.end[0]
	if from.kind == endModule {
		k.connected(p, from.slot, from.ref)
		return
	}
	delete(k.apps, from.app)
	v, ok := p.agreed.Lookup(pi.id)
	if _, has := k.owner(pi.id, v.Major); !ok || !has {
		k.notify(&from, sdk.UnsupportedID, k.whyNot(p, pi.id))
		return
	}
	np, code := k.openPeer(p, from, pi.id, 0, pi.open)
	if np == nil {
		k.notify(&from, code, "stream could not be opened: "+code.String())
		return
	}
	k.opened(np)
}

// whyNot explains why an id is not agreed with a peer.
func (k *Kernel) whyNot(p *peer, id sdk.ID) string {
	for _, o := range p.agreed.Outcomes {
		if o.ID != id {
			continue
		}
		if o.State == registry.StateMismatch {
			return fmt.Sprintf("%s: no common version with %s: load a release whose version fits (nethost sessions shows both)", id, p.id.Short())
		}
	}
	if _, _, ok := k.reg.Newest(id); !ok {
		return fmt.Sprintf("no module on this node answers to %s", id)
	}
	return fmt.Sprintf("%s has no module that answers to %s", p.id.Short(), id)
}

// failWaiting answers every open that waited for this peer.
func (k *Kernel) failWaiting(p *peer, code sdk.Code, text string) {
	waiting := p.waiting
	p.waiting = nil
	for _, pi := range waiting {
		k.failOpen(pi, code, text)
	}
}

func (k *Kernel) failOpen(pi *pipe, code sdk.Code, text string) {
	if pi.dead {
		return
	}
	k.unwait(pi)
	if e := &pi.end[0]; e.kind == endModule {
		k.connectFailed(e.slot, e.ref, code, text)
	} else {
		k.notify(e, code, text)
	}
}

// unwait gives up an open that waits.
func (k *Kernel) unwait(pi *pipe) {
	pi.dead = true
	k.timers.set(&pi.timer, never)
	if e := &pi.end[0]; e.kind == endApp {
		delete(k.apps, e.app)
	}
	p := pi.end[1].peer
	p.waiting = slices.DeleteFunc(p.waiting, func(q *pipe) bool { return q == pi })
	k.forget(p)
}

func (k *Kernel) appWrite(app uint64, b []byte, fin bool) {
	if pi := k.apps[app]; pi != nil && !pi.waits {
		k.write(pi, pi.sideOfApp(app), b, fin)
	} else if pi != nil {
		k.failOpen(pi, sdk.FlowControl, "written before the stream was open")
	}
}

func (k *Kernel) appCredit(app, n uint64) {
	if pi := k.apps[app]; pi != nil && !pi.waits {
		k.consumed(pi, pi.sideOfApp(app), n)
	}
}

func (k *Kernel) appReset(app uint64, code sdk.Code, text string) {
	switch pi := k.apps[app]; {
	case pi == nil:
	case pi.waits:
		k.unwait(pi)
	default:
		k.breakPipe(pi, pi.sideOfApp(app), code, text)
	}
}

func (pi *pipe) sideOfApp(app uint64) int {
	if e := &pi.end[0]; e.kind == endApp && e.app == app {
		return 0
	}
	return 1
}
