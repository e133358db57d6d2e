package channels

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"nethost/sdk"
	"nethost/sdk/name"
)

const (
	tagPrefix = "chan:"
	// below is the value of a tag that stands for all channels below its key.
	below = "below"
	// maxTagName bounds a name that a tag holds whole, maxBelow a part of one, in
	// bytes: a key has at most 128.
	maxTagName = 123
	maxBelow   = 100
	// maxTags and maxTagBytes bound what this module announces.
	maxTags     = 128
	maxTagBytes = 8 << 10
	maxLine     = 256 << 10
)

// want is a pattern that is wanted here, and the query to capability that finds who
// publishes for it.
type want struct {
	pattern string
	subs    int
	ref     sdk.Ref // of the watch; 0: none
	in      []byte
	nodes   []sdk.NodeID // that fit
	seen    []sdk.NodeID // since the watch was opened, until it is ready
	ready   bool
	retryAt time.Duration // 0: it is open
	warned  bool
}

// want counts a subscription for its pattern.
func (m *module) want(s *sub) {
	for _, w := range m.wants {
		if w.pattern == s.pattern {
			w.subs++
			return
		}
	}
	m.wants = append(m.wants, &want{pattern: s.pattern, subs: 1, retryAt: 1})
}

func (m *module) unwant(env *sdk.Env, s *sub) {
	i := slices.IndexFunc(m.wants, func(w *want) bool { return w.pattern == s.pattern })
	if i < 0 {
		return
	}
	w := m.wants[i]
	if w.subs--; w.subs > 0 {
		return
	}
	m.wants = slices.Delete(m.wants, i, i+1)
	if w.ref != 0 {
		env.Reset(w.ref, sdk.Cancelled, "nobody wants it any more")
		delete(m.byRef, w.ref)
	}
	for _, id := range w.nodes {
		m.unlist(env, id, w.pattern)
	}
}

// full says why a pattern can not be wanted; "" when it can.
func (m *module) full(pattern string) string {
	if len(m.wants) >= maxWants && !slices.ContainsFunc(m.wants, func(w *want) bool { return w.pattern == pattern }) {
		return fmt.Sprintf("%d different patterns are subscribed to on this node, the limit: use a pattern that holds several", maxWants)
	}
	return ""
}

// query asks capability for the nodes whose tags may stand for channels of a pattern
// (F2).
func query(pattern string) string {
	var terms []string
	if !name.IsPattern(pattern) && len(pattern) <= maxTagName {
		terms = append(terms, tagPrefix+pattern)
	}
	if name.IsPattern(pattern) {
		head := literal(pattern)
		for len(head) > maxBelow {
			head = parent(head)
		}
		if head == "" {
			return tagPrefix + "*"
		}
		terms = append(terms, tagPrefix+head+"/*", tagPrefix+head+"="+below)
		pattern = head
	}
	for p := parent(pattern); ; p = parent(p) {
		if len(p) <= maxBelow {
			terms = append(terms, tagPrefix+p+"="+below)
		}
		if p == "" {
			return strings.Join(terms, " or ")
		}
	}
}

// literal gives the parts of a pattern before the first one that is none of a name.
func literal(pattern string) string {
	head := ""
	for part := range strings.SplitSeq(pattern, "/") {
		if part == "*" || part == "**" {
			break
		}
		head = strings.TrimPrefix(head+"/"+part, "/")
	}
	return head
}

// parent gives a name without its last part, "" for one part.
func parent(s string) string {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return ""
	}
	return s[:i]
}

// fits says that a tag stands for channels of a pattern.
func fits(pattern, tag string) bool {
	ch, ok := strings.CutPrefix(tag, tagPrefix)
	if !ok {
		return false
	}
	head, isBelow := strings.CutSuffix(ch, "="+below)
	if !isBelow {
		return name.Check(ch) == nil && name.Match(pattern, ch)
	}
	if head == "" {
		return true
	}
	// Something below head may match when head's parts do, as far as the pattern goes.
	p, h := strings.Split(pattern, "/"), strings.Split(head, "/")
	for i := range h {
		switch {
		case i == len(p):
			return false
		case p[i] == "**":
			return true
		case p[i] != "*" && p[i] != h[i]:
			return false
		}
	}
	return len(p) > len(h)
}

