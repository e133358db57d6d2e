package capability

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nethost/sdk"
	"nethost/sdk/gossip"
	"nethost/sdk/sdktest"
)

// mesh makes a chain of n nodes, each with a tag of its own.
func mesh(t testing.TB, n int) *sdktest.Mesh {
	m := sdktest.NewMesh(t, n, New)
	for i := range n {
		say(m, i, 0x0001, "hardware.cores=4", fmt.Sprintf("rack=%d", i))
		if i > 0 {
			m.Link(i-1, i)
		}
	}
	m.Run()
	return m
}

// say makes the host of a node tell tags of a module.
func say(m *sdktest.Mesh, i int, id sdk.ID, tags ...string) {
	m.Nodes[i].Queue(sdk.Event{Kind: sdk.EvAnnounceChanged, ID: id, Version: sdk.Version{Major: 1}, Payload: sdk.AppendTags(nil, tags)})
}

// query asks node i and gives the racks of the nodes it finds.
func query(t testing.TB, m *sdktest.Mesh, i int, q string) []string {
	t.Helper()
	req, _ := json.Marshal(request{Query: q})
	c := m.Call(i, "find", req)
	var l foundList
	if err := json.Unmarshal(c.Got, &l); err != nil || !c.FIN {
		t.Fatalf("find %q: %q, reset %v %s", q, c.Got, c.WasReset, c.ResetText)
	}
	racks := []string{}
	for _, n := range l.Nodes {
		valuesOf(n.Tags, "rack", func(v string) bool { racks = append(racks, v); return true })
	}
	slices.Sort(racks)
	return racks
}

func want(t testing.TB, what string, got []string, racks ...string) {
	t.Helper()
	if !slices.Equal(got, racks) && len(got)+len(racks) > 0 {
		t.Errorf("%s: nodes %v, want %v", what, got, racks)
	}
}

// TestConverges: C2.3, C2.6 and gossip over hops, a late joiner, a change, an end.
func TestConverges(t *testing.T) {
	m := mesh(t, 5)
	for i := range m.Nodes {
		want(t, fmt.Sprintf("node %d", i), query(t, m, i, "hardware.cores>=4"), "0", "1", "2", "3", "4")
	}
	// A change travels at once, and no slot clobbers another.
	say(m, 0, 0x0A00, "chan:sensors/a")
	m.Call(0, "tag-add", []byte(`{"tags":["prod","region:us"]}`))
	m.Run()
	want(t, "changed tags 4 hops away", query(t, m, 4, "chan:sensors/a and prod and region:us and hardware.cores=4"), "0")
	say(m, 0, 0x0A00)
	m.Call(0, "tag-rm", []byte(`{"tags":["prod"]}`))
	want(t, "a slot that ended", query(t, m, 4, "chan:* or prod"))
	want(t, "what the operator left", query(t, m, 4, "region:us"), "0")

	// A part that grew alone finds the others through one link.
	m.Cut(1, 2)
	m.Run()
	say(m, 4, 0x0001, "hardware.cores=8", "rack=4")
	m.Run()
	want(t, "before the link", query(t, m, 0, "hardware.cores=8"))
	m.Link(1, 3)
	m.Run()
	for _, i := range []int{0, 1} {
		want(t, "after the link", query(t, m, i, "hardware.cores=8"), "4")
	}
	for _, n := range m.Nodes {
		if len(n.Log) > 0 {
			t.Errorf("log: %v", n.Log)
		}
	}
}

// TestReachable: C4.1 and C4.2: who is dead is in no answer, and comes back.
func TestReachable(t *testing.T) {
	m := mesh(t, 3)
	route := func(to int, lost bool) {
		ev := sdk.Event{Kind: sdk.EvRoute, Arg: uint64(1000 * (3 - to)), Payload: m.Nodes[to].ID[:]}
		if lost {
			ev.Flags = sdk.FlagFIN
		}
		m.Nodes[0].Queue(ev)
		m.Run()
	}
	w := m.Open(0, "watch", nil)
	w.Write([]byte(`{"query":"rack"}`), true)
	m.Run()
	route(1, false)
	route(2, false)
	want(t, "all reachable", query(t, m, 0, "rack"), "0", "1", "2")
	var near foundList
	if err := json.Unmarshal(m.Call(0, "find", []byte(`{"query":"rack","sort":"nearest"}`)).Got, &near); err != nil {
		t.Fatal(err)
	}
	order := []string{near.Nodes[0].Node, near.Nodes[1].Node, near.Nodes[2].Node}
	if !slices.Equal(order, []string{m.Nodes[0].ID.String(), m.Nodes[2].ID.String(), m.Nodes[1].ID.String()}) {
		t.Errorf("nearest: %v", order)
	}
	route(2, true)
	want(t, "one is dead", query(t, m, 0, "rack"), "0", "1")
	route(2, false)
	want(t, "it is back", query(t, m, 0, "rack"), "0", "1", "2")
	var lines []string
	for l := range strings.Lines(string(w.Got)) {
		var e event
		if json.Unmarshal([]byte(l), &e) != nil {
			t.Fatalf("line %q", l)
		}
		if e.Node == m.Nodes[2].ID.String() {
			lines = append(lines, e.Change)
		}
	}
	if got := strings.Join(lines, " "); got != "add remove add remove add" {
		t.Errorf("the watcher heard %s", got) // the first pair is from before the host told any route
	}
	// C4.2: nobody refreshes node 2 any more.
	m.Stop(2)
	m.Run()
	m.Advance(lifetime + time.Minute)
	if st := m.Call(0, "stats", nil); !strings.Contains(string(st.Got), `"announcements":2`) {
		t.Errorf("an old announcement is kept: %s", st.Got)
	}
	want(t, "those that refresh", query(t, m, 0, "rack"), "0", "1")
}

