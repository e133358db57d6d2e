package module

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"nethost/registry"
	"nethost/sdk"
)

// maxOwnFile bounds the files of trust and lock, so that a wrong path cannot fill
// the memory.
const maxOwnFile = 4 << 20

// Trusted is a publisher whose modules may be loaded, and which of them (K3).
type Trusted struct {
	Key      sdk.NodeID
	Label    string   // what the operator calls it, such as "acme"
	Names    []string // globs over module names: "telemetry", "acme-*"
	IDs      []IDRange
	Carriers []Kind // wasm, process
}

// IDRange is a range of subprotocol ids, inclusive.
type IDRange struct{ First, Last sdk.ID }

func (r IDRange) String() string {
	if r.First == r.Last {
		return r.First.String()
	}
	return r.First.String() + "-" + r.Last.String()
}

// ParseIDRange reads "0x2301" or "0x2300-0x23ff". Ids below 0x1000 cannot be
// entrusted to anybody.
func ParseIDRange(s string) (IDRange, error) {
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	a, okA := parseID(first)
	b, okB := parseID(last)
	switch {
	case !okA || !okB || a > b:
		return IDRange{}, fmt.Errorf("ids: %q: want \"0x2301\" or \"0x2300-0x23ff\"", s)
	case a < registry.FirstVendor:
		return IDRange{}, fmt.Errorf("ids: %q: ids below %v are nethost's own and need its release key", s, registry.FirstVendor)
	}
	return IDRange{a, b}, nil
}

var idRule = regexp.MustCompile(`^0x[0-9a-fA-F]{1,4}$`)

func parseID(s string) (sdk.ID, bool) {
	if !idRule.MatchString(s) {
		return 0, false
	}
	n, err := strconv.ParseUint(s[2:], 16, 16)
	return sdk.ID(n), err == nil
}

// check tests an entry on its own.
func (t *Trusted) check() error {
	if !nameRule.MatchString(t.Label) {
		return fmt.Errorf("label = %q: want lower-case letters, digits and dashes, a letter first", t.Label)
	}
	if len(t.Names) == 0 || len(t.IDs) == 0 || len(t.Carriers) == 0 {
		return errors.New("want names, ids and carriers, one of each at least: a publisher has no rights by default")
	}
	for _, glob := range t.Names {
		if _, err := path.Match(glob, "x"); err != nil || glob == "" {
			return fmt.Errorf("names: %q: want a name or a pattern such as \"acme-*\"", glob)
		}
	}
	for _, c := range t.Carriers {
		if c != Wasm && c != Process {
			return fmt.Errorf("carriers: %q: want wasm or process", c)
		}
	}
	return nil
}

// allows says why a module is outside what its publisher is trusted with, nil if
// it is inside (K3.3).
func (t *Trusted) allows(m *Manifest, text []byte) error {
	if !slices.ContainsFunc(t.Names, func(glob string) bool { ok, _ := path.Match(glob, m.Name); return ok }) {
		return &LineError{lineOf(text, "name"), fmt.Sprintf("%s is not trusted with a module called %q, only with %s", t.Label, m.Name, strings.Join(t.Names, ", "))}
	}
	if !slices.Contains(t.Carriers, m.Carrier) {
		return &LineError{lineOf(text, "carrier"), fmt.Sprintf("%s is not trusted with carrier %q, only with %s", t.Label, m.Carrier, joinKinds(t.Carriers))}
	}
	for i, p := range m.Subprotocols {
		if !slices.ContainsFunc(t.IDs, func(r IDRange) bool { return r.First <= p.ID && p.ID <= r.Last }) {
			return &LineError{lineOfNth(text, "[[subprotocol]]", i), fmt.Sprintf("%s is not trusted with %v, only with %s", t.Label, p.ID, joinRanges(t.IDs))}
		}
	}
	return nil
}

func joinKinds(kinds []Kind) string {
	out := make([]string, len(kinds))
	for i, k := range kinds {
		out[i] = string(k)
	}
	return strings.Join(out, ", ")
}

