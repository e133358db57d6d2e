package kernel

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"nethost/host/identity"
	"nethost/sdk"
)

func openOf(o sdk.Open) []byte { return sdk.AppendOpen(nil, o) }

// moduleStream opens a stream from the chat module of a node to its store module
// and gives both references.
func moduleStream(l *lab, o sdk.Open) (chat, store sdk.Ref) {
	l.t.Helper()
	l.do(0, 0, sdk.Effect{Kind: sdk.OpStreamOpen, Flags: sdk.FlagModule, Ref: 1, ID: idStore, Payload: openOf(o)})
	ev := l.one(0, 1, sdk.EvStreamOpen)
	got, err := sdk.ParseOpen(ev.Payload)
	if err != nil || got.From != sdk.FromModule || string(got.Principal) != "chat" || got.Hops != o.Hops+1 || got.Method != o.Method ||
		ev.Arg != sdk.InitialCredit || ev.ID != idStore || ev.Ref%2 != 0 {
		l.t.Fatalf("%+v %+v %v", ev, got, err)
	}
	return 1, ev.Ref
}

// nobody is the id of a node that is not there.
func nobody() []byte {
	id := identity.NewKey([32]byte{77}).ID()
	return id[:]
}

func TestModuleToModule(t *testing.T) {
	l := newLoose(t, 1)
	chat, store := moduleStream(l, sdk.Open{Method: "put"})
	l.do(0, 0, sdk.Effect{Kind: sdk.OpStreamWrite, Ref: chat, Flags: sdk.FlagFIN, Payload: bytes.Repeat([]byte("x"), 2*sdk.MaxStreamData+5)})
	evs := l.take(0, 1, sdk.EvStreamData)
	if len(evs) != 3 || len(evs[0].Payload) != sdk.MaxStreamData || len(evs[2].Payload) != 5 || evs[1].FIN() || !evs[2].FIN() {
		t.Fatalf("%d data events", len(evs))
	}
	l.do(0, 1, sdk.Effect{Kind: sdk.OpStreamWrite, Ref: store, Payload: []byte("ab")})
	if ev := l.one(0, 0, sdk.EvStreamData); string(ev.Payload) != "ab" || ev.Ref != chat || ev.FIN() {
		t.Errorf("%+v", ev)
	}
	l.do(0, 0, sdk.Effect{Kind: sdk.OpStreamCredit, Ref: chat, Arg: 2})
	if ev := l.one(0, 1, sdk.EvStreamCredit); ev.Arg != 2 || ev.Ref != store {
		t.Errorf("%+v", ev)
	}
	l.do(0, 1, sdk.Effect{Kind: sdk.OpStreamWrite, Ref: store, Flags: sdk.FlagFIN})
	if ev := l.one(0, 0, sdk.EvStreamData); !ev.FIN() {
		t.Errorf("%+v", ev)
	}
	l.settled()
	// Late effects on a stream that is over do nothing.
	l.do(0, 0, sdk.Effect{Kind: sdk.OpStreamWrite, Ref: chat, Payload: []byte("late")}, sdk.Effect{Kind: sdk.OpStreamReset, Ref: chat, Arg: 1},
		sdk.Effect{Kind: sdk.OpStreamCredit, Ref: chat, Arg: 1})
	if len(l.events[0]) != 0 {
		t.Errorf("%+v", l.events[0])
	}
}

