package token

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"flag"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"nethost/sdk"
	"nethost/sdk/name"
)

// TestVerify: T1.1 and T3, the good ways.
func TestVerify(t *testing.T) {
	c := three(t)
	refused(t, "a chain of three", c.Verify(request()), OK, 0)
	q := request()
	q.Presenter, q.Resource, q.Scope = id(2), "sensors/x/y", Publish|Subscribe
	refused(t, "its root alone, for more", c[:1].Verify(q), OK, 0)
	q.Resource = "sensors/**"
	refused(t, "a pattern", c[:1].Verify(q), OK, 0)
	if got := c.Scope(); got != Publish {
		t.Errorf("the chain gives %v", got) // T2.6
	}
	next, err := c[:1].Delegate(key(2), tok(Subscribe, "sensors/b", 0, 6, 5, 6))
	if err != nil {
		t.Fatal(err)
	}
	q = request()
	q.Presenter, q.Scope, q.Resource = id(5), Subscribe, "sensors/b"
	refused(t, "what Delegate made", next.Verify(q), OK, 0)
	_, err = c[:1].Delegate(key(3), tok(Subscribe, "sensors/b", 0, 5))
	refused(t, "Delegate by a stranger", err, NotSubject, 1)
	_, err = c.Delegate(key(4), tok(Publish, "sensors/a", 0, 5))
	refused(t, "Delegate of what must not be handed on", err, NoDelegate, 3)
}