func joinRanges(ranges []IDRange) string {
	out := make([]string, len(ranges))
	for i, r := range ranges {
		out[i] = r.String()
	}
	return strings.Join(out, ", ")
}

// Trust is the trust store: the publishers an operator trusts, by label.
type Trust struct{ Publishers []Trusted }

type fileTrust struct {
	Publisher []fileTrusted `toml:"publisher"`
}

type fileTrusted struct {
	Key      string   `toml:"key"`
	Label    string   `toml:"label"`
	Names    []string `toml:"names"`
	IDs      []string `toml:"ids"`
	Carriers []string `toml:"carriers"`
}

// ParseTrust reads a trust store. Its error is a *LineError.
func ParseTrust(text []byte) (*Trust, error) {
	var f fileTrust
	if err := decodeStrict(text, &f); err != nil {
		return nil, err
	}
	t := &Trust{}
	for i, p := range f.Publisher {
		e, err := p.parse()
		if err == nil {
			err = t.Add(e)
		}
		if err != nil {
			return nil, &LineError{lineOfNth(text, "[[publisher]]", i), err.Error()}
		}
	}
	return t, nil
}

func (p *fileTrusted) parse() (Trusted, error) {
	e := Trusted{Label: p.Label, Names: p.Names}
	var err error
	if e.Key, err = ParsePublisher(p.Key); err != nil {
		return e, err
	}
	for _, s := range p.IDs {
		r, err := ParseIDRange(s)
		if err != nil {
			return e, err
		}
		e.IDs = append(e.IDs, r)
	}
	for _, c := range p.Carriers {
		e.Carriers = append(e.Carriers, Kind(c))
	}
	return e, nil
}

// Add takes a publisher in. One whose key or label is there already is refused.
func (t *Trust) Add(e Trusted) error {
	if err := e.check(); err != nil {
		return err
	}
	for i := range t.Publishers {
		switch p := &t.Publishers[i]; {
		case p.Key == e.Key:
			return fmt.Errorf("%s is trusted already, as %s: `nethost module untrust %s` comes first", PublisherText(e.Key), p.Label, p.Label)
		case p.Label == e.Label:
			return fmt.Errorf("the label %q names %s already: choose another", e.Label, PublisherText(p.Key))
		}
	}
	t.Publishers = append(t.Publishers, e)
	slices.SortFunc(t.Publishers, func(a, b Trusted) int { return strings.Compare(a.Label, b.Label) })
	return nil
}

// Remove takes out the publisher with a label or key, and reports whether one was
// there.
func (t *Trust) Remove(labelOrKey string) bool {
	n := len(t.Publishers)
	t.Publishers = slices.DeleteFunc(t.Publishers, func(p Trusted) bool { return p.Label == labelOrKey || PublisherText(p.Key) == labelOrKey })
	return len(t.Publishers) < n
}

// Find gives the entry of a key, nil when it is not trusted.
func (t *Trust) Find(key sdk.NodeID) *Trusted {
	for i := range t.Publishers {
		if t.Publishers[i].Key == key {
			return &t.Publishers[i]
		}
	}
	return nil
}

// Text is the trust store as a file; ParseTrust reads it.
func (t *Trust) Text() []byte {
	b := []byte("# Publishers whose modules this node loads. `nethost module trust` and `untrust` write it.\n")
	for i := range t.Publishers {
		p := &t.Publishers[i]
		var ids, carriers []string
		for _, r := range p.IDs {
			ids = append(ids, r.String())
		}
		for _, c := range p.Carriers {
			carriers = append(carriers, string(c))
		}
		b = fmt.Appendf(b, "\n[[publisher]]\nkey      = %q\nlabel    = %q\nnames    = %s\nids      = %s\ncarriers = %s\n",
			PublisherText(p.Key), p.Label, tomlList(p.Names), tomlList(ids), tomlList(carriers))
	}
	return b
}

// tomlList writes a list of texts that need no escapes beyond those of %q.
func tomlList(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = tomlString(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// tomlString writes a basic string: TOML has no \x escape, which %q may give.
func tomlString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