// TestRefusedOpens: an open that cannot be is answered by a reset that says why.
func TestRefusedOpens(t *testing.T) {
	l := newLab(t, 2)
	l.do(0, 0, sdk.Effect{Kind: sdk.OpStreamOpen, Flags: sdk.FlagModule, Ref: 99, ID: idStore, Payload: openOf(sdk.Open{})})
	l.events[0] = nil
	for name, c := range map[string]struct {
		f    sdk.Effect
		want sdk.Code
	}{
		"malformed":     {sdk.Effect{Ref: 3, Flags: sdk.FlagModule, ID: idStore, Payload: []byte("x")}, sdk.InvalidArgument},
		"even":          {sdk.Effect{Ref: 4, Flags: sdk.FlagModule, ID: idStore, Payload: openOf(sdk.Open{})}, sdk.InvalidArgument},
		"no module":     {sdk.Effect{Ref: 5, Flags: sdk.FlagModule, ID: 0x1234, Payload: openOf(sdk.Open{})}, sdk.NotFound},
		"too many hops": {sdk.Effect{Ref: 7, Flags: sdk.FlagModule, ID: idStore, Payload: openOf(sdk.Open{Hops: sdk.MaxHops})}, sdk.Overloaded},
		"no peer":       {sdk.Effect{Ref: 9, Peer: 77, ID: idChat, Payload: openOf(sdk.Open{})}, sdk.PeerGone},
		"not agreed":    {sdk.Effect{Ref: 11, Peer: l.handle(0, 1), ID: 0x1234, Payload: openOf(sdk.Open{})}, sdk.UnsupportedID},
		"not its id":    {sdk.Effect{Ref: 13, Peer: l.handle(0, 1), ID: idStore, Payload: openOf(sdk.Open{})}, sdk.UnsupportedID},
	} {
		c.f.Kind = sdk.OpStreamOpen
		l.do(0, 0, c.f)
		if ev := l.one(0, 0, sdk.EvStreamReset); ev.Ref != c.f.Ref || sdk.Code(ev.Arg) != c.want || len(ev.Payload) == 0 {
			t.Errorf("%s: %v (%s), want %v", name, sdk.Code(ev.Arg), ev.Payload, c.want)
		}
	}
	l.do(0, 0, sdk.Effect{Kind: sdk.OpStreamOpen, Flags: sdk.FlagModule, Ref: 15, ID: idStore, Payload: openOf(sdk.Open{Hops: sdk.MaxHops - 1})})
	l.one(0, 1, sdk.EvStreamOpen)
}

func TestAboveCredit(t *testing.T) {
	l := newLoose(t, 1)
	chat, store := moduleStream(l, sdk.Open{})
	l.do(0, 0, sdk.Effect{Kind: sdk.OpStreamWrite, Ref: chat, Payload: make([]byte, sdk.InitialCredit)})
	if n := len(l.take(0, 1, sdk.EvStreamData)); n != 4 {
		t.Fatalf("%d data events", n)
	}
	l.do(0, 1, sdk.Effect{Kind: sdk.OpStreamCredit, Ref: store, Arg: 10})
	l.do(0, 0, sdk.Effect{Kind: sdk.OpStreamWrite, Ref: chat, Payload: make([]byte, 10)})
	l.events[0] = nil
	l.do(0, 0, sdk.Effect{Kind: sdk.OpStreamWrite, Ref: chat, Payload: []byte{1}})
	events := l.events[0]
	l.wantReset(0, 0, chat, sdk.FlowControl)
	l.events[0] = events
	l.wantReset(0, 1, store, sdk.FlowControl)
	l.settled()

	// Towards a peer the same, and the peer's module is told too.
	l = newLab(t, 2)
	l.do(0, 0, sdk.Effect{Kind: sdk.OpStreamOpen, Ref: 1, Peer: l.handle(0, 1), ID: idChat, Payload: openOf(sdk.Open{})})
	l.run(time.Second)
	ref := l.one(1, 0, sdk.EvStreamOpen).Ref
	l.do(0, 0, sdk.Effect{Kind: sdk.OpStreamWrite, Ref: 1, Payload: make([]byte, sdk.InitialCredit)})
	l.run(time.Second)
	got := 0
	for _, ev := range l.take(1, 0, sdk.EvStreamData) {
		got += len(ev.Payload)
	}
	more := 1 // what was granted meanwhile, and one
	for _, ev := range l.take(0, 0, sdk.EvStreamCredit) {
		more += int(ev.Arg)
	}
	if got != sdk.InitialCredit || more > sdk.MaxOpen {
		t.Errorf("%d bytes arrived, %d more were granted", got, more-1)
	}
	l.do(0, 0, sdk.Effect{Kind: sdk.OpStreamWrite, Ref: 1, Payload: make([]byte, more)})
	l.wantReset(0, 0, 1, sdk.FlowControl)
	l.run(time.Second)
	l.wantReset(1, 0, ref, sdk.FlowControl)
	l.settled()
}