// TestHostile: every way to bend a chain is refused with its own reason.
func TestHostile(t *testing.T) {
	all := Publish | Subscribe | Delegate
	good := three(t)
	other := must(t, []byte{1, 2}, tok(all, "sensors/**", 7, 2), tok(all, "sensors/*", 3, 3))
	twin := tok(all, "sensors/**", 7, 2)
	twin.Nonce[0] = 1
	another := must(t, []byte{1}, twin)
	deep := func(n int, first uint8) Chain {
		links, signers := []Token{}, []byte{}
		for i := range n {
			links, signers = append(links, tok(all, "sensors/**", first-min(first, uint8(i)), byte(i+2))), append(signers, byte(i+1))
		}
		return must(t, signers, links...)
	}
	nine := append(deep(8, 7), deep(1, 0)...)
	bent := func(f func(c Chain)) Chain {
		c := slices.Clone(good)
		f(c)
		return c
	}
	floors := &Floors{}
	raise := Floor{Generation: 6, Seq: 1}
	raise.Sign(key(2))
	floors.Put(raise)
	for _, c := range []struct {
		what  string
		chain Chain
		edit  func(q *Request)
		want  Reason
		link  int
	}{
		{"no link", nil, nil, NoLinks, -1},
		{"nine links (T2.1)", nine, nil, NoLinks, -1},
		{"no roots (T3.1)", good, func(q *Request) { q.Roots = nil }, NotRooted, 0},
		{"another root (T3.1)", good, func(q *Request) { q.Roots = []sdk.NodeID{id(2)} }, NotRooted, 0},
		{"the root left out", good[1:], func(q *Request) { q.Roots = []sdk.NodeID{id(2)} }, Spliced, 0},
		{"a link left out (T2.3)", Chain{good[0], good[2]}, nil, Spliced, 1},
		{"reordered (T2.3)", Chain{good[0], good[2], good[1]}, nil, Spliced, 1},
		{"doubled (T2.3)", Chain{good[0], good[0], good[1], good[2]}, nil, Spliced, 1},
		{"spliced behind a root of the same rights (T2.3)", Chain{another[0], good[1], good[2]}, nil, Spliced, 1},
		{"a link of a chain with the same links", Chain{good[0], other[1], good[2]}, nil, OK, 0}, // byte for byte the same
		{"issued by nobody's subject (T2.4)", must(t, []byte{1, 3}, tok(all, "sensors/**", 7, 2), tok(all, "sensors/a", 3, 4)), nil, NotSubject, 1},
		{"handed on without the right (T2.4)", must(t, []byte{1, 2}, tok(Publish, "sensors/**", 0, 2), tok(Publish, "sensors/a", 0, 4)), nil, NoDelegate, 1},
		{"handed on at depth 0 (T2.4)", must(t, []byte{1, 2}, tok(all, "sensors/**", 0, 2), tok(Publish, "sensors/a", 0, 4)), nil, NoDelegate, 1},
		{"depth does not fall (T2.5)", must(t, []byte{1, 2}, tok(all, "sensors/**", 3, 2), tok(all, "sensors/a", 3, 4)), nil, TooDeep, 1},
		{"resource widened (T2.5)", must(t, []byte{1, 2}, tok(all, "sensors/*", 3, 2), tok(all, "sensors/**", 2, 4)), nil, Widened, 1},
		{"revoked in the middle (T4.2)", good, func(q *Request) { q.Floor = floors.Of }, Revoked, 1},
		{"wrong presenter (T3.3)", good, func(q *Request) { q.Presenter = id(3) }, NotPresenter, 2},
		{"no right asked for (T3.4)", good, func(q *Request) { q.Scope = 0 }, NoScope, -1},
		{"a right a link in the middle lacks (T2.6)", must(t, []byte{1, 2}, tok(all, "sensors/**", 7, 2), tok(all|Admin, "sensors/a", 3, 4)), func(q *Request) { q.Scope = Admin }, NoScope, -1},
		{"sensors/a used on sensors/ab (T3.5)", good, func(q *Request) { q.Resource = "sensors/ab" }, NoResource, 2},
		{"sensors/a used on sensors/a/b (T3.5)", good, func(q *Request) { q.Resource = "sensors/a/b" }, NoResource, 2},
		{"a pattern wider than the token (T3.5)", good, func(q *Request) { q.Resource = "sensors/*" }, NoResource, 2},
		{"a malformed resource", good, func(q *Request) { q.Resource = "sensors//a" }, NoResource, 2},
		{"signature bent (T3.7)", bent(func(c Chain) { c[2].Sig[0] ^= 1 }), nil, BadSignature, 2},
		{"content bent (T3.7)", bent(func(c Chain) { c[2].Generation++ }), nil, BadSignature, 2},
		{"parent's signature bent (T2.3)", bent(func(c Chain) { c[0].Sig[0] ^= 1 }), nil, Spliced, 1},
	} {
		q := request()
		if c.edit != nil {
			c.edit(&q)
		}
		refused(t, c.what, c.chain.Verify(q), c.want, c.link)
	}

	// T1.4: signed for another domain.
	wrong := tok(Publish, "sensors/a", 0, 4)
	wrong.Issuer = id(1)
	wrong.Sig = [64]byte(ed25519.Sign(key(1), signed(FloorDomain, wrong.appendBody(nil))))
	refused(t, "the domain of a floor", Chain{wrong}.Verify(request()), BadSignature, 0)
	wrong.Sig = [64]byte(ed25519.Sign(key(1), wrong.appendBody(nil)))
	refused(t, "no domain", Chain{wrong}.Verify(request()), BadSignature, 0)
}

// TestTime: T3.6.
func TestTime(t *testing.T) {
	l := tok(Publish, "sensors/a", 0, 4)
	l.NotBefore, l.NotAfter = 1000, 2000
	c := must(t, []byte{1}, l)
	for wall, want := range map[int64]Reason{939: TooEarly, 940: OK, 1000: OK, 2059: OK, 2060: Expired} {
		q := request()
		q.Wall = time.Unix(wall, 0)
		refused(t, q.Wall.String(), c.Verify(q), want, 0)
	}
	q := request()
	q.Wall = time.Time{}
	refused(t, "no clock", c.Verify(q), NoClock, 0)
}