// capLine is a line of capability.watch.
type capLine struct {
	Change string   `json:"change"`
	Node   string   `json:"node"`
	Tags   []string `json:"tags"`
}

// capHeard takes what capability tells.
func (m *module) capHeard(env *sdk.Env, w *want, line []byte) {
	var l capLine
	if json.Unmarshal(line, &l) != nil {
		return
	}
	if l.Change == "ready" {
		w.ready = true
		for _, id := range slices.Clone(w.nodes) {
			if !slices.Contains(w.seen, id) {
				m.lost(env, w, id)
			}
		}
		w.seen = nil
		return
	}
	id, err := sdk.ParseNodeID(l.Node)
	if err != nil {
		return
	}
	if l.Change == "remove" || !slices.ContainsFunc(l.Tags, func(t string) bool { return fits(w.pattern, t) }) {
		m.lost(env, w, id)
		return
	}
	if !w.ready {
		w.seen = append(w.seen, id)
	}
	if !slices.Contains(w.nodes, id) {
		w.nodes = append(w.nodes, id)
		m.list(env, id, w.pattern)
	}
}

func (m *module) lost(env *sdk.Env, w *want, id sdk.NodeID) {
	if i := slices.Index(w.nodes, id); i >= 0 {
		w.nodes = slices.Delete(w.nodes, i, i+1)
		m.unlist(env, id, w.pattern)
	}
}

// findPublishers opens the watches that are due.
func (m *module) findPublishers(env *sdk.Env) {
	for _, w := range m.wants {
		if w.retryAt == 0 || env.Now() < w.retryAt {
			continue
		}
		w.retryAt, w.in, w.seen, w.ready = 0, nil, nil, false
		w.ref = env.OpenModule(capabilityID, sdk.Open{Method: "watch"})
		req, _ := json.Marshal(map[string]string{"query": query(w.pattern)})
		env.Write(w.ref, req, true)
		m.byRef[w.ref] = w
	}
}

// capLost: what was found stays; only news is missing.
func (m *module) capLost(env *sdk.Env, w *want, why string) {
	delete(m.byRef, w.ref)
	w.ref, w.retryAt = 0, env.Now()+time.Second
	if !w.warned {
		w.warned = true
		env.Log(sdk.LogWarn, "the module capability does not tell who publishes ("+why+"): run it, and give [grants.channels] call = [\"capability\", \"identity\"]")
	}
}

// lines gives the whole lines of a stream to f. in holds what is not whole.
func lines(in, b []byte, f func([]byte)) []byte {
	in = append(in, b...)
	rest := in
	for {
		line, after, ok := bytes.Cut(rest, []byte("\n"))
		if !ok {
			break
		}
		f(line)
		rest = after
	}
	if len(rest) > maxLine {
		return nil
	}
	return append(in[:0], rest...)
}

// announce tells the mesh which channels are published here (F1).
func (m *module) announce(env *sdk.Env) {
	var tags []string
	size := 0
	for _, t := range m.topics {
		if t.pol.Visibility == "local" {
			continue
		}
		tags = append(tags, tagOf(t.name))
		size += len(t.name) + len(tagPrefix)
	}
	if len(tags) > maxTags || size > maxTagBytes {
		for i, t := range tags {
			first, _, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(t, tagPrefix), "="+below), "/")
			if len(first) > maxBelow {
				first = ""
			}
			// A name of one part is not below itself.
			if !strings.Contains(t, "/") {
				first = ""
			}
			tags[i] = tagPrefix + first + "=" + below
		}
	}
	slices.Sort(tags)
	if tags = slices.Compact(tags); len(tags) > maxTags {
		tags = []string{tagPrefix + "=" + below}
	}
	if !slices.Equal(tags, m.told) {
		m.told = tags
		env.Announce(tags)
	}
}

// tagOf gives the tag of a channel: its name, or when that is too long the longest
// beginning that is not.
func tagOf(ch string) string {
	if len(ch) <= maxTagName {
		return tagPrefix + ch
	}
	for ch = parent(ch); len(ch) > maxBelow; ch = parent(ch) {
	}
	return tagPrefix + ch + "=" + below
}
