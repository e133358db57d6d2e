package capability

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"nethost/sdk"
)

// Limits of a tag, in bytes (C1.1).
const (
	maxKey   = 128
	maxValue = 128
)

var errTag = errors.New("no tag")

// reserved gives the prefixes that belong to one module each, by its id (C1.4).
func reserved(key string) (owner sdk.ID, ok bool) {
	for _, r := range [...]struct {
		prefix string
		owner  sdk.ID
	}{{"subprotocol:", 0x0001}, {"chan:", 0x0A00}, {"nrpc:", 0x0A10}, {"heat:", 0x0F10}} {
		if strings.HasPrefix(key, r.prefix) {
			return r.owner, true
		}
	}
	return 0, false
}

// splitTag gives key and value; has tells "key=" from "key".
func splitTag(t string) (key, value string, has bool) { return strings.Cut(t, "=") }

// checkTag says what is wrong with the form of a tag (C1.1).
func checkTag(t string) error {
	key, value, has := splitTag(t)
	switch {
	case key == "" || len(key) > maxKey || len(value) > maxValue || has && value == "":
		return fmt.Errorf("%w: %.40q: want KEY or KEY=VALUE, with a key of 1 to %d bytes and a value of 1 to %d", errTag, t, maxKey, maxValue)
	case strings.TrimSpace(value) != value:
		return fmt.Errorf("%w: %.40q has a value with spaces around it", errTag, t)
	}
	for i := range len(key) {
		if !keyByte(key[i]) {
			return fmt.Errorf("%w: %.40q: a key is made of letters, digits and any of _ . : / @ + -", errTag, t)
		}
	}
	for i := range len(value) {
		if value[i] < ' ' || value[i] > '~' {
			return fmt.Errorf("%w: %.40q: a value is made of printable ASCII", errTag, t)
		}
	}
	return nil
}

func keyByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_.:/@+-", c) >= 0
}

// number reads a plain decimal number.
func number(s string) (float64, bool) {
	if s == "" || len(s) > 32 || strings.IndexByte("+-.0123456789", s[0]) < 0 || strings.ContainsAny(s, "xXpP_") {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && !math.IsInf(f, 0) && !math.IsNaN(f)
}

// version is a parsed "6.8.0-rc1": numbers, and what follows them.
type version struct {
	n    [4]uint64
	rest string
	// pre says that rest marks something before the release.
	pre bool
}

// parseVersion reads one to four numbers with dots, an optional "v" before and
// "-REST" or "+REST" behind (semver.org 2.0.0, sections 9 to 11, with fewer or more
// numbers allowed).
func parseVersion(s string) (version, bool) {
	var v version
	s = strings.TrimPrefix(s, "v")
	if i := strings.IndexAny(s, "-+"); i >= 0 {
		v.rest, v.pre = s[i+1:], s[i] == '-'
		s = s[:i]
	}
	for i := 0; ; i++ {
		part, rest, more := strings.Cut(s, ".")
		n, err := strconv.ParseUint(part, 10, 64)
		if err != nil || i == len(v.n) || part[0] == '+' {
			return version{}, false
		}
		v.n[i] = n
		if !more {
			return v, true
		}
		s = rest
	}
}

func (v version) compare(w version) int {
	for i := range v.n {
		if c := cmp.Compare(v.n[i], w.n[i]); c != 0 {
			return c
		}
	}
	switch {
	case v.pre != w.pre:
		if v.pre {
			return -1
		}
		return 1
	case v.pre:
		return strings.Compare(v.rest, w.rest)
	}
	return 0 // what stands behind "+" has no rank
}

// holds reports whether a value stands in relation op to a literal (C3.3).
func holds(key, value, op, literal string) bool {
	if op == "=" {
		return value == literal
	}
	var c int
	a, okA := number(value)
	b, okB := number(literal)
	if okA && okB && kindOf(key) != kindVersion {
		c = cmp.Compare(a, b)
	} else {
		v, okV := parseVersion(value)
		w, okW := parseVersion(literal)
		if !okV || !okW {
			return false
		}
		c = v.compare(w)
	}
	switch op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	case ">=":
		return c >= 0
	}
	return false
}