// TestFields: T1.3, by Sign and by Parse alike.
func TestFields(t *testing.T) {
	for what, edit := range map[string]func(*Token){
		"no subject":        func(x *Token) { x.Subjects = nil },
		"17 subjects":       func(x *Token) { x.Subjects = manySubjects(17) },
		"zero subject":      func(x *Token) { x.Subjects = []sdk.NodeID{{}} },
		"no scope":          func(x *Token) { x.Scope = 0 },
		"unknown scope":     func(x *Token) { x.Scope = 1 << 9 },
		"depth 8":           func(x *Token) { x.Depth, x.Scope = 8, Delegate },
		"depth, no right":   func(x *Token) { x.Depth = 1 },
		"ends first":        func(x *Token) { x.NotBefore, x.NotAfter = 5, 5 },
		"before 1970":       func(x *Token) { x.NotBefore, x.NotAfter = -5, 5 },
		"after all":         func(x *Token) { x.NotAfter = 1<<40 + 1 },
		"no resource":       func(x *Token) { x.Resource = "" },
		"a hash":            func(x *Token) { x.Resource = "\x01\x02" },
		"half a pattern":    func(x *Token) { x.Resource = "a*" },
		"resource too long": func(x *Token) { x.Resource = strings.Repeat("a", 256) },
	} {
		x := tok(Publish, "sensors/a", 0, 4)
		edit(&x)
		if err := x.Sign(key(1)); err == nil {
			t.Errorf("%s was signed", what)
		}
		if len(x.Resource) < 256 {
			if _, err := Parse(x.Append(nil)); err == nil {
				t.Errorf("%s was parsed", what)
			}
		}
	}
}

func manySubjects(n int) []sdk.NodeID {
	var out []sdk.NodeID
	for i := range n {
		out = append(out, sdk.NodeID{byte(i + 1)})
	}
	return out
}

// TestEncoding: T1.2, T2.1 and T2.2: one spelling, cut or bent anywhere it is none.
func TestEncoding(t *testing.T) {
	c := three(t)
	c[1].NotBefore, c[1].NotAfter = 7, 9
	b := c.Append(nil)
	back, err := ParseChain(b)
	if err != nil || !reflect.DeepEqual(c, back) {
		t.Fatalf("%v: %v", back, err)
	}
	for n := range b {
		if _, err := ParseChain(b[:n]); err == nil {
			t.Fatalf("cut at %d it is a chain", n)
		}
	}
	if _, err := ParseChain(append(slices.Clone(b), 0)); err == nil {
		t.Error("a byte behind the chain")
	}
	text := c.String()
	if back, err := ParseText(text); err != nil || !reflect.DeepEqual(c, back) {
		t.Errorf("text: %v", err)
	}
	for _, bad := range []string{"", "nht1.", "nht2." + text[5:], text + "=", text + "A", text[:20] + "\n" + text[20:], strings.ToUpper(text)} {
		if _, err := ParseText(bad); err == nil {
			t.Errorf("%.30q is a chain", bad)
		}
	}
	one := c[0].Append(nil)
	one[4] |= 2
	if _, err := Parse(one); err == nil {
		t.Error("unknown flags")
	}
}

var update = flag.Bool("update", false, "write the golden vectors anew")

// TestGolden: the bytes of version 1 never change (T1.2, T1.4, T2.1, T4.1).
func TestGolden(t *testing.T) {
	c := three(t)
	c[2].NotBefore, c[2].NotAfter, c[2].Nonce = 1000, 2000, [16]byte{1, 2, 3}
	if err := c[2].Sign(key(3)); err != nil {
		t.Fatal(err)
	}
	f := Floor{Generation: 6, Seq: 2}
	f.Sign(key(1))
	got := hex.EncodeToString(c.Append(nil)) + "\n" + hex.EncodeToString(f.Append(nil)) + "\n"
	const path = "testdata/golden.txt"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || string(want) != got {
		t.Errorf("the bytes changed: %v", err)
	}
}

