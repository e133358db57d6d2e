package channels

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"nethost/sdk"
	"nethost/sdk/channel"
	"nethost/sdk/name"
)

// call is a stream of an application or of another module.
type call struct {
	ref    sdk.Ref
	from   sdk.Origin
	method string
	in     []byte
	owed   int // taken, and not credited
	fin    bool
	credit uint64
	out    []byte
	done   bool // out is all there is
	due    time.Duration

	pub *pub
	sub *sub
}

const (
	maxRequest = 64 << 10
	// maxInput is what is held of a publisher that has to wait, in bytes. Above it
	// the publisher gets no credit.
	maxInput = 256 << 10
)

// open takes a stream.
func (m *module) open(env *sdk.Env, ev *sdk.Event) {
	o, err := sdk.ParseOpen(ev.Payload)
	switch {
	case err != nil:
		env.Reset(ev.Ref, sdk.InvalidArgument, "malformed open")
	case o.From == sdk.FromPeer:
		m.openDown(env, ev, &o)
	case len(m.calls) >= maxCalls:
		env.Reset(ev.Ref, sdk.Overloaded, fmt.Sprintf("%d calls are under way, the limit", maxCalls))
	default:
		m.calls[ev.Ref] = &call{ref: ev.Ref, from: o.From, method: o.Method, credit: ev.Arg}
		at, _ := slices.BinarySearch(m.order, ev.Ref)
		m.order = slices.Insert(m.order, at, ev.Ref)
	}
}

// stream takes the events of streams, whoever is behind them.
func (m *module) stream(env *sdk.Env, ev *sdk.Event) {
	switch x := m.byRef[ev.Ref].(type) {
	case *down:
		switch ev.Kind {
		case sdk.EvStreamData:
			m.fromDown(env, x, ev)
		case sdk.EvStreamCredit:
			x.credit += ev.Arg
		default:
			m.lostDown(x)
		}
		return
	case *up:
		switch ev.Kind {
		case sdk.EvStreamData:
			m.fromUp(env, x, ev)
		case sdk.EvStreamCredit:
			x.credit += ev.Arg
		default:
			m.lostUp(env, x)
		}
		return
	case *want:
		if ev.Kind == sdk.EvStreamReset || ev.FIN() {
			x.warned = x.warned || sdk.Code(ev.Arg) == sdk.Draining // the node stops
			m.capLost(env, x, string(ev.Payload))
		} else if ev.Kind == sdk.EvStreamData {
			x.in = lines(x.in, ev.Payload, func(l []byte) { m.capHeard(env, x, l) })
			env.Credit(ev.Ref, len(ev.Payload))
		}
		return
	case *watcher:
		if ev.Kind == sdk.EvStreamReset || ev.FIN() {
			x.warned = x.warned || sdk.Code(ev.Arg) == sdk.Draining
			m.identityLost(env, string(ev.Payload))
		} else if ev.Kind == sdk.EvStreamData {
			x.in = lines(x.in, ev.Payload, func(l []byte) { m.floorsHeard(env, l) })
			env.Credit(ev.Ref, len(ev.Payload))
		}
		return
	}
	if c := m.calls[ev.Ref]; c != nil {
		m.callEvent(env, c, ev)
	}
}

// denied: the host refuses what was asked for.
func (m *module) denied(env *sdk.Env, ev *sdk.Event) {
	why := "the grant " + string(ev.Payload) + " is missing"
	switch x := m.byRef[ev.Ref].(type) {
	case *want:
		m.capLost(env, x, why)
		x.retryAt = env.Now() + time.Minute
	case *watcher:
		m.identityLost(env, why)
	}
	if node, ok := m.dials[ev.Ref]; ok {
		delete(m.dials, ev.Ref)
		if u := m.up(node); u != nil {
			u.wait = retryLast
			m.later(env, u)
		}
	}
}

func (m *module) callEvent(env *sdk.Env, c *call, ev *sdk.Event) {
	switch ev.Kind {
	case sdk.EvStreamData:
		c.in = append(c.in, ev.Payload...)
		c.owed += len(ev.Payload)
		c.fin = c.fin || ev.FIN()
		m.input(env, c)
	case sdk.EvStreamCredit:
		c.credit += ev.Arg
	case sdk.EvStreamReset:
		m.end(env, c)
	}
}

