package capability

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"nethost/sdk"
)

// request is what every method takes, as JSON; each reads what it needs.
type request struct {
	Query string `json:"query"`
	// Sort is "", "nearest", "load" or "score".
	Sort string `json:"sort"`
	// Weights of a score: "hardware.cores:1,hardware.load_pct:-0.5".
	Weights string `json:"weights"`
	// Limit the nodes of an answer; 0: all.
	Limit int `json:"limit"`
	// Node is a NodeID or its beginning; "": this node, where that makes sense.
	Node string   `json:"node"`
	Tags []string `json:"tags"`
}

// fault is an answer that is a refusal.
type fault struct {
	code sdk.Code
	text string
}

func (f *fault) Error() string { return f.text }

func invalid(format string, a ...any) error {
	return &fault{sdk.InvalidArgument, fmt.Sprintf(format, a...)}
}

// answer does what a call asks for, once its request is there in full.
func (m *module) answer(env *sdk.Env, c *call) {
	var r request
	if len(bytes.TrimSpace(c.in)) > 0 {
		d := json.NewDecoder(bytes.NewReader(c.in))
		d.DisallowUnknownFields()
		if err := d.Decode(&r); err != nil {
			m.refuse(env, c, sdk.InvalidArgument, "the request is no JSON object that this method takes: "+err.Error())
			return
		}
	}
	c.in = nil
	var v any
	var err error
	switch c.method {
	case "", "ls":
		v, err = m.list()
	case "show":
		v, err = m.showNode(env, &r)
	case "find":
		v, err = m.find(&r)
	case "watch":
		err = m.watch(c, &r)
	case "tags":
		v = tagList{slices.Clone(m.operator)}
	case "tag-add", "tag-rm":
		v, err = m.edit(env, c.method == "tag-add", r.Tags)
	case "check":
		v, err = m.checkNode(&r)
	case "explain":
		v, err = m.explain(&r)
	case "stats":
		root := m.gossip.Root()
		v = stats{len(m.nodes), len(m.x.byID), len(m.x.keys), m.bytes, m.gossip.Peers(), m.gossip.Compared(env.Now()), fmt.Sprintf("%x", root[:8])}
	default:
		err = &fault{sdk.Unimplemented, fmt.Sprintf("capability has no method %q: it has %s", c.method, strings.Join(m.Describe().Methods, ", "))}
	}
	if f, ok := err.(*fault); ok {
		m.refuse(env, c, f.code, f.text)
	} else if c.watch == nil {
		c.reply(v)
	}
}

type tagList struct {
	Tags []string `json:"tags"`
}

type stats struct {
	Announcements int    `json:"announcements"`
	Visible       int    `json:"visible"`
	Keys          int    `json:"keys"`
	Bytes         int    `json:"bytes"`
	Neighbours    int    `json:"neighbours"`
	Compared      bool   `json:"compared"`
	Root          string `json:"root"`
}

// found is a node in an answer.
type found struct {
	Node   string   `json:"node"`
	Self   bool     `json:"self,omitempty"`
	CostUS *uint64  `json:"cost_us,omitempty"`
	Load   *float64 `json:"load_pct,omitempty"`
	Score  *float64 `json:"score,omitempty"`
	Tags   []string `json:"tags"`
}

type foundList struct {
	Nodes []found `json:"nodes"`
	Total int     `json:"total"` // before the limit
}

func (m *module) entry(id sdk.NodeID, tags []string) found {
	f := found{Node: id.String(), Self: id == m.self, Tags: tags}
	if cost, ok := m.routes[id]; ok || f.Self {
		f.CostUS = &cost
	}
	if load, ok := numberOf(tags, "hardware.load_pct"); ok {
		f.Load = &load
	}
	return f
}

// numberOf is the first number that a key has.
func numberOf(tags []string, key string) (n float64, ok bool) {
	valuesOf(tags, key, func(val string) bool {
		n, ok = number(val)
		return !ok
	})
	return n, ok
}

func (m *module) list() (any, error) { return m.find(&request{}) }

// find answers a query, in the order asked for; equal ones stand by NodeID (C3.5).
func (m *module) find(r *request) (any, error) {
	e, err := parseQuery(r.Query)
	if err != nil {
		return nil, invalid("%v", err)
	}
	weights, err := parseWeights(r.Weights)
	if err != nil {
		return nil, err
	}
	rank, err := ranking(r.Sort, weights)
	if err != nil {
		return nil, err
	}
	if r.Limit < 0 {
		return nil, invalid("limit %d: want 0 for all, or more", r.Limit)
	}
	slots := m.x.search(e)
	out := foundList{Nodes: make([]found, 0, len(slots)), Total: len(slots)}
	for _, s := range slots {
		f := m.entry(m.x.rows[s].id, m.x.rows[s].tags)
		if r.Sort == "score" {
			score := 0.0
			for _, w := range weights {
				n, _ := numberOf(f.Tags, w.key)
				score += n * w.by
			}
			f.Score = &score
		}
		out.Nodes = append(out.Nodes, f)
	}
	slices.SortFunc(out.Nodes, rank)
	if r.Limit > 0 && len(out.Nodes) > r.Limit {
		out.Nodes = out.Nodes[:r.Limit]
	}
	return out, nil
}