func TestDeadline(t *testing.T) {
	l := newLab(t, 2)
	chat, store := moduleStream(l, sdk.Open{Deadline: time.Second})
	l.run(999 * time.Millisecond)
	if l.take(0, 1, sdk.EvStreamReset) != nil {
		t.Error("too early")
	}
	l.run(time.Millisecond)
	events := l.events[0]
	l.wantReset(0, 0, chat, sdk.DeadlineExceeded)
	l.events[0] = events
	l.wantReset(0, 1, store, sdk.DeadlineExceeded)
	l.do(0, 0, sdk.Effect{Kind: sdk.OpStreamOpen, Ref: 3, Peer: l.handle(0, 1), ID: idChat, Payload: openOf(sdk.Open{Deadline: time.Second})})
	l.run(990 * time.Millisecond)
	ref := l.one(1, 0, sdk.EvStreamOpen).Ref
	l.run(time.Second)
	l.wantReset(0, 0, 3, sdk.DeadlineExceeded)
	l.wantReset(1, 0, ref, sdk.DeadlineExceeded)
	l.settled()
	// The longest deadline there is does not wrap around.
	l.do(0, 0, sdk.Effect{Kind: sdk.OpStreamOpen, Flags: sdk.FlagModule, Ref: 5, ID: idStore, Payload: openOf(sdk.Open{Deadline: never})})
	l.run(time.Minute)
	if l.take(0, 0, sdk.EvStreamReset) != nil {
		t.Error("an endless deadline was exceeded")
	}
}

// TestModuleRestart: the streams of a dead instance are reset, its timers and its
// Connects are gone, sessions stay.
func TestModuleRestart(t *testing.T) {
	l := newLab(t, 2)
	chat, store := moduleStream(l, sdk.Open{})
	l.do(0, 1, sdk.Effect{Kind: sdk.OpStreamOpen, Ref: 1, Peer: l.handle(0, 1), ID: idStore, Payload: openOf(sdk.Open{})},
		sdk.Effect{Kind: sdk.OpTimer, Ref: 8, Arg: uint64(time.Second)},
		sdk.Effect{Kind: sdk.OpConnect, Ref: 10, Payload: nobody()})
	l.run(100 * time.Millisecond)
	ref := l.one(1, 1, sdk.EvStreamOpen).Ref
	l.events[0] = nil
	l.step(0, Input{Kind: InModuleDown, Slot: 1})
	l.wantReset(0, 0, chat, sdk.ModuleRestarted)
	l.run(time.Second / 10)
	l.wantReset(1, 1, ref, sdk.ModuleRestarted)
	l.settled()
	// While it is down nobody reaches it, and its effects do nothing.
	l.do(0, 0, sdk.Effect{Kind: sdk.OpStreamOpen, Flags: sdk.FlagModule, Ref: 3, ID: idStore, Payload: openOf(sdk.Open{})})
	l.wantReset(0, 0, 3, sdk.ModuleRestarted)
	l.do(0, 1, sdk.Effect{Kind: sdk.OpTimer, Ref: 9, Arg: 1}, sdk.Effect{Kind: sdk.OpStreamWrite, Ref: store, Payload: []byte("x")})
	l.do(1, 1, sdk.Effect{Kind: sdk.OpSend, Peer: l.handle(1, 0), ID: idStore, Payload: []byte("hello")},
		sdk.Effect{Kind: sdk.OpStreamOpen, Ref: 5, Peer: l.handle(1, 0), ID: idStore, Payload: openOf(sdk.Open{})})
	l.run(time.Minute)
	if n := len(l.take(0, 1, sdk.EvMessage)); n != 0 {
		t.Error("a module that is down got a message")
	}
	// A restart is coming: that is not "nobody here handles this id".
	l.wantReset(1, 1, 5, sdk.ModuleRestarted)
	if n := len(l.take(1, 1, sdk.EvUnsupported)); n != 0 || l.k[0].counters.Drops[DropModuleDown] != 1 {
		t.Errorf("%d Unsupported, %d dropped for a module that is down", n, l.k[0].counters.Drops[DropModuleDown])
	}
	l.step(0, Input{Kind: InModuleUp, Slot: 1})
	up := l.one(0, 1, sdk.EvPeerUp)
	if up.Peer != l.handle(0, 1) || up.Peer == 0 {
		t.Errorf("%+v", up)
	}
	l.run(time.Minute)
	if len(l.events[0]) != 0 {
		t.Errorf("a fresh instance was told of its predecessor's: %+v", l.events[0])
	}
	l.do(0, 1, sdk.Effect{Kind: sdk.OpConnect, Ref: 12, Payload: nobody()})
	l.step(0, Input{Kind: InModuleDown, Slot: 1})
	l.step(0, Input{Kind: InModuleUp, Slot: 1})
	l.run(time.Minute)
	if l.take(0, 1, sdk.EvConnectFailed) != nil {
		t.Error("a fresh instance was told of its predecessor's Connect")
	}
	l.settled()
}

