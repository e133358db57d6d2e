package name

import (
	"errors"
	"fmt"
	"strings"
)

// Limits of names and patterns (N1.2).
const (
	// MaxLen bounds a whole name or pattern, in bytes.
	MaxLen = 255
	// MaxSegments bounds the parts between slashes.
	MaxSegments = 16
)

// ErrName is wrapped by every error of Check and CheckPattern.
var ErrName = errors.New("not a name")

// Check says what is wrong with a name; nil when nothing is (N1).
func Check(s string) error { return check(s, false) }

// CheckPattern says what is wrong with a pattern; nil when nothing is. Every name
// is a pattern that matches itself alone (N2).
func CheckPattern(s string) error { return check(s, true) }

func check(s string, pattern bool) error {
	if s == "" || len(s) > MaxLen {
		return fmt.Errorf("%w: %d bytes, want 1 to %d", ErrName, len(s), MaxLen)
	}
	rest, more := s, true
	for n := 1; more; n++ {
		var seg string
		seg, rest, more = strings.Cut(rest, "/")
		switch {
		case n > MaxSegments:
			return fmt.Errorf("%w: %q has more than %d parts", ErrName, s, MaxSegments)
		case seg == "":
			return fmt.Errorf("%w: %q has an empty part: no slash at either end, nor two in a row", ErrName, s)
		case pattern && seg == "*":
			continue
		case pattern && seg == "**":
			if more {
				return fmt.Errorf("%w: %q goes on behind \"**\", which stands for all the rest", ErrName, s)
			}
			continue
		case seg[0] == '.':
			return fmt.Errorf("%w: %q has a part that begins with a dot", ErrName, s)
		}
		for i := range len(seg) {
			if !letter(seg[i]) {
				return fmt.Errorf("%w: %q holds %q: a part is made of letters, digits, '_', '-' and '.'%s", ErrName, s, seg[i:i+1], hint(seg, pattern))
			}
		}
	}
	return nil
}

func hint(seg string, pattern bool) string {
	switch {
	case !strings.Contains(seg, "*"):
		return ""
	case pattern:
		return "; '*' and '**' stand alone between slashes"
	}
	return "; '*' belongs into patterns"
}

func letter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.'
}

// IsPattern reports whether a valid pattern stands for more than itself.
func IsPattern(s string) bool { return strings.IndexByte(s, '*') >= 0 }

// Match reports whether a valid pattern stands for a valid name (N2). It
// allocates nothing.
func Match(pattern, s string) bool { return Covers(pattern, s) }

// Covers reports whether every name that inner stands for is one that outer
// stands for; both are valid (N3). A name is a pattern, so that Covers(p, n) is
// Match(p, n). It allocates nothing.
func Covers(outer, inner string) bool {
	for {
		o, oRest, oMore := strings.Cut(outer, "/")
		i, iRest, iMore := strings.Cut(inner, "/")
		switch {
		case o == "**":
			return true // inner has this part at least
		case i == "**" || o != "*" && o != i:
			return false
		case oMore != iMore:
			return false
		case !oMore:
			return true
		}
		outer, inner = oRest, iRest
	}
}