// resolve finds a node by its id or the beginning of it.
func (m *module) resolve(prefix string) (sdk.NodeID, error) {
	if prefix == "" {
		return m.self, nil
	}
	var hits []sdk.NodeID
	for _, id := range m.sorted() {
		if strings.HasPrefix(id.String(), prefix) {
			hits = append(hits, id)
		}
	}
	switch len(hits) {
	case 0:
		return sdk.NodeID{}, &fault{sdk.NotFound, fmt.Sprintf("no node that announced itself begins with %.60q: `nethost cap ls` lists them", prefix)}
	case 1:
		return hits[0], nil
	}
	return sdk.NodeID{}, invalid("%.60q fits %d nodes: give more of it", prefix, len(hits))
}

// shown is all that is known of a node.
type shown struct {
	found
	Reachable   bool      `json:"reachable"`
	Incarnation uint64    `json:"incarnation"`
	Counter     uint64    `json:"counter"`
	AgeS        float64   `json:"age_s"`
	LifetimeS   float64   `json:"lifetime_s"`
	Bytes       int       `json:"bytes"`
	Operator    []string  `json:"operator_tags,omitempty"` // of this node itself
	Findings    []finding `json:"findings,omitempty"`
}

func (m *module) showNode(env *sdk.Env, r *request) (any, error) {
	id, err := m.resolve(r.Node)
	if err != nil {
		return nil, err
	}
	n := m.nodes[id]
	if n == nil {
		return nil, &fault{sdk.NotFound, "this node has not announced itself: does capability have the grant sign?"}
	}
	s := shown{found: m.entry(id, n.a.tags), Reachable: n.visible, Incarnation: n.a.version[0], Counter: n.a.version[1],
		AgeS: (env.Now() - n.at).Seconds(), LifetimeS: n.a.ttl.Seconds(), Bytes: len(n.body), Findings: check(n.a.tags)}
	if id == m.self {
		s.Operator = m.operator
	}
	return s, nil
}

func (m *module) checkNode(r *request) (any, error) {
	type result struct {
		Node     string    `json:"node"`
		Checked  int       `json:"checked"`
		Findings []finding `json:"findings"`
	}
	if len(r.Tags) > 0 {
		for _, t := range r.Tags {
			if err := checkTag(t); err != nil {
				return nil, invalid("%v", err)
			}
		}
		return result{"", len(r.Tags), check(r.Tags)}, nil
	}
	id, err := m.resolve(r.Node)
	if err != nil {
		return nil, err
	}
	var tags []string
	if n := m.nodes[id]; n != nil {
		tags = n.a.tags
	}
	return result{id.String(), len(tags), check(tags)}, nil
}

// operatorFault says why an operator may not give a tag, "" when it may.
func operatorFault(t string) string {
	if err := checkTag(t); err != nil {
		return err.Error()
	}
	key, _, _ := splitTag(t)
	if owner, ok := reserved(key); ok {
		return fmt.Sprintf("%q: tags that begin so belong to the module that holds %v", t, owner)
	}
	return ""
}

// edit changes the operator's tags.
func (m *module) edit(env *sdk.Env, add bool, tags []string) (any, error) {
	if len(tags) == 0 {
		return nil, invalid("no tag is given")
	}
	next := slices.Clone(m.operator)
	for _, t := range tags {
		if why := operatorFault(t); why != "" {
			return nil, invalid("%s", why)
		}
		if add {
			next = append(next, t)
		} else if i := slices.Index(next, t); i >= 0 {
			next = slices.Delete(next, i, i+1)
		} else {
			return nil, &fault{sdk.NotFound, fmt.Sprintf("%q is no tag of the operator: `nethost cap show` lists them", t)}
		}
	}
	next = merge(next)
	val := sdk.AppendTags(nil, next)
	if len(next) > MaxTags/2 || len(val) > MaxAnnouncement/2 {
		return nil, &fault{sdk.Overloaded, fmt.Sprintf("%d tags of %d bytes: an announcement has room for %d of %d", len(next), len(val), MaxTags/2, MaxAnnouncement/2)}
	}
	m.operator, m.dirty = next, true
	if m.hasState {
		env.Put([]byte(keyTags), val)
	}
	return tagList{next}, nil
}

// watch makes a call one that goes on: first the nodes that fit, then what changes.
func (m *module) watch(c *call, r *request) error {
	e, err := parseQuery(r.Query)
	if err != nil {
		return invalid("%v", err)
	}
	c.watch = &watch{e: e, inside: map[sdk.NodeID]bool{}}
	slots := m.x.search(e)
	ids := make([]sdk.NodeID, 0, len(slots))
	for _, s := range slots {
		ids = append(ids, m.x.rows[s].id)
	}
	slices.SortFunc(ids, sdk.NodeID.Compare)
	for _, id := range ids {
		c.watch.inside[id] = true
		c.event(event{"add", id.String(), m.x.byID[id].tags})
	}
	c.event(event{Change: "ready"})
	return nil
}
