package sdk

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestID(t *testing.T) {
	for in, want := range map[string]ID{"0x0007": 7, "0x1001": 0x1001, "4097": 0x1001, "0xFFFF": 0xffff, "0": 0} {
		got, err := ParseID(in)
		if err != nil || got != want {
			t.Errorf("ParseID(%q) = %v, %v, want %v", in, got, err, want)
		}
		if again, err := ParseID(got.String()); err != nil || again != got {
			t.Errorf("ParseID(%q) = %v, %v, want %v", got.String(), again, err, got)
		}
	}
	for _, in := range []string{"", "0x10000", "-1", "echo", "0x", " 7", "70000"} {
		if got, err := ParseID(in); err == nil {
			t.Errorf("ParseID(%q) = %v, want an error", in, got)
		}
	}
}

func TestVersion(t *testing.T) {
	for in, want := range map[string]Version{"1.0": {1, 0}, "0.0": {}, "255.255": {255, 255}, "2.10": {2, 10}} {
		got, err := ParseVersion(in)
		if err != nil || got != want || got.String() != in {
			t.Errorf("ParseVersion(%q) = %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "1", "1.", ".1", "1.2.3", "256.0", "1.256", "-1.0", "+1.0", "1.0 ", "v1.0", "0x1.0"} {
		if got, err := ParseVersion(in); err == nil {
			t.Errorf("ParseVersion(%q) = %v, want an error", in, got)
		}
	}
	order := []Version{{0, 9}, {1, 0}, {1, 2}, {1, 10}, {2, 0}}
	for i, a := range order {
		for j, b := range order {
			if got := a.Compare(b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%v.Compare(%v) = %d", a, b, got)
			}
		}
	}
}

func TestNodeID(t *testing.T) {
	n := NodeID{1, 2, 3, 31: 0xff}
	text := n.String()
	if len(text) != NodeIDTextLen || text != strings.ToLower(text) || !strings.HasPrefix(text, n.Short()) {
		t.Fatalf("%q, short %q", text, n.Short())
	}
	if got, err := ParseNodeID(text); err != nil || got != n {
		t.Fatalf("ParseNodeID(%q) = %v, %v", text, got, err)
	}
	for name, in := range map[string]string{
		"empty":      "",
		"short":      text[1:],
		"long":       text + "a",
		"upper case": strings.ToUpper(text),
		"alphabet":   "1" + text[1:],
		"padding":    text[:51] + "=",
		"slack bits": text[:51] + string(text[51]+1),
	} {
		if got, err := ParseNodeID(in); !errors.Is(err, ErrNodeID) || got != (NodeID{}) {
			t.Errorf("%s: ParseNodeID(%q) = %v, %v, want ErrNodeID", name, in, got, err)
		}
	}
	if n.IsZero() || !(NodeID{}).IsZero() || n.Compare(n) != 0 || n.Compare(NodeID{1, 2, 4}) >= 0 {
		t.Error("IsZero or Compare is wrong")
	}
}

// node is any node id.
var node = NodeID{0xaa, 31: 0xbb}

// payloads has one value of each payload (ABI A4.1-A4.6), what it becomes in
// bytes and how it is read.
var payloads = []struct {
	name  string
	bytes []byte
	parse func([]byte) (any, error)
	want  any
}{
	{"A4.1 state entry", AppendStateEntry(nil, []byte("key"), []byte("value")), func(b []byte) (any, error) {
		k, v, err := ParseStateEntry(b)
		return [2]string{string(k), string(v)}, err
	}, [2]string{"key", "value"}},
	{"A4.2 tags", AppendTags(nil, []string{"a", "", "subprotocol:0x1001"}), func(b []byte) (any, error) { return ParseTags(b) },
		[]string{"a", "", "subprotocol:0x1001"}},
	{"A4.2 pairs", AppendPairs(nil, []Pair{{"k", "v"}, {"", ""}}), func(b []byte) (any, error) { return ParsePairs(b) }, []Pair{{"k", "v"}, {"", ""}}},
	{"A4.3 start", AppendStart(nil, Start{Reason: StartUpgrade, Self: node, Previous: "0.1.0", MemoryLimit: 1, StateLimit: 2,
		Grants: []string{"state"}, Entropy: []byte{1}, Secret: []byte{2}}), func(b []byte) (any, error) { return ParseStart(b) },
		Start{Reason: StartUpgrade, Self: node, Previous: "0.1.0", MemoryLimit: 1, StateLimit: 2, Grants: []string{"state"}, Entropy: []byte{1}, Secret: []byte{2}}},
	{"A4.4 open", AppendOpen(nil, Open{From: FromApp, Principal: []byte("root"), Hops: 3, Deadline: time.Second, Method: "add", Meta: []byte{9}}),
		func(b []byte) (any, error) { return ParseOpen(b) },
		Open{From: FromApp, Principal: []byte("root"), Hops: 3, Deadline: time.Second, Method: "add", Meta: []byte{9}}},
	{"A4.5 peer info", AppendPeerInfo(nil, PeerInfo{Node: node, RTT: time.Millisecond, MTU: 1100}), func(b []byte) (any, error) { return ParsePeerInfo(b) },
		PeerInfo{Node: node, RTT: time.Millisecond, MTU: 1100}},
	{"A4.6 send many", AppendSendMany(nil, []Peer{1, 7}, []byte("m")), func(b []byte) (any, error) {
		p, m, err := ParseSendMany(b)
		return [2]any{p, string(m)}, err
	}, [2]any{[]Peer{1, 7}, "m"}},
}

func TestPayloads(t *testing.T) {
	for _, c := range payloads {
		got, err := c.parse(c.bytes)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, %v, want %+v", c.name, got, err, c.want)
		}
	}
}

// TestPayloadsTruncated: a payload cut anywhere is refused, or ends exactly at
// the border of an element where the last one takes the rest.
func TestPayloadsTruncated(t *testing.T) {
	borders := map[string][]int{ // lengths at which a shorter payload is another valid one
		"A4.1 state entry": {5, 6, 7, 8, 9},
		"A4.2 tags":        {0, 3, 5},
		"A4.2 pairs":       {0, 6},
		"A4.3 start":       {62}, // no grants
		"A4.6 send many":   {12},
	}
	for _, c := range payloads {
		for n := range c.bytes {
			_, err := c.parse(c.bytes[:n:n])
			valid := false
			for _, b := range borders[c.name] {
				valid = valid || b == n
			}
			if valid != (err == nil) || (err != nil && !errors.Is(err, ErrPayload)) {
				t.Errorf("%s cut to %d of %d bytes: err %v, want valid %v", c.name, n, len(c.bytes), err, valid)
			}
		}
	}
}

func TestPayloadLimits(t *testing.T) {
	open := func(n int) []byte { return AppendOpen(nil, Open{Meta: make([]byte, n)}) }
	fits := MaxOpen - len(open(0))
	if _, err := ParseOpen(open(fits)); err != nil {
		t.Errorf("an open of %d bytes: %v", MaxOpen, err)
	}
	if _, err := ParseOpen(open(fits + 1)); err == nil {
		t.Error("an open over MaxOpen is accepted")
	}
	if _, err := ParseOpen(AppendOpen(nil, Open{Deadline: -1})); err == nil {
		t.Error("a negative deadline is accepted")
	}
	if _, err := ParseOpen(append(open(0), 0)); err == nil {
		t.Error("bytes behind an open are accepted")
	}
	for name, b := range map[string][]byte{
		"empty key":      AppendStateEntry(nil, nil, []byte("v")),
		"long key":       AppendStateEntry(nil, make([]byte, MaxStateKey+1), nil),
		"long value":     AppendStateEntry(nil, []byte("k"), make([]byte, MaxStateValue+1)),
		"key of no size": {3},
	} {
		if _, _, err := ParseStateEntry(b); err == nil {
			t.Errorf("state entry with %s is accepted", name)
		}
	}
	if _, _, err := ParseStateEntry(AppendStateEntry(nil, make([]byte, MaxStateKey), make([]byte, MaxStateValue))); err != nil {
		t.Errorf("the largest state entry: %v", err)
	}
	if _, err := ParsePairs(AppendTags(nil, []string{"odd"})); err == nil {
		t.Error("an odd number of strings is accepted as pairs")
	}
	// A count that promises more peers than there are bytes must not allocate.
	if _, _, err := ParseSendMany([]byte{0xff, 0xff, 0xff, 0xff, 1, 2}); err == nil {
		t.Error("SendMany with a lying count is accepted")
	}
}

func TestAppendTooLongPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a tag of 65536 bytes is cut or wrapped silently")
		}
	}()
	AppendTags(nil, []string{strings.Repeat("x", 1<<16)})
}

// FuzzPayloads: no payload panics, and what is accepted is written back alike.
func FuzzPayloads(f *testing.F) {
	for _, c := range payloads {
		f.Add(c.bytes)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		check := func(name string, err error, again func() []byte) {
			if err == nil && !bytes.Equal(again(), b) {
				t.Errorf("%s: %x comes back as %x", name, b, again())
			}
		}
		o, err := ParseOpen(b)
		check("open", err, func() []byte { return AppendOpen(nil, o) })
		s, err := ParseStart(b)
		check("start", err, func() []byte { return AppendStart(nil, s) })
		p, err := ParsePeerInfo(b)
		check("peer info", err, func() []byte { return AppendPeerInfo(nil, p) })
		k, v, err := ParseStateEntry(b)
		check("state entry", err, func() []byte { return AppendStateEntry(nil, k, v) })
		peers, msg, err := ParseSendMany(b)
		check("send many", err, func() []byte { return AppendSendMany(nil, peers, msg) })
		tags, err := ParseTags(b)
		check("tags", err, func() []byte { return AppendTags(nil, tags) })
		pairs, err := ParsePairs(b)
		check("pairs", err, func() []byte { return AppendPairs(nil, pairs) })
	})
}
