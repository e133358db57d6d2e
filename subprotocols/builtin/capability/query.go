package capability

import (
	"errors"
	"fmt"
	"strings"
)

// Limits of a query (C3.1).
const (
	maxQuery = 4 << 10
	maxTerms = 128
	maxNest  = 32
)

var errQuery = errors.New("no query")

// expr is a parsed query.
type expr struct {
	op   byte // 'a'nd, 'o'r, 'n'ot, 't'erm, '*' everything
	kids []*expr
	// A term: a key, or with prefix all keys that begin so; op "" asks whether the
	// tag exists.
	key, cmp, val string
	prefix        bool // of the key, or with cmp "=" of the value
}

// parser reads a query of C3.1.
type parser struct {
	s     string
	at    int
	terms int
	nest  int
}

// parseQuery reads a query. The empty one fits every node.
func parseQuery(s string) (*expr, error) {
	if len(s) > maxQuery {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", errQuery, len(s), maxQuery)
	}
	p := &parser{s: s}
	if p.space(); p.at == len(s) {
		return &expr{op: '*'}, nil
	}
	e, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.at < len(s) {
		return nil, p.fail("want \"and\", \"or\" or the end")
	}
	return e, nil
}

func (p *parser) fail(what string) error {
	return fmt.Errorf("%w: at character %d, before %.20q: %s", errQuery, p.at+1, p.s[p.at:], what)
}

func (p *parser) space() {
	for p.at < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.at]) >= 0 {
		p.at++
	}
}

// word takes a keyword.
func (p *parser) word(w string) bool {
	end := p.at + len(w)
	if !strings.HasPrefix(p.s[p.at:], w) || end < len(p.s) && keyByte(p.s[end]) {
		return false
	}
	p.at = end
	p.space()
	return true
}

func (p *parser) or() (*expr, error) { return p.list('o', "or", p.and) }

func (p *parser) and() (*expr, error) { return p.list('a', "and", p.not) }

func (p *parser) list(op byte, word string, part func() (*expr, error)) (*expr, error) {
	first, err := part()
	if err != nil {
		return nil, err
	}
	e := &expr{op: op, kids: []*expr{first}}
	for p.word(word) {
		next, err := part()
		if err != nil {
			return nil, err
		}
		e.kids = append(e.kids, next)
	}
	if len(e.kids) == 1 {
		return first, nil
	}
	return e, nil
}

func (p *parser) not() (*expr, error) {
	if p.nest++; p.nest > maxNest {
		return nil, p.fail(fmt.Sprintf("more than %d levels", maxNest))
	}
	defer func() { p.nest-- }()
	if p.word("not") {
		e, err := p.not()
		return &expr{op: 'n', kids: []*expr{e}}, err
	}
	if p.at < len(p.s) && p.s[p.at] == '(' {
		p.at++
		p.space()
		e, err := p.or()
		if err != nil {
			return nil, err
		}
		if p.at == len(p.s) || p.s[p.at] != ')' {
			return nil, p.fail("want \")\"")
		}
		p.at++
		p.space()
		return e, nil
	}
	return p.term()
}

func (p *parser) term() (*expr, error) {
	if p.terms++; p.terms > maxTerms {
		return nil, p.fail(fmt.Sprintf("more than %d terms", maxTerms))
	}
	begin := p.at
	for p.at < len(p.s) && keyByte(p.s[p.at]) {
		p.at++
	}
	e := &expr{op: 't', key: p.s[begin:p.at]}
	if e.key == "" || len(e.key) > maxKey {
		return nil, p.fail("want a tag such as hardware.cores")
	}
	if e.key == "and" || e.key == "or" || e.key == "not" {
		p.at = begin
		return nil, p.fail("want a tag, not a word of the language")
	}
	if p.at < len(p.s) && p.s[p.at] == '*' {
		e.prefix = true
		p.at++
		p.space()
		return e, nil
	}
	p.space()
	for _, op := range [...]string{"<=", ">=", "!=", "==", "<", ">", "="} {
		if strings.HasPrefix(p.s[p.at:], op) {
			p.at += len(op)
			p.space()
			return p.value(e, op)
		}
	}
	return e, nil
}

// value reads what stands behind an operator.
func (p *parser) value(e *expr, op string) (*expr, error) {
	if p.at < len(p.s) && p.s[p.at] == '"' {
		end := strings.IndexByte(p.s[p.at+1:], '"')
		if end < 0 {
			return nil, p.fail("the quotation does not end")
		}
		e.val = p.s[p.at+1 : p.at+1+end]
		p.at += end + 2
	} else {
		begin := p.at
		for p.at < len(p.s) && keyByte(p.s[p.at]) {
			p.at++
		}
		e.val = p.s[begin:p.at]
	}
	if e.val == "" || len(e.val) > maxValue {
		return nil, p.fail(fmt.Sprintf("want a value of 1 to %d bytes; one with spaces stands in quotation marks", maxValue))
	}
	e.cmp = op
	if op == "==" || op == "!=" {
		e.cmp = "="
	}
	if e.cmp == "=" && p.at < len(p.s) && p.s[p.at] == '*' {
		e.prefix = true
		p.at++
	}
	p.space()
	if op == "!=" {
		return &expr{op: 'n', kids: []*expr{e}}, nil
	}
	if e.cmp != "=" {
		_, okN := number(e.val)
		if _, okV := parseVersion(e.val); !okN && !okV {
			return nil, p.fail(fmt.Sprintf("%s compares numbers and versions, and %q is neither", op, e.val))
		}
	}
	return e, nil
}

// String writes the query in its full form, every list in parentheses.
func (e *expr) String() string {
	switch e.op {
	case '*':
		return ""
	case 'n':
		return "not " + e.kids[0].String()
	case 'a', 'o':
		word := map[byte]string{'a': " and ", 'o': " or "}[e.op]
		parts := make([]string, len(e.kids))
		for i, k := range e.kids {
			parts[i] = k.String()
		}
		return "(" + strings.Join(parts, word) + ")"
	}
	star := ""
	if e.prefix {
		star = "*"
	}
	if e.cmp == "" {
		return e.key + star
	}
	return e.key + e.cmp + "\"" + e.val + "\"" + star
}
