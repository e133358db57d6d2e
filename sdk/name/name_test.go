package name

import (
	"errors"
	"strings"
	"testing"
)

// TestCheck: N1, N2 and N3.2.
func TestCheck(t *testing.T) {
	long := strings.Repeat("a", MaxLen)
	for _, c := range []struct {
		s             string
		name, pattern bool
	}{
		{"sensors/temp/3", true, true}, {"a", true, true}, {"A-b_c.d/0", true, true}, {long, true, true},
		{strings.Repeat("a/", 15) + "a", true, true},
		{"sensors/*", false, true}, {"sensors/**", false, true}, {"*", false, true}, {"**", false, true}, {"*/a/*", false, true},
		{"", false, false}, {"/", false, false}, {"/a", false, false}, {"a/", false, false}, {"a//b", false, false},
		{"a b", false, false}, {"a/../b", false, false}, {".a", false, false}, {"a\x00", false, false}, {"ä", false, false},
		{long + "a", false, false}, {strings.Repeat("a/", 16) + "a", false, false},
		{"a/**/b", false, false}, {"a*", false, false}, {"***", false, false}, {"**/**", false, false},
	} {
		if err := Check(c.s); (err == nil) != c.name || err != nil && !errors.Is(err, ErrName) {
			t.Errorf("Check(%.40q) = %v, want it to be a name: %v", c.s, err, c.name)
		}
		if err := CheckPattern(c.s); (err == nil) != c.pattern || err != nil && !errors.Is(err, ErrName) {
			t.Errorf("CheckPattern(%.40q) = %v, want it to be a pattern: %v", c.s, err, c.pattern)
		}
	}
}

// TestMatch: N2.
func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"sensors/a", "sensors/a", true}, {"sensors/a", "sensors/ab", false}, {"sensors/a", "sensors/a/b", false}, {"sensors/a", "Sensors/a", false},
		{"sensors/*", "sensors/a", true}, {"sensors/*", "sensors", false}, {"sensors/*", "sensors/a/b", false},
		{"sensors/**", "sensors/a", true}, {"sensors/**", "sensors/a/b/c", true}, {"sensors/**", "sensors", false}, {"sensors/**", "sensorsx/a", false},
		{"*/temp/*", "x/temp/3", true}, {"*/temp/*", "x/hum/3", false}, {"**", "a/b", true}, {"*", "a/b", false},
	} {
		if got := Match(c.pattern, c.name); got != c.want {
			t.Errorf("Match(%q, %q) = %v", c.pattern, c.name, got)
		}
	}
}

// TestCovers: N3.1 against the dumb twin, which tries every name of three parts
// over a small alphabet. The alphabet holds a part that no pattern names.
func TestCovers(t *testing.T) {
	parts := []string{"a", "b", "*", "**"}
	var patterns, names []string
	grow := func(into *[]string, alphabet []string, depth int) {
		level := []string{""}
		for range depth {
			var next []string
			for _, head := range level {
				for _, p := range alphabet {
					next = append(next, strings.TrimPrefix(head+"/"+p, "/"))
				}
			}
			*into = append(*into, next...)
			level = next
		}
	}
	grow(&patterns, parts, 3)
	grow(&names, []string{"a", "b", "z"}, 5)
	n := 0
	for _, o := range patterns {
		for _, i := range patterns {
			if CheckPattern(o) != nil || CheckPattern(i) != nil {
				continue
			}
			want := true
			for _, s := range names {
				want = want && (!twin(i, s) || twin(o, s))
			}
			if got := Covers(o, i); got != want {
				t.Fatalf("Covers(%q, %q) = %v", o, i, got)
			}
			n++
		}
	}
	if n < 1000 {
		t.Fatalf("only %d pairs were tried", n)
	}
}

// twin matches by recursion over split parts.
func twin(pattern, s string) bool {
	var match func(p, n []string) bool
	match = func(p, n []string) bool {
		if len(p) == 0 || len(n) == 0 {
			return len(p) == len(n)
		}
		return p[0] == "**" || (p[0] == "*" || p[0] == n[0]) && match(p[1:], n[1:])
	}
	return match(strings.Split(pattern, "/"), strings.Split(s, "/"))
}

func TestNoAllocations(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { Match("sensors/*/3", "sensors/temp/3") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzMatch: a valid name matches itself and "**"; matching agrees with the twin.
func FuzzMatch(f *testing.F) {
	f.Add("sensors/*", "sensors/a")
	f.Add("a/**", "a/b/c")
	f.Add("a//", "")
	f.Fuzz(func(t *testing.T, p, s string) {
		if Check(s) != nil {
			return
		}
		if CheckPattern(s) != nil || !Match(s, s) || !Match("**", s) || IsPattern(s) {
			t.Fatalf("%q is a name and no pattern of itself", s)
		}
		if CheckPattern(p) == nil && Match(p, s) != twin(p, s) {
			t.Fatalf("Match(%q, %q) = %v", p, s, Match(p, s))
		}
	})
}
