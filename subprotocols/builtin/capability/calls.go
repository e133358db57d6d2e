package capability

import (
	"encoding/json"
	"fmt"
	"slices"

	"nethost/sdk"
)

const (
	maxCalls   = 1024
	maxRequest = 64 << 10
	// maxHeld bounds what a slow watcher has not taken, in bytes.
	maxHeld = 4 << 20
	// batchBytes bounds what one batch writes.
	batchBytes = 256 << 10
)

// call is a question under way.
type call struct {
	ref    sdk.Ref
	method string
	in     []byte
	credit uint64
	out    []byte
	done   bool // out is all there is
	watch  *watch
}

// stream takes the events of calls.
func (m *module) stream(env *sdk.Env, ev *sdk.Event) {
	c := m.calls[ev.Ref]
	switch {
	case ev.Kind == sdk.EvStreamOpen:
		m.open(env, ev)
	case c == nil:
	case ev.Kind == sdk.EvStreamData && c.watch == nil:
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
		env.Reset(ev.Ref, sdk.PermissionDenied, "capability answers the applications and modules of its own node: ask there")
	case len(m.calls) >= maxCalls:
		env.Reset(ev.Ref, sdk.Overloaded, "too many calls are under way")
	case o.From == sdk.FromModule && (o.Method == "tag-add" || o.Method == "tag-rm"):
		env.Reset(ev.Ref, sdk.PermissionDenied, "a module announces tags, the operator's are not its own")
	default:
		m.calls[ev.Ref] = &call{ref: ev.Ref, method: o.Method, credit: ev.Arg}
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
	env.Reset(c.ref, code, why[:min(len(why), 500)])
	m.end(c)
}

// reply ends a call with a JSON document.
func (c *call) reply(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		b = []byte("{}") // the types here always marshal
	}
	c.out, c.done = append(b, '\n'), true
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
		if len(c.out) > maxHeld && c.watch != nil {
			m.refuse(env, c, sdk.Overloaded, "the watcher does not keep up: watch again")
		}
	}
	if waits && m.pending == 0 {
		m.pending = env.NewRef()
		env.Post(m.pending, nil)
	}
}

// watch is a query that is answered again and again.
type watch struct {
	e      *expr
	inside map[sdk.NodeID]bool
}

// event is a line that a watcher gets.
type event struct {
	Change string   `json:"change"` // add, update, remove; ready after the first ones
	Node   string   `json:"node,omitempty"`
	Tags   []string `json:"tags,omitempty"`
}

func (c *call) event(e event) {
	b, _ := json.Marshal(e)
	c.out = append(append(c.out, b...), '\n')
}

// tellWatchers says what changed in this batch.
func (m *module) tellWatchers() {
	if len(m.changed) == 0 {
		return
	}
	for _, ref := range m.order {
		c := m.calls[ref]
		if c.watch == nil {
			continue
		}
		for i := range m.changed {
			ch := &m.changed[i]
			was := c.watch.inside[ch.id]
			is := ch.has && (&row{tags: ch.now}).matches(c.watch.e)
			id := ch.id.String()
			switch {
			case is && !was:
				c.watch.inside[ch.id] = true
				c.event(event{"add", id, ch.now})
			case was && !is:
				delete(c.watch.inside, ch.id)
				c.event(event{"remove", id, nil})
			case is && !slices.Equal(ch.old, ch.now):
				c.event(event{"update", id, ch.now})
			}
		}
	}
	m.changed = nil
}
