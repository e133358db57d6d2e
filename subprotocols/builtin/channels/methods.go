package channels

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"nethost/sdk"
	"nethost/sdk/channel"
	"nethost/sdk/name"
)

// request is what the methods take, as JSON; each reads what it needs.
type request struct {
	Channel string          `json:"channel"`
	Policy  json.RawMessage `json:"policy"`
}

// channelLine is a channel that is published here.
type channelLine struct {
	Channel     string     `json:"channel"`
	Seq         uint64     `json:"seq"`
	Publishers  int        `json:"publishers"` // applications that publish now
	Subscribers int        `json:"subscribers"`
	Retained    int        `json:"retained"`
	Policy      policyJSON `json:"policy"`
}

// subLine is a subscription of an application of this node.
type subLine struct {
	Pattern string `json:"pattern"`
	Group   string `json:"group,omitempty"`
	Events  uint64 `json:"events"`
	Waiting int    `json:"waiting"`
	Dropped uint64 `json:"dropped"`
}

// publisherLine is another node that publishes something wanted here.
type publisherLine struct {
	Node     string   `json:"node"`
	State    string   `json:"state"` // joined, connecting
	Channels []string `json:"channels"`
	Refused  []string `json:"refused,omitempty"`
}

type listing struct {
	Channels      []channelLine   `json:"channels"`
	Subscriptions []subLine       `json:"subscriptions"`
	Publishers    []publisherLine `json:"publishers"`
}

// memberLine is one line of a roster.
type memberLine struct {
	Channel string   `json:"channel"`
	Node    string   `json:"node"`
	Local   bool     `json:"local,omitempty"`
	Groups  []string `json:"groups,omitempty"`
	All     int      `json:"all"` // its subscriptions that get every event
	Waiting int      `json:"waiting"`
	Dropped uint64   `json:"dropped"`
	Token   bool     `json:"token,omitempty"`
	Held    bool     `json:"held,omitempty"` // until the revocations of the neighbours are known
}

// answer does what a call asks for.
func (m *module) answer(env *sdk.Env, c *call) {
	var r request
	if len(bytes.TrimSpace(c.in)) > 0 {
		d := json.NewDecoder(bytes.NewReader(c.in))
		d.DisallowUnknownFields()
		if err := d.Decode(&r); err != nil {
			m.refuseCall(env, c, sdk.InvalidArgument, "the request is no JSON object that this method takes: "+err.Error())
			return
		}
	}
	var v any
	var err error
	code := sdk.InvalidArgument
	switch c.method {
	case "", "ls":
		v = m.listing()
	case "show":
		if t := m.topic(r.Channel); t != nil {
			v = t.line()
		} else {
			err, code = fmt.Errorf("channel %.300q is not published here: `nethost channel ls` lists what is", r.Channel), sdk.NotFound
		}
	case "roster":
		v, err = m.roster(r.Channel)
	case "policy":
		v, err = m.showPolicy(r.Channel)
	case "policy-set", "policy-rm":
		if c.from != sdk.FromApp {
			err, code = fmt.Errorf("policies are set by applications"), sdk.PermissionDenied
		} else {
			v, code, err = m.setPolicy(env, c.method == "policy-set", &r)
		}
	default:
		err, code = fmt.Errorf("channels has no method %.60q: it has %v", c.method, m.Describe().Methods), sdk.Unimplemented
	}
	if err != nil {
		m.refuseCall(env, c, code, err.Error())
		return
	}
	c.out, c.done = channel.AppendLine(nil, v), true
}

func (t *topic) line() channelLine {
	return channelLine{t.name, t.seq, t.pubs, t.audience(), len(t.kept), t.pol.json()}
}

func (m *module) listing() listing {
	l := listing{[]channelLine{}, []subLine{}, []publisherLine{}}
	for _, t := range m.topics {
		l.Channels = append(l.Channels, t.line())
	}
	for _, s := range m.subs {
		l.Subscriptions = append(l.Subscriptions, subLine{s.pattern, s.group, s.sent, len(s.ring), s.dropped})
	}
	for _, u := range m.ups {
		p := publisherLine{Node: u.node.String(), State: "connecting", Channels: []string{}}
		if u.ref != 0 {
			p.State = "joined"
		}
		for _, r := range u.remotes {
			if r.refused {
				p.Refused = append(p.Refused, r.from.channel)
			} else {
				p.Channels = append(p.Channels, r.from.channel)
			}
		}
		l.Publishers = append(l.Publishers, p)
	}
	return l
}

