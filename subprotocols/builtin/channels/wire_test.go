package channels

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"nethost/sdk"
)

// vectors are one frame of each kind, in the bytes of W2 and W3.
var vectors = []struct {
	hex string
	f   frame
}{
	{"11000000" + "01" + "07000000" + "e8030000" + "01" + "61" + "02" + "6767" + "636863", frame{kind: frSub, ref: 7, age: 1000, name: "a", group: "gg", chain: []byte("chc")}},
	{"05000000" + "02" + "07000000", frame{kind: frUnsub, ref: 7}},
	{"0b000000" + "03" + "09000000" + "03000000" + "6e6f", frame{kind: frRefuse, num: 9, code: sdk.PermissionDenied, text: "no"}},
	{"0f000000" + "10" + "09000000" + "02000000" + "01" + "03" + "612f62" + "63", frame{kind: frChannel, num: 9, epoch: 2, reliable: true, name: "a/b", chain: []byte("c")}},
	{"11000000" + "11" + "09000000" + "07000000" + "0500000000000000", frame{kind: frJoin, num: 9, ref: 7, seq: 5}},
	{"11000000" + "12" + "09000000" + "0500000000000000" + "00" + "006869", frame{kind: frEvent, num: 9, seq: 5, body: []byte("\x00hi")}},
	{"15000000" + "13" + "07000000" + "09000000" + "0500000000000000" + "00" + "006869", frame{kind: frOne, ref: 7, num: 9, seq: 5, body: []byte("\x00hi")}},
	{"0d000000" + "14" + "07000000" + "04000000" + "01" + "61" + "6e6f", frame{kind: frDenied, ref: 7, code: sdk.Overloaded, name: "a", text: "no"}},
	{"05000000" + "15" + "09000000", frame{kind: frGone, num: 9}},
}

// TestVectors: W1 to W3: the bytes of each frame, and back.
func TestVectors(t *testing.T) {
	for _, v := range vectors {
		b, err := hex.DecodeString(v.hex)
		if err != nil {
			t.Fatal(err)
		}
		if is := v.f.append(nil); !bytes.Equal(is, b) {
			t.Errorf("kind %d is %x, want %s", v.f.kind, is, v.hex)
		}
		rec, rest, err := takeFrame(append(b, 1, 2))
		if err != nil || len(rest) != 2 {
			t.Fatalf("kind %d: %v", v.f.kind, err)
		}
		if f, err := parseFrame(rec); err != nil || !reflect.DeepEqual(f, v.f) {
			t.Errorf("kind %d: %+v %v", v.f.kind, f, err)
		}
		for n := range rec {
			if f, err := parseFrame(rec[:n]); err == nil && f.kind == v.f.kind && len(v.f.chain)+len(v.f.body)+len(v.f.text) == 0 {
				t.Errorf("kind %d: %d of %d bytes are taken for all", v.f.kind, n, len(rec))
			}
		}
	}
}

// FuzzFrame: what parses has one spelling.
func FuzzFrame(f *testing.F) {
	for _, v := range vectors {
		f.Add(v.f.append(nil)[4:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, err := parseFrame(b)
		if err != nil {
			return
		}
		if again := fr.append(nil)[4:]; !bytes.Equal(again, b) {
			t.Fatalf("%x is written %x", b, again)
		}
	})
}

// FuzzStream: whatever a peer writes, in whatever pieces, ends in order.
func FuzzStream(f *testing.F) {
	var all []byte
	for _, v := range vectors {
		all = v.f.append(all)
	}
	f.Add(all, uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		var in []byte
		for len(b) > 0 {
			n := min(len(b), int(step)+1)
			in, b = append(in, b[:n]...), b[n:]
			for {
				rec, rest, err := takeFrame(in)
				if err != nil {
					return
				}
				if in = rest; rec == nil {
					break
				}
				if _, err := parseFrame(rec); err != nil {
					return
				}
			}
		}
	})
}

// FuzzPolicy: a policy that parses is one, and is written as it was read.
func FuzzPolicy(f *testing.F) {
	f.Add(`{"pattern":"a","retain":5,"roots":[]}`)
	f.Add(`{"ring":1e3}`)
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePolicy([]byte(s), defaultPolicy("open"))
		if err != nil {
			return
		}
		b := jsonOf(t, p.json())
		q, err := parsePolicy(b, defaultPolicy("token"))
		if err != nil || !reflect.DeepEqual(p, q) {
			t.Fatalf("%s is read again as %+v, %v", b, q, err)
		}
	})
}

// TestMostSpecific: P2.
func TestMostSpecific(t *testing.T) {
	var s policies
	for _, p := range []string{"**", "a/**", "a/*/c", "*/b", "a/b", "a/*", "*"} {
		q := defaultPolicy("open")
		q.Pattern = p
		s.put(q)
	}
	for ch, want := range map[string]string{"a/b": "a/b", "a/x": "a/*", "a/x/c": "a/*/c", "a/x/d": "a/**", "x/b": "*/b", "x": "*", "x/y/z": "**"} {
		if is := s.of(ch).Pattern; is != want {
			t.Errorf("for %s holds %s, want %s", ch, is, want)
		}
	}
}

// TestTags: F1, F2: the query for a pattern finds the tag of each channel it stands
// for.
func TestTags(t *testing.T) {
	long := strings.Repeat("abcdefghi/", 14) + "x"
	for _, c := range []struct {
		pattern, tag string
		want         bool
	}{
		{"a/b", "chan:a/b", true}, {"a/b", "chan:a/bc", false}, {"a/*", "chan:a/b", true}, {"a/**", "chan:b/c", false}, {"**", "chan:x", true},
		{"a/b", "chan:a=below", true}, {"a/b", "chan:b=below", false}, {"a", "chan:a=below", false}, {"a/**", "chan:=below", true}, {"*/b", "chan:a=below", true},
		{long, tagOf(long), true}, {"abcdefghi/**", tagOf(long), true}, {"other/**", tagOf(long), false}, {"a", "prod", false},
	} {
		if is := fits(c.pattern, c.tag); is != c.want {
			t.Errorf("fits(%.30q, %.30q) = %v", c.pattern, c.tag, is)
		}
	}
	if q := query("a/b"); q != "chan:a/b or chan:a=below or chan:=below" {
		t.Errorf("the query is %s", q)
	}
	if q := query("a/b/*"); q != "chan:a/b/* or chan:a/b=below or chan:a=below or chan:=below" {
		t.Errorf("the query is %s", q)
	}
	if tag := tagOf(long); len(tag) > 128 || !strings.HasSuffix(tag, "=below") {
		t.Errorf("the tag is %s", tag)
	}
}