func TestModuleTimers(t *testing.T) {
	l := newLoose(t, 1)
	arm := func(ref sdk.Ref, after time.Duration) {
		l.do(0, 0, sdk.Effect{Kind: sdk.OpTimer, Ref: ref, Arg: uint64(after)})
	}
	arm(2, time.Second)
	arm(4, time.Nanosecond) // raised to the shortest
	arm(6, 2*time.Second)
	arm(6, 0)
	arm(8, time.Hour)
	arm(8, 3*time.Second) // moved
	arm(10, -1)           // the largest number: some day
	for _, c := range []struct {
		span time.Duration
		want sdk.Ref
	}{{sdk.MinTimer - 1, 0}, {1, 4}, {time.Second - sdk.MinTimer, 2}, {1999 * time.Millisecond, 0}, {time.Millisecond, 8}, {time.Minute, 0}} {
		l.run(c.span)
		evs := l.take(0, 0, sdk.EvTimer)
		if len(evs) == 0 && c.want != 0 || len(evs) > 0 && evs[0].Ref != c.want || len(evs) > 1 {
			t.Errorf("at %v: %+v, want %d", l.now, evs, c.want)
		}
	}
	for i := range sdk.MaxTimers {
		arm(sdk.Ref(100+i), time.Hour)
	}
	if ev := l.one(0, 0, sdk.EvDenied); ev.Arg != uint64(sdk.OpTimer) {
		t.Errorf("%+v", ev)
	}
}

// TestDeadPeer: effects that name a peer who left are answered or counted, and
// nothing names the handle after PeerDown.
func TestDeadPeer(t *testing.T) {
	l := newLab(t, 2)
	h := l.handle(0, 1)
	l.do(0, 0, sdk.Effect{Kind: sdk.OpStreamOpen, Ref: 1, Peer: h, ID: idChat, Payload: openOf(sdk.Open{})},
		sdk.Effect{Kind: sdk.OpSend, Peer: h, ID: idChat, Payload: make([]byte, 4000)}) // too big: Dropped is due in 10 ms
	l.events[0] = nil
	l.step(1, Input{Kind: InShutdown})
	var resets, downs int
	for i, d := range l.events[0] {
		switch d.Event.Kind {
		case sdk.EvStreamReset:
			resets++
		case sdk.EvPeerDown:
			if downs++; d.Slot == 0 && resets != 1 {
				t.Errorf("event %d: PeerDown before the reset of the peer's stream", i)
			}
		}
	}
	if l.events[0] = nil; resets != 1 || downs != 2 {
		t.Errorf("%d resets, %d PeerDown", resets, downs)
	}
	dropped := l.k[0].Counters().Drops[DropNoPeer]
	l.do(0, 0, sdk.Effect{Kind: sdk.OpSend, Peer: h, ID: idChat, Payload: []byte("x")},
		sdk.Effect{Kind: sdk.OpStreamWrite, Ref: 1, Payload: []byte("x")},
		sdk.Effect{Kind: sdk.OpStreamOpen, Ref: 3, Peer: h, ID: idChat, Payload: openOf(sdk.Open{})})
	l.wantReset(0, 0, 3, sdk.PeerGone)
	if n := l.k[0].Counters().Drops[DropNoPeer] - dropped; n != 1 {
		t.Errorf("%d drops counted", n)
	}
	l.run(time.Minute)
	for _, d := range l.events[0] {
		t.Errorf("after PeerDown: %+v", d)
	}
	l.settled()
}

// TestDroppedOfDead: what was dropped towards a peer is not told after PeerDown,
// when nothing may name the handle any more.
func TestDroppedOfDead(t *testing.T) {
	l := newLab(t, 2)
	p := l.k[0].peers[l.k[1].self]
	l.do(0, 0, sdk.Effect{Kind: sdk.OpSend, Peer: p.handle, ID: idChat, Payload: make([]byte, 4000)})
	p.dial = &dial{} // a handshake under way keeps the peer in the tables
	l.step(1, Input{Kind: InShutdown})
	l.run(time.Second)
	if p.gone || l.take(0, 0, sdk.EvDropped) != nil {
		t.Errorf("gone %v, or Dropped after PeerDown", p.gone)
	}
}