// roster lists who gets the events of the channels of a pattern.
func (m *module) roster(pattern string) (any, error) {
	if pattern == "" {
		pattern = "**"
	}
	if err := name.CheckPattern(pattern); err != nil {
		return nil, err
	}
	out := struct {
		Members []memberLine `json:"members"`
	}{[]memberLine{}}
	for _, t := range m.topics {
		if !name.Match(pattern, t.name) {
			continue
		}
		for _, s := range m.subs {
			l := memberLine{Channel: t.name, Node: m.self.String(), Local: true, Waiting: len(s.ring), Dropped: s.dropped}
			if slices.ContainsFunc(t.locals, func(l local) bool { return l.s == s }) {
				l.All = 1
			}
			l.Groups = t.groupsOf(func(w *member) bool { return w.local.s == s })
			if l.All+len(l.Groups) > 0 {
				out.Members = append(out.Members, l)
			}
		}
		for _, s := range t.seats {
			out.Members = append(out.Members, memberLine{Channel: t.name, Node: s.d.node.String(), All: len(s.refs), Waiting: len(s.ring), Dropped: s.missed,
				Token: !s.pass.free, Held: m.held(&s.pass), Groups: t.groupsOf(func(w *member) bool { return w.seat == s })})
		}
	}
	return out, nil
}

func (t *topic) groupsOf(is func(*member) bool) []string {
	var out []string
	for _, g := range t.groups {
		if slices.ContainsFunc(g.members, func(w member) bool { return is(&w) }) {
			out = append(out, g.name)
		}
	}
	return out
}

type policyList struct {
	Policies []policyJSON `json:"policies"`
}

// showPolicy gives what holds for a channel, or all rules.
func (m *module) showPolicy(ch string) (any, error) {
	if ch == "" {
		l := policyList{[]policyJSON{}}
		for i := range m.pol.all {
			l.Policies = append(l.Policies, m.pol.all[i].json())
		}
		return policyList{append(l.Policies, m.pol.base.json())}, nil
	}
	if err := name.CheckPattern(ch); err != nil {
		return nil, err
	}
	if i := m.pol.at(ch); i >= 0 {
		return policyList{[]policyJSON{m.pol.all[i].json()}}, nil
	}
	if name.IsPattern(ch) {
		return policyList{[]policyJSON{}}, nil
	}
	return policyList{[]policyJSON{m.pol.of(ch).json()}}, nil
}

const policyKey = "policy/"

// setPolicy changes the rule of a pattern, or takes it away. It holds at once.
func (m *module) setPolicy(env *sdk.Env, set bool, r *request) (any, sdk.Code, error) {
	if err := name.CheckPattern(r.Channel); err != nil {
		return nil, sdk.InvalidArgument, err
	}
	if !set {
		if !m.pol.remove(r.Channel) {
			return nil, sdk.NotFound, fmt.Errorf("%q has no policy of its own: `nethost channel policy` lists all", r.Channel)
		}
		if m.hasState {
			env.Delete([]byte(policyKey + r.Channel))
		}
		m.changed(env)
		return policyList{[]policyJSON{}}, 0, nil
	}
	base := m.pol.base
	if i := m.pol.at(r.Channel); i >= 0 {
		base = m.pol.all[i]
	} else if len(m.pol.all) >= maxPolicies {
		return nil, sdk.Overloaded, fmt.Errorf("%d policies, the limit", maxPolicies)
	}
	p, err := parsePolicy(r.Policy, base)
	if err != nil {
		return nil, sdk.InvalidArgument, err
	}
	p.Pattern = r.Channel
	if m.hasState {
		val, _ := json.Marshal(p.json())
		env.Put([]byte(policyKey+r.Channel), val)
	}
	m.pol.put(p)
	m.changed(env)
	return policyList{[]policyJSON{p.json()}}, 0, nil
}

// changed brings all that is under way under the policies as they are now.
func (m *module) changed(env *sdk.Env) {
	m.forgetVerdicts()
	for _, t := range m.topics {
		was := t.pol
		t.pol = *m.pol.of(t.name)
		t.tokens = min(t.tokens, burst(t.pol.Rate))
		for _, s := range slices.Clone(t.seats) {
			w, err := m.readmit(s)
			switch {
			case t.pol.Visibility == "local":
				m.unseat(s, sdk.PermissionDenied, fmt.Sprintf("channel %q is for its own node now", t.name))
			case err != nil:
				m.unseat(s, sdk.PermissionDenied, err.Error())
			default:
				s.pass = w
				if was.Reliable != t.pol.Reliable {
					m.declare(s)
				}
			}
		}
		t.locals = slices.DeleteFunc(t.locals, func(l local) bool { return m.readmitLocal(&l) != nil })
		t.leaveGroups(func(w *member) bool { return w.seat == nil && m.readmitLocal(&w.local) != nil })
		m.rematch(env, t)
		m.trim(env, t)
	}
	for _, d := range m.downs {
		slices.SortStableFunc(d.seats, func(a, b *seat) int { return b.t.pol.Priority - a.t.pol.Priority })
	}
	for _, u := range m.ups {
		for _, r := range u.remotes {
			pr := r.proof
			w, err := m.admit(u.node, r.pass.scope, r.from.channel, &pr)
			if err != nil && !r.refused {
				m.refuse(env, u, r, err)
			} else if err == nil {
				r.pass = w
			}
		}
	}
}