// TestTwin: T3 against a twin that knows only sets: what each link permits is a set
// of (subject, right, name), and a chain permits what all of them do.
func TestTwin(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	resources := []string{"a", "a/b", "a/*", "a/**", "**", "*", "*/b", "a/b/c"}
	names := []string{"a", "b", "a/b", "b/b", "a/c", "a/b/c", "z/z/z"}
	scopes := []Scope{Publish, Subscribe, Publish | Delegate, Publish | Subscribe | Delegate, AllScopes}
	good := 0
	for range 500 {
		var c Chain
		n := 1 + rnd.IntN(4)
		signers := []byte{1}
		var links []Token
		for i := range n {
			l := tok(scopes[rnd.IntN(len(scopes))], resources[rnd.IntN(len(resources))], uint8(max(0, 5-i-rnd.IntN(2))), byte(2+rnd.IntN(3)))
			if rnd.IntN(4) > 0 && i > 0 { // often a link that fits
				l.Resource = links[i-1].Resource
			}
			if l.Scope&Delegate == 0 {
				l.Depth = 0
			}
			l.Generation = uint64(4 + rnd.IntN(4))
			links = append(links, l)
			signer := byte(2 + rnd.IntN(3))
			if rnd.IntN(4) > 0 {
				signer = byte(1 + slices.Index(allIDs(), l.Subjects[0]))
			}
			signers = append(signers, signer)
		}
		c = must(t, signers, links...)
		q := Request{Presenter: id(byte(2 + rnd.IntN(3))), Scope: []Scope{Publish, Subscribe}[rnd.IntN(2)], Resource: names[rnd.IntN(len(names))],
			Roots: []sdk.NodeID{id(1)}, Floor: func(sdk.NodeID) uint64 { return 5 }}
		if rnd.IntN(2) == 0 {
			q.Presenter = c[len(c)-1].Subjects[0]
		}
		want := twinPermits(c, q, names)
		if got := c.Verify(q) == nil; got != want {
			t.Fatalf("%+v for %+v: %v, the twin says %v", c, q, c.Verify(q), want)
		}
		if want {
			good++
		}
	}
	if good < 10 {
		t.Errorf("only %d chains were good", good)
	}
}

func allIDs() []sdk.NodeID { return []sdk.NodeID{id(1), id(2), id(3), id(4)} }

func twinPermits(c Chain, q Request, names []string) bool {
	set := func(resource string) (out []string) {
		for _, n := range names {
			if name.Match(resource, n) {
				out = append(out, n)
			}
		}
		return out
	}
	for i := range c {
		if c[i].Generation < 5 || !slices.Contains(set(c[i].Resource), q.Resource) || c[i].Scope&q.Scope == 0 {
			return false
		}
		if i == 0 {
			continue
		}
		p := c[i-1]
		if p.Subjects[0] != c[i].Issuer || p.Scope&Delegate == 0 || p.Depth <= c[i].Depth {
			return false
		}
		for _, n := range set(c[i].Resource) {
			if !slices.Contains(set(p.Resource), n) {
				return false
			}
		}
	}
	return c[len(c)-1].Subjects[0] == q.Presenter
}

func TestScope(t *testing.T) {
	for s := Scope(1); s <= AllScopes; s++ {
		if back, err := ParseScope(s.String()); err != nil || back != s {
			t.Fatalf("%v: %v, %v", s, back, err)
		}
	}
	for _, bad := range []string{"", "read", "publish,", "Publish"} {
		if _, err := ParseScope(bad); err == nil {
			t.Errorf("%q is a scope", bad)
		}
	}
}

// FuzzParse: what is parsed is written the same, as bytes and as text.
func FuzzParse(f *testing.F) {
	c := three(f)
	f.Add(c.Append(nil))
	timed := tok(Call, "a/*", 0, 2)
	timed.NotAfter = 9
	f.Add(must(f, []byte{1}, timed).Append(nil))
	f.Add([]byte(chainMagic + "\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseChain(b)
		if err != nil {
			return
		}
		if !bytes.Equal(c.Append(nil), b) {
			t.Fatalf("%x is written as %x", b, c.Append(nil))
		}
		if back, err := ParseText(c.String()); err != nil || !reflect.DeepEqual(back, c) {
			t.Fatalf("text: %v", err)
		}
		_ = c.Verify(Request{Roots: []sdk.NodeID{c[0].Issuer}, Presenter: c[len(c)-1].Subjects[0], Scope: c[0].Scope, Resource: c[len(c)-1].Resource})
	})
}
