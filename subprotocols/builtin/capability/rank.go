package capability

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// weight is one part of a score.
type weight struct {
	key string
	by  float64
}

// parseWeights reads "KEY:WEIGHT,KEY:WEIGHT" (C3.5).
func parseWeights(s string) ([]weight, error) {
	var out []weight
	if s == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		i := strings.LastIndexByte(part, ':')
		if i <= 0 {
			return nil, invalid("weight %.60q: want KEY:NUMBER, such as hardware.cores:2", part)
		}
		n, ok := number(part[i+1:])
		if !ok || checkTag(part[:i]) != nil || strings.Contains(part[:i], "=") {
			return nil, invalid("weight %.60q: want KEY:NUMBER, such as hardware.cores:2", part)
		}
		if out = append(out, weight{part[:i], n}); len(out) > 32 {
			return nil, invalid("more than 32 weights")
		}
	}
	return out, nil
}

// ranking gives the order of an answer. What a node does not say comes last.
func ranking(by string, weights []weight) (func(a, b found) int, error) {
	id := func(a, b found) int { return strings.Compare(a.Node, b.Node) }
	switch by {
	case "":
		return id, nil
	case "nearest":
		return func(a, b found) int { return cmp.Or(least(a.CostUS, b.CostUS), id(a, b)) }, nil
	case "load":
		return func(a, b found) int { return cmp.Or(least(a.Load, b.Load), least(a.CostUS, b.CostUS), id(a, b)) }, nil
	case "score":
		if len(weights) == 0 {
			return nil, invalid("a score needs weights, such as hardware.cores:2,hardware.load_pct:-1")
		}
		return func(a, b found) int { return cmp.Or(-least(a.Score, b.Score), id(a, b)) }, nil
	}
	return nil, invalid("sort %.20q: want nearest, load or score", by)
}

func least[T cmp.Ordered](a, b *T) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return cmp.Compare(*a, *b)
}

// explanation is how a query is answered, and why a node fits or does not.
type explanation struct {
	Query string   `json:"query"`
	Plan  []string `json:"plan"`
	Found int      `json:"found"`
	Nodes int      `json:"nodes"`
	Node  string   `json:"node,omitempty"`
	Fits  *bool    `json:"fits,omitempty"`
	Terms []string `json:"terms,omitempty"`
}

// explain says how a query is answered.
func (m *module) explain(r *request) (any, error) {
	e, err := parseQuery(r.Query)
	if err != nil {
		return nil, invalid("%v", err)
	}
	out := explanation{Query: e.String(), Found: len(m.x.search(e)), Nodes: len(m.x.byID)}
	m.plan(e, 0, &out.Plan)
	if r.Node == "" {
		return out, nil
	}
	id, err := m.resolve(r.Node)
	if err != nil {
		return nil, err
	}
	who := m.nodes[id]
	if who == nil {
		return nil, invalid("nothing is known of %s", id.Short())
	}
	fits := (&row{tags: who.a.tags}).matches(e)
	out.Node, out.Fits = id.String(), &fits
	terms(e, &row{tags: who.a.tags}, &out.Terms)
	if !who.visible {
		out.Terms = append(out.Terms, "no: no path leads to it, so it is in no answer")
	}
	return out, nil
}

func (m *module) plan(e *expr, depth int, out *[]string) {
	say := func(format string, a ...any) {
		*out = append(*out, strings.Repeat("  ", depth)+fmt.Sprintf(format, a...))
	}
	switch e.op {
	case '*':
		say("every node: %d", len(m.x.byID))
	case 't':
		say("index: %s gives %d", e, m.x.atMost(e))
	case 'n':
		say("looks at all %d nodes: %s", len(m.x.byID), e)
	case 'o':
		say("puts together:")
		for _, k := range e.kids {
			m.plan(k, depth+1, out)
		}
	case 'a':
		first := m.x.cheapest(e)
		if first < 0 {
			say("looks at all %d nodes: %s", len(m.x.byID), e)
			return
		}
		m.plan(e.kids[first], depth, out)
		for i, k := range e.kids {
			if i != first {
				say("of these, those with %s", k)
			}
		}
	}
}

// terms says of each term whether a node has it, and what it has instead.
func terms(e *expr, r *row, out *[]string) {
	if e.op != 't' {
		for _, k := range e.kids {
			terms(k, r, out)
		}
		return
	}
	word := "no"
	if r.matches(e) {
		word = "yes"
	}
	has := "nothing"
	var values []string
	valuesOf(r.tags, e.key, func(v string) bool { values = append(values, strconv.Quote(v)); return len(values) < 8 })
	if values != nil {
		has = strings.Join(values, ", ")
	} else if hasKey(r.tags, e.key) {
		has = "the tag"
	}
	*out = append(*out, fmt.Sprintf("%s: %s (it has %s)", word, e, has))
}
