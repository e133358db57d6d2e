package identity

import (
	"encoding/json"
	"fmt"
	"slices"

	"nethost/sdk"
	"nethost/sdk/gossip"
	"nethost/sdk/token"
)

// stream takes the events of calls.
func (m *module) stream(env *sdk.Env, ev *sdk.Event) {
	c := m.calls[ev.Ref]
	switch {
	case ev.Kind == sdk.EvStreamOpen:
		m.open(env, ev)
	case c == nil:
	case ev.Kind == sdk.EvStreamData && !c.watch:
		if len(c.in)+len(ev.Payload) > maxRequest {
			m.refuse(env, c, sdk.InvalidArgument, fmt.Sprintf("a request has at most %d bytes", maxRequest))
			return
		}
		c.in = append(c.in, ev.Payload...)
		if len(ev.Payload) > 0 {
			env.Credit(c.ref, len(ev.Payload))
		}
		if ev.FIN() {
			m.answer(env, c)
		}
	case ev.Kind == sdk.EvStreamCredit:
		c.credit += ev.Arg
	case ev.Kind == sdk.EvStreamReset:
		m.end(c)
	}
}

func (m *module) open(env *sdk.Env, ev *sdk.Event) {
	o, err := sdk.ParseOpen(ev.Payload)
	switch {
	case err != nil:
		env.Reset(ev.Ref, sdk.InvalidArgument, "malformed open")
	case o.From == sdk.FromPeer:
		env.Reset(ev.Ref, sdk.PermissionDenied, "identity answers the applications and modules of its own node: ask there")
	case len(m.calls) >= maxCalls:
		env.Reset(ev.Ref, sdk.Overloaded, "too many calls are under way")
	default:
		m.calls[ev.Ref] = &call{ref: ev.Ref, o: o.From, method: o.Method, credit: ev.Arg}
		at, _ := slices.BinarySearch(m.order, ev.Ref)
		m.order = slices.Insert(m.order, at, ev.Ref)
	}
}

func (m *module) end(c *call) {
	delete(m.calls, c.ref)
	if at, ok := slices.BinarySearch(m.order, c.ref); ok {
		m.order = slices.Delete(m.order, at, at+1)
	}
}

func (m *module) refuse(env *sdk.Env, c *call, code sdk.Code, why string) {
	env.Reset(c.ref, code, why)
	m.end(c)
}

func (c *call) reply(v any) {
	b, _ := json.Marshal(v)
	c.out, c.done = append(b, '\n'), true
}

// answer does what a call asks for (I5).
func (m *module) answer(env *sdk.Env, c *call) {
	switch c.method {
	case "", "floors":
		list := struct {
			Floors  []line `json:"floors"`
			Current bool   `json:"current"`
		}{[]line{}, m.gossip.Compared(env.Now())}
		for _, f := range m.floors.All() {
			list.Floors = append(list.Floors, lineOf(f))
		}
		c.reply(list)
	case "publish":
		m.publish(env, c)
	case "watch":
		c.watch = true
		for _, f := range m.floors.All() {
			c.line(lineOf(f))
		}
		c.line(line{Current: &m.current})
	default:
		m.refuse(env, c, sdk.Unimplemented, fmt.Sprintf("identity has no method %.60q: it has floors, publish and watch", c.method))
	}
}

func (m *module) publish(env *sdk.Env, c *call) {
	f, err := token.ParseFloor(c.in)
	switch {
	case c.o != sdk.FromApp:
		m.refuse(env, c, sdk.PermissionDenied, "floors are published by applications")
		return
	case err != nil:
		m.refuse(env, c, sdk.InvalidArgument, err.Error())
		return
	case !f.Verify():
		env.Count("forged", 1)
		m.refuse(env, c, sdk.PermissionDenied, "the floor of "+f.Issuer.Short()+" has a bad signature")
		return
	}
	st, _ := statement(c.in)
	if !m.admit(&st, 0) {
		env.Count("refused", 1)
		m.refuse(env, c, sdk.Overloaded, fmt.Sprintf("%d issuers are known, the limit: name this one in [module.identity.config] issuers", maxIssuers))
		return
	}
	old, known := m.floors.Get(f.Issuer)
	if known && old.Newer(&f) {
		env.Count("old", 1)
		m.refuse(env, c, sdk.InvalidArgument, fmt.Sprintf("an older floor: generation %d, sequence %d is known of %s, and floors do not fall", old.Generation, old.Seq, f.Issuer.Short()))
		return
	}
	fresh := m.take(env, f)
	if fresh {
		m.gossip.Put(gossip.Key(f.Issuer), gossip.Version{f.Generation, f.Seq})
	}
	c.reply(struct {
		line
		New        bool `json:"new"`
		Neighbours int  `json:"neighbours"`
	}{lineOf(f), fresh, m.gossip.Peers()})
}

// write lets answers go as far as their credit.
func (m *module) write(env *sdk.Env) {
	left, waits := batchBytes, false
	for _, ref := range slices.Clone(m.order) {
		c := m.calls[ref]
		n := int(min(uint64(len(c.out)), c.credit, uint64(left)))
		fin := c.done && n == len(c.out)
		if n > 0 || fin {
			env.Write(ref, c.out[:n], fin)
			c.out, c.credit, left = c.out[n:], c.credit-uint64(n), left-n
		}
		if fin {
			m.end(c)
			continue
		}
		waits = waits || len(c.out) > 0 && c.credit > 0
		if c.watch && len(c.out) > maxHeld {
			m.refuse(env, c, sdk.Overloaded, "the watcher does not keep up: watch again")
		}
	}
	if waits && m.pending == 0 {
		m.pending = env.NewRef()
		env.Post(m.pending, nil)
	}
}
