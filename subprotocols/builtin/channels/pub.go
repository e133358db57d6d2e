package channels

import (
	"bytes"
	"fmt"
	"slices"

	"nethost/sdk"
	"nethost/sdk/channel"
	"nethost/sdk/name"
)

// pub is a publishing application.
type pub struct {
	h      channel.Publish
	t      *topic
	events uint64
	last   uint64
	full   bool // it waits for a slow subscriber
}

func (m *module) beginPub(env *sdk.Env, c *call) {
	p := &pub{}
	rest, done, err := channel.TakeHeader(c.in, c.fin, &p.h)
	switch {
	case err != nil:
		m.refuseCall(env, c, sdk.InvalidArgument, err.Error())
		return
	case !done:
		return
	}
	switch p.h.Format {
	case "":
		p.h.Format = channel.Lines
	case channel.Lines, channel.Raw, channel.Frames:
	default:
		m.refuseCall(env, c, sdk.InvalidArgument, fmt.Sprintf("format %.20q: want lines, raw or frames", p.h.Format))
		return
	}
	if err := name.Check(p.h.Channel); err != nil {
		m.refuseCall(env, c, sdk.InvalidArgument, err.Error())
		return
	}
	pr, err := parseProofText(p.h.Token)
	if err != nil {
		m.refuseCall(env, c, sdk.InvalidArgument, err.Error())
		return
	}
	if t := m.topic(p.h.Channel); t != nil && len(pr.raw) == 0 {
		pr = t.proof
	}
	if err := m.mayPublish(p.h.Channel, &pr); err != nil {
		m.refuseCall(env, c, sdk.PermissionDenied, err.Error())
		return
	}
	t, err := m.create(env, p.h.Channel)
	if err != nil {
		m.refuseCall(env, c, sdk.Overloaded, err.Error())
		return
	}
	if !bytes.Equal(pr.raw, t.proof.raw) {
		t.proof = pr
		for _, s := range t.seats {
			m.declare(s)
		}
		m.rematch(env, t)
	}
	t.pubs++
	p.t, c.pub, c.in = t, p, rest
}

// pump publishes what applications have sent, as far as the rate of the channel and
// the batch let.
func (m *module) pump(env *sdk.Env) {
	m.findPublishers(env)
	for _, ref := range slices.Clone(m.order) {
		if c := m.calls[ref]; c != nil && c.pub != nil && !c.done {
			m.pumpOne(env, c)
		}
	}
}

func (m *module) pumpOne(env *sdk.Env, c *call) {
	t, limit := c.pub.t, channel.MaxEvent
	if !t.pol.Reliable {
		limit = channel.MaxMessage
	}
	b := c.in
	c.due = 0
	for !c.done {
		if m.pushes <= 0 || m.left <= 0 || m.pressed {
			m.waits = true
			break
		}
		if c.pub.full = t.full(); c.pub.full {
			break // the credit of the slowest one brings the next batch
		}
		rest, parent, data, ok, err := c.pub.next(b, c.fin)
		if err == nil && len(data) > limit {
			err = fmt.Errorf("an event of %d bytes, the limit of channel %q is %d", len(data), t.name, limit)
		}
		if err != nil {
			m.refuseCall(env, c, sdk.InvalidArgument, err.Error())
			return
		}
		if !ok {
			c.done = c.fin
			break
		}
		if d := t.wait(env.Now()); d > 0 {
			c.due = env.Now() + max(d, sdk.MinTimer)
			break
		}
		if t.pol.Rate > 0 {
			t.tokens--
		}
		if t.pol.guarded() {
			if err := m.mayPublish(t.name, &t.proof); err != nil {
				m.refuseCall(env, c, sdk.PermissionDenied, err.Error())
				return
			}
		}
		m.publish(env, t, parent, data)
		c.pub.events++
		c.pub.last = t.seq
		b = rest
	}
	if len(b) < len(c.in) {
		c.in = append(c.in[:0], b...)
	}
	if c.done {
		c.out = channel.AppendLine(c.out, channel.Published{Channel: t.name, Epoch: m.epoch, Events: c.pub.events, Last: c.pub.last, Subscribers: t.audience()})
	}
	if c.owed > 0 && len(c.in) <= maxInput {
		env.Credit(c.ref, c.owed)
		c.owed = 0
	}
}

// next takes one event from what an application sent.
func (p *pub) next(b []byte, fin bool) (rest []byte, parent *channel.EventID, data []byte, ok bool, err error) {
	switch p.h.Format {
	case channel.Raw:
		if !fin {
			if len(b) > channel.MaxEvent {
				err = fmt.Errorf("an event of more than %d bytes", channel.MaxEvent)
			}
			return b, nil, nil, false, err
		}
		return nil, nil, b, p.events == 0, nil
	case channel.Frames:
		rec, rest, err := channel.TakeRecord(b)
		if err == nil && rec == nil && fin && len(b) > 0 {
			err = fmt.Errorf("%w: the last record is cut short", channel.ErrRecord)
		}
		if err != nil || rec == nil {
			return b, nil, nil, false, err
		}
		parent, data, err = channel.ParseBody(rec)
		return rest, parent, data, err == nil, err
	}
	line, rest, whole := bytes.Cut(b, []byte("\n"))
	switch {
	case whole, fin && len(b) > 0:
		return rest, nil, line, true, nil
	case len(b) > channel.MaxEvent:
		err = fmt.Errorf("a line of more than %d bytes", channel.MaxEvent)
	}
	return b, nil, nil, false, err
}