// TestRestart: C2.4: a restart is newer; one with lost state overtakes itself.
func TestRestart(t *testing.T) {
	m := mesh(t, 2)
	again := func(state map[string][]byte, rack string) {
		m.Stop(1)
		m.Nodes[1].State = state
		m.Start(1, New(), sdk.StartRestart)
		say(m, 1, 0x0001, "rack="+rack)
		m.Link(0, 1)
		m.Run()
		m.Advance(time.Second)
		want(t, "after the restart", query(t, m, 0, "rack="+rack), rack)
	}
	m.Call(1, "tag-add", []byte(`{"tags":["kept"]}`))
	again(m.Nodes[1].State, "7")
	want(t, "the operator's tags", query(t, m, 0, "kept"), "7")
	again(m.Nodes[1].State, "8")
	again(map[string][]byte{}, "9")
	want(t, "lost tags", query(t, m, 0, "kept"))
}

// TestMissing: C4.3.
func TestMissing(t *testing.T) {
	m := mesh(t, 2)
	far := sdk.NodeID{42}
	m.Nodes[0].Queue(sdk.Event{Kind: sdk.EvRoute, Arg: 5, Payload: far[:]})
	m.Nodes[0].Queue(sdk.Event{Kind: sdk.EvRoute, Arg: 5, Payload: m.Nodes[1].ID[:]})
	m.Run()
	m.Advance(7 * time.Second)
	asked := 0
	for _, f := range m.Nodes[0].Effects {
		if f.Kind == sdk.OpConnect && bytes.Equal(f.Payload, far[:]) {
			asked++
			m.Nodes[0].Queue(sdk.Event{Kind: sdk.EvConnectFailed, Ref: f.Ref, Arg: uint64(sdk.UnsupportedID)})
		} else if f.Kind == sdk.OpConnect {
			t.Error("a node that is known was asked for")
		}
	}
	if asked != 1 {
		t.Errorf("the node nobody told of was asked for %d times in 7 s", asked)
	}
	m.Run()
	m.Nodes[0].Effects = nil
	m.Advance(10 * time.Minute)
	if len(m.Nodes[0].Effects) != 0 {
		t.Error("a node without capability is asked again within the hour")
	}
}

// item is an ITEM frame by hand (gossip G1.2).
func item(body []byte) []byte {
	b := append([]byte{5}, binary.LittleEndian.AppendUint32(nil, uint32(len(body)+4))...)
	return append(append(b, 0, 0, 0, 0), body...)
}

func signedBy(key ed25519.PrivateKey, a announcement) []byte {
	body := a.appendBody(nil)
	a.sig = [64]byte(ed25519.Sign(key, sdk.AppendSigned(nil, "", moduleID, ID, body)))
	return a.append(nil)
}

