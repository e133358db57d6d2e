package registry

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"nethost/sdk"
)

func v(major, minor uint8) sdk.Version { return sdk.Version{Major: major, Minor: minor} }

// TestAssigned compares ASSIGNED.md with the constants of ids.go.
func TestAssigned(t *testing.T) {
	text, err := os.ReadFile("ASSIGNED.md")
	if err != nil {
		t.Fatal(err)
	}
	inTable := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\| (0x[0-9A-F]{4}) \| (\w+) \|`).FindAllStringSubmatch(string(text), -1) {
		if _, twice := inTable[m[2]]; twice {
			t.Errorf("%s stands twice in ASSIGNED.md", m[2])
		}
		inTable[m[2]] = m[1]
	}
	file, err := parser.ParseFile(token.NewFileSet(), "ids.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	inCode := map[string]string{}
	for _, spec := range file.Decls[1].(*ast.GenDecl).Specs {
		s := spec.(*ast.ValueSpec)
		inCode[s.Names[0].Name] = s.Values[0].(*ast.BasicLit).Value
	}
	if len(inCode) < 10 || !reflect.DeepEqual(inTable, inCode) {
		t.Errorf("ASSIGNED.md has %v\nids.go has %v", inTable, inCode)
	}
}

func TestRangeOf(t *testing.T) { // R1.2, R1.3
	for id, want := range map[sdk.ID]Range{0: RangeCore, Core: RangeKernel, Echo: RangeCore, Negotiation: RangeKernel,
		0x0FFF: RangeCore, 0x1000: RangeVendor, 0xEFFF: RangeVendor, 0xF000: RangeExperimental, 0xFFFF: RangeExperimental} {
		if got := RangeOf(id); got != want {
			t.Errorf("RangeOf(%v) = %v, want %v", id, got, want)
		}
	}
}

func TestNegotiate(t *testing.T) {
	line := func(id sdk.ID, ver, minPeer sdk.Version) Line { return Line{ID: id, Version: ver, MinPeer: minPeer} }
	for _, c := range []struct {
		name         string
		ours, theirs []Line
		want         Outcome
	}{
		{"R3.1 lower minor wins", []Line{line(1, v(1, 4), v(1, 2))}, []Line{line(1, v(1, 3), v(1, 0))}, Outcome{1, StateAgreed, v(1, 3), false}},
		{"R3.1 too old for us", []Line{line(1, v(1, 4), v(1, 4))}, []Line{line(1, v(1, 3), v(1, 0))}, Outcome{1, StateMismatch, v(0, 0), false}},
		{"R3.1 two majors, the newer wins", []Line{line(1, v(1, 9), v(1, 0)), line(1, v(2, 1), v(2, 0))},
			[]Line{line(1, v(1, 9), v(1, 0)), line(1, v(2, 0), v(2, 0))}, Outcome{1, StateAgreed, v(2, 0), false}},
		{"R3.1 two majors, only the older fits", []Line{line(1, v(1, 9), v(1, 0)), line(1, v(2, 1), v(2, 1))},
			[]Line{line(1, v(1, 8), v(1, 0)), line(1, v(2, 0), v(2, 0))}, Outcome{1, StateAgreed, v(1, 8), false}},
		{"R3.2 other major", []Line{line(1, v(2, 0), v(2, 0))}, []Line{line(1, v(1, 9), v(1, 9))}, Outcome{1, StateMismatch, v(0, 0), false}},
		{"R3.2 absent", []Line{line(1, v(2, 0), v(2, 0))}, nil, Outcome{1, StateAbsent, v(0, 0), false}},
	} {
		a := Negotiate(Manifest{Lines: c.ours}, Manifest{Lines: c.theirs})
		if len(a.Outcomes) != 1 || a.Outcomes[0] != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, a.Outcomes, c.want)
		}
	}
}

func TestRequired(t *testing.T) { // R3.4
	a := Negotiate(Manifest{Lines: []Line{{ID: 5, Version: v(1, 0), MinPeer: v(1, 0), Required: true}}}, Manifest{})
	if id, refused := a.Refused(); !refused || id != 5 {
		t.Errorf("Refused() = %v, %v: want 5, true", id, refused)
	}
	b := Negotiate(Manifest{}, Manifest{Lines: []Line{{ID: 5, Version: v(1, 0), MinPeer: v(1, 0), Required: true}}})
	if _, refused := b.Refused(); !refused {
		t.Error("a requirement of the other side must refuse as well")
	}
}

// genManifest draws a valid manifest over few ids and versions, so that they meet.
func genManifest(t *rapid.T, label string) Manifest {
	byKey := map[[2]int]Line{}
	for i := range rapid.IntRange(0, 12).Draw(t, label+" lines") {
		name := fmt.Sprintf("%s %d ", label, i)
		id, major := rapid.IntRange(1, 4).Draw(t, name+"id"), rapid.IntRange(0, 2).Draw(t, name+"major")
		minor := rapid.IntRange(0, 4).Draw(t, name+"minor")
		byKey[[2]int{id, major}] = Line{ID: sdk.ID(id), Version: v(uint8(major), uint8(minor)),
			MinPeer: v(uint8(major), uint8(rapid.IntRange(0, minor).Draw(t, name+"min"))), Required: rapid.IntRange(0, 9).Draw(t, name+"req") == 0}
	}
	m := Manifest{Epoch: rapid.Uint32().Draw(t, label+" epoch")}
	for _, l := range byKey {
		m.Lines = append(m.Lines, l)
	}
	slices.SortFunc(m.Lines, compare)
	return m
}

// dumb is the rule of R3.1 said as plainly as possible: try every version there
// is, best first, and ask both sides.
func dumb(id sdk.ID, x, y Manifest) (sdk.Version, bool) {
	speaks := func(m Manifest, ver sdk.Version) bool { // some line covers ver
		return slices.ContainsFunc(m.Lines, func(l Line) bool {
			return l.ID == id && l.Version.Major == ver.Major && l.MinPeer.Minor <= ver.Minor && ver.Minor <= l.Version.Minor
		})
	}
	highest := func(m Manifest, ver sdk.Version) bool {
		return slices.ContainsFunc(m.Lines, func(l Line) bool { return l.ID == id && l.Version == ver })
	}
	for major := 255; major >= 0; major-- {
		for minor := 255; minor >= 0; minor-- {
			ver := v(uint8(major), uint8(minor))
			if speaks(x, ver) && speaks(y, ver) && (highest(x, ver) || highest(y, ver)) {
				return ver, true
			}
		}
	}
	return sdk.Version{}, false
}

func TestNegotiateAgainstDumbTwin(t *testing.T) { // R3.1-R3.4
	rapid.Check(t, func(t *rapid.T) {
		x, y := genManifest(t, "x"), genManifest(t, "y")
		a, b := Negotiate(x, y), Negotiate(y, x)
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("not symmetric: %+v, %+v", a, b)
		}
		for id := sdk.ID(1); id <= 4; id++ {
			want, wantOK := dumb(id, x, y)
			got, ok := a.Lookup(id)
			if ok != wantOK || got != want {
				t.Fatalf("id %v: got %v %v, the twin says %v %v", id, got, ok, want, wantOK)
			}
			has := slices.ContainsFunc(a.Outcomes, func(o Outcome) bool { return o.ID == id })
			if in := len(of(x.Lines, id))+len(of(y.Lines, id)) > 0; in != has {
				t.Fatalf("id %v: an outcome is there: %v, a line is there: %v", id, has, in)
			}
		}
	})
}

// TestDisorder: lines shuffled or repeated change nothing, so that a peer cannot
// force an older version by how it lists its lines.
func TestDisorder(t *testing.T) { // R3.3
	rapid.Check(t, func(t *rapid.T) {
		x, y := genManifest(t, "x"), genManifest(t, "y")
		mess := Manifest{Lines: slices.Concat(y.Lines, y.Lines)}
		if len(mess.Lines) > 0 {
			mess.Lines = rapid.Permutation(mess.Lines).Draw(t, "mess")
		}
		before := slices.Clone(mess.Lines)
		if got, want := Negotiate(x, mess), Negotiate(x, y); !reflect.DeepEqual(got, want) {
			t.Fatalf("in disorder: %+v, in order: %+v", got, want)
		}
		if !slices.Equal(before, mess.Lines) {
			t.Fatal("Negotiate changed the manifest it was given")
		}
	})
}

// TestPairInDisorder is the smallest case that needs sorting: the lines of one id
// stand apart, with another between them.
func TestPairInDisorder(t *testing.T) { // R3.3
	line := func(id sdk.ID) Line { return Line{ID: id, Version: v(1, 0), MinPeer: v(1, 0)} }
	a := Negotiate(Manifest{Lines: []Line{line(9), line(7)}}, Manifest{Lines: []Line{line(9), line(7), line(8), line(7)}})
	if _, ok := a.Lookup(7); !ok || len(a.Outcomes) != 3 {
		t.Errorf("got %+v, want outcomes for 7, 8 and 9", a.Outcomes)
	}
}

// TestLookupAllocates nothing: senders look up before every packet.
func TestLookupAllocates(t *testing.T) {
	l := Line{ID: 7, Version: v(1, 0), MinPeer: v(1, 0)}
	tab := NewTable().With(Entry{Line: l})
	a := Negotiate(tab.Manifest(1), tab.Manifest(1))
	if n := testing.AllocsPerRun(1000, func() { a.Lookup(7); tab.Lookup(7, 1) }); n != 0 {
		t.Errorf("%v allocations a lookup, want 0", n)
	}
}

// TestWithheldLine: leaving out a line never raises what is agreed (no downgrade
// is hidden, no upgrade forged).
func TestWithheldLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, y := genManifest(t, "x"), genManifest(t, "y")
		if len(y.Lines) == 0 {
			return
		}
		i := rapid.IntRange(0, len(y.Lines)-1).Draw(t, "withheld")
		less := Manifest{Lines: slices.Delete(slices.Clone(y.Lines), i, i+1)}
		full, part := Negotiate(x, y), Negotiate(x, less)
		for id := sdk.ID(1); id <= 4; id++ {
			a, okA := full.Lookup(id)
			b, okB := part.Lookup(id)
			if okB && (!okA || b.Compare(a) > 0) {
				t.Fatalf("id %v: %v without a line, %v with it", id, b, a)
			}
		}
	})
}

func TestManifestRefused(t *testing.T) {
	good := AppendManifest(nil, Manifest{Epoch: 7, Lines: []Line{{ID: 7, Version: v(1, 2), MinPeer: v(1, 0)}, {ID: 9, Version: v(1, 0), MinPeer: v(1, 0), Required: true}}})
	if m, err := ParseManifest(good); err != nil || m.Epoch != 7 || len(m.Lines) != 2 || !m.Lines[1].Required {
		t.Fatalf("good manifest: %+v, %v", m, err)
	}
	for n := range good { // R2.1
		if _, err := ParseManifest(good[:n]); !errors.Is(err, ErrTruncated) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	if _, err := ParseManifest(append(bytes.Clone(good), 0)); !errors.Is(err, ErrTruncated) {
		t.Errorf("one byte more: %v", err)
	}
	change := func(at int, b byte) []byte { c := bytes.Clone(good); c[at] = b; return c }
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"R2.2 too many":       {change(5, 0xff), ErrTooMany},
		"R2.3 unsorted":       {change(14, 6), ErrOrder},
		"R2.3 twice":          {change(14, 7), ErrOrder},
		"R2.4 other major":    {change(10, 2), ErrLine},
		"R2.4 min above":      {change(11, 3), ErrLine},
		"reserved flag":       {change(12, 2), ErrLine},
		"reserved last octet": {change(13, 1), ErrLine},
	} {
		if _, err := ParseManifest(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestTable(t *testing.T) {
	one := NewTable().With(Entry{Line{ID: 7, Version: v(1, 0), MinPeer: v(1, 0)}, 0})
	two := one.With(Entry{Line{ID: 7, Version: v(2, 3), MinPeer: v(2, 0)}, 1})
	if _, ok := one.Lookup(7, 2); ok {
		t.Error("With changed the table it was called on")
	}
	if slot, ok := two.Lookup(7, 2); !ok || slot != 1 {
		t.Errorf("Lookup(7, 2) = %d, %v", slot, ok)
	}
	if ver, slot, ok := two.Newest(7); !ok || ver != v(2, 3) || slot != 1 {
		t.Errorf("Newest(7) = %v, %d, %v", ver, slot, ok)
	}
	if _, _, ok := two.Newest(6); ok {
		t.Error("Newest found an id that is not there")
	}
	gone := two.Without(1)
	if ver, _, ok := gone.Newest(7); !ok || ver != v(1, 0) || gone.Slots() != 2 {
		t.Errorf("after Without: %v, %v, %d slots", ver, ok, gone.Slots())
	}
	if m := two.Manifest(3); m.Epoch != 3 || len(m.Lines) != 2 {
		t.Errorf("Manifest = %+v", m)
	}
	if got := Tag(0x1000); got != "subprotocol:0x1000" {
		t.Errorf("Tag = %q", got)
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte{})
	f.Add(AppendManifest(nil, Manifest{Epoch: 1, Lines: []Line{{ID: 7, Version: v(1, 2), MinPeer: v(1, 0), Required: true}}}))
	f.Add(AppendManifest(nil, Manifest{Epoch: 1 << 31}))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseManifest(b)
		if err != nil {
			return
		}
		if again := AppendManifest(nil, m); !bytes.Equal(again, b) {
			t.Errorf("parsed and appended: % x, was % x", again, b)
		}
		Negotiate(m, m)
	})
}
