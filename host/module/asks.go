package module

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Ask is one right or resource that a package asks for, such as {"state", 1<<20}
// or {"call:capability", 0}. The value is a number of bytes, nanoseconds or
// events; it is 0 where there is nothing to count.
type Ask struct {
	Name  string
	Value uint64
}

// askRule: a kind, and what of it.
var askRule = regexp.MustCompile(`^[a-z_]+(:[ -~]*)?$`)

// String writes an ask as nethost.lock has it: "state=1048576", "sign".
func (a Ask) String() string {
	if a.Value == 0 {
		return a.Name
	}
	return a.Name + "=" + strconv.FormatUint(a.Value, 10)
}

// Amount writes the value for people, "" when there is none.
func (a Ask) Amount() string {
	switch {
	case a.Value == 0:
		return ""
	case a.Name == "cpu" || a.Name == "cpu_max":
		return time.Duration(a.Value).String()
	case a.Name == "mailbox":
		return strconv.FormatUint(a.Value, 10)
	}
	for _, u := range []struct {
		name string
		size uint64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if a.Value%u.size == 0 {
			return fmt.Sprintf("%d%s", a.Value/u.size, u.name)
		}
	}
	return fmt.Sprintf("%dB", a.Value)
}

// ParseAsk reads what Ask.String writes.
func ParseAsk(s string) (Ask, error) {
	a := Ask{Name: s}
	if i := strings.LastIndexByte(s, '='); i > 0 && strings.IndexByte(s, ':') < 0 {
		n, err := strconv.ParseUint(s[i+1:], 10, 64)
		if err != nil || n == 0 {
			return a, fmt.Errorf("%q: want a name and a number such as \"state=1048576\"", s)
		}
		a = Ask{s[:i], n}
	}
	if !askRule.MatchString(a.Name) || a.String() != s {
		return a, fmt.Errorf("%q: want an entry such as \"state=1048576\" or \"call:echo\"", s)
	}
	return a, nil
}

// Asks lists everything a package asks for, sorted: its grants, limits and ids,
// and "process" when it is to run outside the sandbox.
func (m *Manifest) Asks() []Ask {
	asks := m.Wanted.asks()
	asks = append(asks, Ask{"memory", m.Limits.Memory}, Ask{"cpu", uint64(m.Limits.CPU)}, Ask{"cpu_max", uint64(m.Limits.CPUMax)},
		Ask{"mailbox", uint64(m.Limits.Mailbox)})
	if m.Limits.Inline {
		asks = append(asks, Ask{Name: "inline"})
	}
	if m.Carrier == Process {
		asks = append(asks, Ask{Name: "process"})
	}
	for _, p := range m.Subprotocols {
		asks = append(asks, Ask{Name: fmt.Sprintf("id:%v@%d", p.ID, p.Version.Major)})
		if p.Required {
			asks = append(asks, Ask{Name: fmt.Sprintf("required:%v@%d", p.ID, p.Version.Major)})
		}
	}
	return sortAsks(asks)
}

func sortAsks(asks []Ask) []Ask {
	slices.SortFunc(asks, func(a, b Ask) int { return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Value, b.Value)) })
	return slices.CompactFunc(asks, func(a, b Ask) bool { return a.Name == b.Name })
}

// asks gives the grants as asks.
func (g *Grants) asks() []Ask {
	var out []Ask
	for _, name := range g.List() {
		a := Ask{Name: name}
		switch name {
		case "state":
			a.Value = g.State
		case "data":
			a.Value = g.Data
		}
		out = append(out, a)
	}
	return sortAsks(out)
}

// Missing lists what a module wants and the operator has not given, such as
// "state (1MiB of 64KiB)".
func (g *Grants) Missing(given *Grants) []string {
	var out []string
	for _, want := range g.asks() {
		have, ok := findAsk(given.asks(), want.Name)
		switch {
		case !ok:
			out = append(out, want.Name)
		case have.Value < want.Value:
			out = append(out, fmt.Sprintf("%s (%s of %s)", want.Name, have.Amount(), want.Amount()))
		}
	}
	return out
}

func findAsk(asks []Ask, name string) (Ask, bool) {
	i, ok := slices.BinarySearchFunc(asks, name, func(a Ask, name string) int { return strings.Compare(a.Name, name) })
	if !ok {
		return Ask{}, false
	}
	return asks[i], true
}

// Change is one difference between two packages.
type Change struct {
	Name   string `json:"name"`
	Old    string `json:"old"` // amount, "yes" where there is nothing to count, "" for absent
	New    string `json:"new"`
	Widens bool   `json:"widens"` // the new one asks for more
}

func (c Change) String() string {
	switch {
	case c.Old == "" && c.New == "yes":
		return "+ " + c.Name
	case c.New == "" && c.Old == "yes":
		return "- " + c.Name
	case c.Old == "":
		return "+ " + c.Name + " " + c.New
	case c.New == "":
		return "- " + c.Name + " " + c.Old
	}
	return fmt.Sprintf("~ %s %s -> %s", c.Name, c.Old, c.New)
}

// Delta is what an upgrade changes, sorted by name.
type Delta []Change

// Widens reports whether the new package asks for more than the old one did.
func (d Delta) Widens() bool {
	return slices.ContainsFunc(d, func(c Change) bool { return c.Widens })
}

// Wider lists what is asked for on top, in one line.
func (d Delta) Wider() string {
	var out []string
	for _, c := range d {
		if c.Widens {
			out = append(out, c.String())
		}
	}
	return strings.Join(out, ", ")
}

// Diff compares what two versions of a package ask for (K5.1). It is what decides
// whether an upgrade needs the operator's word.
func Diff(old, new *Manifest) Delta { return DiffAsks(old.Asks(), new.Asks()) }

// DiffAsks compares two sorted lists.
func DiffAsks(old, new []Ask) Delta {
	var d Delta
	text := func(a Ask) string { return cmp.Or(a.Amount(), "yes") }
	i, j := 0, 0
	for i < len(old) || j < len(new) {
		switch {
		case j == len(new) || i < len(old) && old[i].Name < new[j].Name:
			d = append(d, Change{Name: old[i].Name, Old: text(old[i])})
			i++
		case i == len(old) || new[j].Name < old[i].Name:
			d = append(d, Change{Name: new[j].Name, New: text(new[j]), Widens: true})
			j++
		default:
			if old[i].Value != new[j].Value {
				d = append(d, Change{old[i].Name, text(old[i]), text(new[j]), new[j].Value > old[i].Value})
			}
			i, j = i+1, j+1
		}
	}
	return d
}

// covered adds to what was approved what the operator has granted since: a grant
// in the configuration is the operator's word too (K5.2).
func covered(approved []Ask, given *Grants) []Ask {
	all := slices.Clone(approved)
	for _, g := range given.asks() {
		if have, ok := findAsk(approved, g.Name); ok {
			g.Value = max(g.Value, have.Value)
		}
		all = append(slices.DeleteFunc(all, func(a Ask) bool { return a.Name == g.Name }), g)
	}
	return sortAsks(all)
}