// TestHostile: forged, replayed, malformed and giant announcements are refused with a
// reason, counted, and change nothing (C2.2, C2.5, gossip G3).
func TestHostile(t *testing.T) {
	m := sdktest.NewMesh(t, 3, New)
	for i := range 3 {
		say(m, i, 0x0001, fmt.Sprintf("rack=%d", i))
	}
	m.Link(0, 1)
	m.Run()
	key := m.Nodes[2].Key
	good := announcement{node: m.Nodes[2].ID, version: gossip.Version{9, 9}, ttl: time.Hour, tags: []string{"rack=evil"}}
	forged := good
	unsorted, long := good, good
	unsorted.tags = []string{"b", "a"}
	for i := range 2000 {
		long.tags = append(long.tags, fmt.Sprintf("tag%04d", i))
	}
	foreign := good
	foreign.node = m.Nodes[1].ID
	cases := []struct {
		what  string
		bytes []byte
		code  sdk.Code
		count string
	}{
		{"not signed", item(forged.append(nil)), sdk.PermissionDenied, "forged"},
		{"signed by another", item(signedBy(key, foreign)), sdk.PermissionDenied, "forged"},
		{"1 MiB", append([]byte{5, 0, 0, 16, 0}, make([]byte, 1<<16)...), sdk.InvalidArgument, "malformed"},
		{"unsorted tags", item(signedBy(key, unsorted)), sdk.InvalidArgument, "malformed"},
		{"too many tags", item(signedBy(key, long)), sdk.InvalidArgument, "malformed"},
		{"no announcement", item([]byte("hello")), sdk.InvalidArgument, "malformed"},
		{"an unknown frame", []byte{9, 0, 0, 0, 0}, sdk.InvalidArgument, "malformed"},
		{"a short ROOT", []byte{1, 1, 0, 0, 0, 7}, sdk.InvalidArgument, "malformed"},
	}
	for _, c := range cases {
		m.Advance(31 * time.Second)
		before := m.Nodes[0].Counters[c.count]
		s := m.Dial(1, 0, gossip.Method)
		s.Write(c.bytes, false)
		m.Run()
		if !s.WasReset || s.ResetCode != c.code || s.ResetText == "" || m.Nodes[0].Counters[c.count] != before+1 {
			t.Errorf("%s: reset %v %v %q, counted %d", c.what, s.WasReset, s.ResetCode, s.ResetText, m.Nodes[0].Counters[c.count]-before)
		}
		again := m.Dial(1, 0, gossip.Method)
		m.Run()
		if !again.WasReset {
			t.Errorf("%s: the liar is listened to at once", c.what)
		}
	}
	want(t, "after all that", query(t, m, 0, "rack"), "0", "1")
	m.Advance(31 * time.Second)
	s := m.Dial(1, 0, gossip.Method)
	s.Write(item(signedBy(key, good)), false)
	m.Run()
	older := good
	older.version, older.tags = gossip.Version{9, 8}, []string{"rack=old"}
	s.Write(item(signedBy(key, older)), false)
	s.Write(item(signedBy(key, good)), false)
	m.Run()
	want(t, "a good one, then replays of it and of an older one", query(t, m, 0, "rack"), "0", "1", "evil")
	if m.Nodes[0].Counters["old"] < 2 || s.WasReset {
		t.Errorf("replays: %v, %s", m.Nodes[0].Counters, s.ResetText)
	}
}

// TestCalls: C1.4, C5.1: what is refused says why.
func TestCalls(t *testing.T) {
	m := mesh(t, 2)
	say(m, 0, 0x1002, "chan:mine", "hardware.gpu=x", "bad tag")
	m.Run()
	want(t, "a module that announces another's tags", query(t, m, 1, "chan:*"))
	want(t, "its other ones", query(t, m, 1, "hardware.gpu"), "0")
	for _, c := range []struct {
		method, in string
		code       sdk.Code
	}{
		{"nothing", "", sdk.Unimplemented}, {"find", `{"query":"("}`, sdk.InvalidArgument}, {"find", `{"sort":"best"}`, sdk.InvalidArgument},
		{"find", `{"sort":"score"}`, sdk.InvalidArgument}, {"find", `{"limit":-1}`, sdk.InvalidArgument}, {"find", `{"x":1}`, sdk.InvalidArgument},
		{"find", "[]", sdk.InvalidArgument}, {"show", `{"node":"zzz"}`, sdk.NotFound}, {"tag-add", `{}`, sdk.InvalidArgument},
		{"tag-add", `{"tags":["chan:x"]}`, sdk.InvalidArgument}, {"tag-add", `{"tags":["a b"]}`, sdk.InvalidArgument}, {"tag-rm", `{"tags":["x"]}`, sdk.NotFound},
		{"watch", `{"query":"a and"}`, sdk.InvalidArgument}, {"find", strings.Repeat(" ", maxRequest+1), sdk.InvalidArgument},
	} {
		s := m.Call(0, c.method, []byte(c.in))
		if !s.WasReset || s.ResetCode != c.code || s.ResetText == "" {
			t.Errorf("%s %.40s: reset %v %v %q, answer %q", c.method, c.in, s.WasReset, s.ResetCode, s.ResetText, s.Got)
		}
	}
	if s := m.Dial(1, 0, "find"); true {
		m.Run()
		if !s.WasReset || s.ResetCode != sdk.PermissionDenied {
			t.Error("a peer may ask")
		}
	}
	for _, method := range []string{"ls", "show", "tags", "check", "explain", "stats"} {
		if s := m.Call(0, method, nil); !s.FIN || !json.Valid(s.Got) {
			t.Errorf("%s: %q %s", method, s.Got, s.ResetText)
		}
	}
}

// FuzzAnnouncement: C2.1 and C2.2: one spelling.
func FuzzAnnouncement(f *testing.F) {
	a := announcement{node: sdk.NodeID{1}, version: gossip.Version{1, 2}, ttl: time.Hour, tags: []string{"a", "b=1"}}
	f.Add(a.append(nil))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseAnnouncement(string(b))
		if err == nil && !bytes.Equal(a.append(nil), b) {
			t.Fatalf("%x is written as %x", b, a.append(nil))
		}
	})
}

// TestTruncated: cut anywhere it is no announcement.
func TestTruncated(t *testing.T) {
	a := announcement{node: sdk.NodeID{1}, version: gossip.Version{1, 2}, ttl: time.Hour, tags: []string{"a", "b=1"}}
	b := a.append(nil)
	for n := range b {
		if _, err := parseAnnouncement(string(b[:n])); err == nil {
			t.Fatalf("cut at %d it is one", n)
		}
	}
}