// TestConnect: a module's Connect is answered, whatever becomes of it.
func TestConnect(t *testing.T) {
	l := newLab(t, 3)
	l.events[0] = nil
	target := l.k[2].self
	l.do(0, 0, sdk.Effect{Kind: sdk.OpConnect, Ref: 2, Payload: target[:]})
	l.run(2 * time.Second)
	if ev := l.one(0, 0, sdk.EvPeerUp); ev.Peer != l.handle(0, 2) {
		t.Errorf("%+v", ev)
	}
	fail := func(slot int, node []byte, want sdk.Code) {
		t.Helper()
		l.events[0] = nil
		l.do(0, slot, sdk.Effect{Kind: sdk.OpConnect, Ref: 4, Payload: node})
		l.run(time.Minute)
		if ev := l.one(0, slot, sdk.EvConnectFailed); sdk.Code(ev.Arg) != want || ev.Ref != 4 {
			t.Errorf("%v (%s), want %v", sdk.Code(ev.Arg), ev.Payload, want)
		}
	}
	fail(2, target[:], sdk.UnsupportedID) // nobody there answers to the lonely module's id
	self := l.k[0].self
	fail(0, self[:], sdk.InvalidArgument)
	fail(0, []byte("short"), sdk.InvalidArgument)
	fail(0, nobody(), sdk.NoRoute)
	l.run(5 * time.Minute)
	fail(2, target[:], sdk.UnsupportedID) // the same when a session must be made first
	l.settled()
	if len(l.k[0].peers) != 2 {
		t.Errorf("%d peers are kept", len(l.k[0].peers))
	}
}

func TestAppOpen(t *testing.T) {
	l := newLab(t, 2)
	nobody := sdk.NodeID(nobody())
	open := func(app uint64, node sdk.NodeID, id sdk.ID, o sdk.Open) {
		l.step(0, Input{Kind: InAppOpen, App: app, Node: node, ID: id, Open: o})
	}
	// Nobody there: the open fails when its time is over, not before.
	open(1, nobody, idChat, sdk.Open{Deadline: 2 * time.Second})
	l.run(1990 * time.Millisecond)
	if len(l.apps[0]) != 0 {
		t.Fatalf("%+v", l.apps[0])
	}
	l.run(10 * time.Millisecond)
	if ev := l.app(0); ev.Kind != AppReset || ev.Code != sdk.NoRoute || !strings.Contains(ev.Text, "2s") {
		t.Errorf("%+v", ev)
	}
	open(2, nobody, idChat, sdk.Open{})
	l.run(openTimeout)
	if ev := l.app(0); ev.Code != sdk.NoRoute {
		t.Errorf("%+v", ev)
	}
	// Given up by the application while it waits.
	open(3, nobody, idChat, sdk.Open{})
	l.step(0, Input{Kind: InAppReset, App: 3})
	open(4, nobody, idChat, sdk.Open{})
	l.step(0, Input{Kind: InAppWrite, App: 4, Data: []byte("x")})
	if ev := l.app(0); ev.App != 4 || ev.Code != sdk.FlowControl {
		t.Errorf("%+v", ev)
	}
	l.run(time.Minute)
	l.settled()
	if len(l.k[0].peers) != 1 {
		t.Errorf("%d peers are kept", len(l.k[0].peers))
	}
	// There, but not what was asked for.
	open(5, l.k[1].self, idLonely, sdk.Open{})
	if ev := l.app(0); ev.Code != sdk.UnsupportedID || !strings.Contains(ev.Text, "has no module") {
		t.Errorf("%+v", ev)
	}
	open(5, sdk.NodeID{}, 0x1234, sdk.Open{})
	if ev := l.app(0); ev.Code != sdk.UnsupportedID {
		t.Errorf("%+v", ev)
	}
	// An application calls a module here, and one of the peer.
	for i, node := range []sdk.NodeID{{}, l.k[1].self} {
		l.events[0], l.events[1] = nil, nil
		app := uint64(10 + i)
		open(app, node, idChat, sdk.Open{Method: "m"})
		if ev := l.app(0); ev.Kind != AppOpened || ev.N != sdk.InitialCredit {
			t.Errorf("%+v", ev)
		}
		open(app, node, idChat, sdk.Open{})
		if ev := l.app(0); ev.Code != sdk.InvalidArgument {
			t.Errorf("a number used twice: %+v", ev)
		}
		l.step(0, Input{Kind: InAppWrite, App: app, Data: []byte("question"), FIN: true})
		l.run(time.Second)
		ref := l.take(i, 0, sdk.EvStreamData)[0].Ref
		l.do(i, 0, sdk.Effect{Kind: sdk.OpStreamWrite, Ref: ref, Flags: sdk.FlagFIN, Payload: []byte("answer")})
		l.run(time.Second)
		if ev := l.app(0); ev.Kind != AppData || string(ev.Data) != "answer" || !ev.FIN {
			t.Errorf("%+v", ev)
		}
	}
	l.settled()
}