// input looks at what a caller has said so far. What a publisher sends waits for
// pump.
func (m *module) input(env *sdk.Env, c *call) {
	switch {
	case c.sub != nil:
		if c.in = nil; c.owed > 0 {
			env.Credit(c.ref, c.owed)
			c.owed = 0
		}
	case c.pub != nil:
	case c.method == "pub":
		m.beginPub(env, c)
	case c.method == "sub":
		m.beginSub(env, c)
	case len(c.in) > maxRequest:
		m.refuseCall(env, c, sdk.InvalidArgument, fmt.Sprintf("a request has at most %d bytes", maxRequest))
	case c.fin:
		m.answer(env, c)
	}
}

func (m *module) beginSub(env *sdk.Env, c *call) {
	var h channel.Subscribe
	_, done, err := channel.TakeHeader(c.in, c.fin, &h)
	if err == nil && !done {
		return
	}
	if err == nil {
		err = name.CheckPattern(h.Pattern)
	}
	switch {
	case err != nil:
	case h.Format != "" && h.Format != channel.JSON && h.Format != channel.Frames:
		err = fmt.Errorf("format %.20q: want json or frames", h.Format)
	case h.Group != "" && !validGroup(h.Group):
		err = fmt.Errorf("group %.70q: want one part of a name, at most %d bytes", h.Group, maxGroup)
	case h.Ring < 0 || h.Ring > maxRing:
		err = fmt.Errorf("ring %d, want 1 to %d events", h.Ring, maxRing)
	case !(h.WaitS >= 0 && h.WaitS <= 1e6):
		err = fmt.Errorf("wait_s %v, want seconds", h.WaitS)
	}
	var pr proof
	if err == nil {
		pr, err = parseProofText(h.Token)
	}
	if err != nil {
		m.refuseCall(env, c, sdk.InvalidArgument, err.Error())
		return
	}
	why := m.full(h.Pattern)
	if len(m.subs) >= maxSubs {
		why = fmt.Sprintf("%d subscriptions of applications are open, the limit", maxSubs)
	}
	if why != "" {
		m.refuseCall(env, c, sdk.Overloaded, why)
		return
	}
	if h.WaitS > 0 {
		c.due = env.Now() + time.Duration(h.WaitS*float64(time.Second))
	}
	m.addSub(env, c, &h, pr)
	m.input(env, c)
}

// end forgets a call.
func (m *module) end(env *sdk.Env, c *call) {
	if m.calls[c.ref] != c {
		return
	}
	delete(m.calls, c.ref)
	if at, ok := slices.BinarySearch(m.order, c.ref); ok {
		m.order = slices.Delete(m.order, at, at+1)
	}
	if c.sub != nil {
		m.endSub(env, c.sub)
	}
	if c.pub != nil {
		if c.pub.t.pubs--; c.pub.t.pubs == 0 {
			c.pub.t.closed = env.Now()
		}
	}
}

func (m *module) refuseCall(env *sdk.Env, c *call, code sdk.Code, why string) {
	m.count("refused", 1)
	env.Reset(c.ref, code, cut(strings.TrimSpace(why)))
	m.end(env, c)
}

// write lets answers and events go as far as their credit.
func (m *module) write(env *sdk.Env) {
	for _, ref := range slices.Clone(m.order) {
		c := m.calls[ref]
		if c == nil {
			continue
		}
		for {
			if c.sub != nil && !c.done {
				m.format(c.sub)
				if c.due > 0 && env.Now() >= c.due && len(c.sub.ring) == 0 {
					c.done = true
				}
			}
			n := int(min(uint64(len(c.out)), c.credit, uint64(max(0, m.left)), maxOut))
			fin := c.done && n == len(c.out)
			if n > 0 || fin {
				env.Write(ref, c.out[:n], fin)
				c.out, c.credit, m.left = c.out[n:], c.credit-uint64(n), m.left-n
			}
			if fin {
				m.end(env, c)
				break
			}
			if n == 0 {
				break
			}
		}
		if len(c.out) == 0 {
			c.out = nil
		}
		if c.sub != nil && c.sub.cutWhy != "" {
			m.count("slow_disconnected", 1)
			m.refuseCall(env, c, sdk.Overloaded, c.sub.cutWhy)
			continue
		}
		m.waits = m.waits || c.credit > 0 && (len(c.out) > 0 || c.sub != nil && m.ready(c.sub))
	}
	for _, ref := range m.order {
		c := m.calls[ref]
		m.waits = m.waits || c.pub != nil && c.pub.full && !c.pub.t.full()
	}
}

// ready says that a subscription has events that could be written now.
func (m *module) ready(s *sub) bool {
	return len(s.ring) > 0 && (s.ring[0].pass == nil || !m.held(s.ring[0].pass))
}
