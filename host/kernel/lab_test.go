package kernel

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"nethost/host/identity"
	"nethost/registry"
	"nethost/sdk"
)

// Ids of the modules in a lab: slot 0 answers to idChat on every node, slot 1 to
// idStore; idLonely is answered to by slot 2 of node 0 alone.
const (
	idChat   sdk.ID = 0x0007
	idStore  sdk.ID = 0x0008
	idLonely sdk.ID = 0x0009
)

// lab is kernels connected in memory. Modules and applications are played by the
// test: what they are told is recorded, what they do are effects.
type lab struct {
	t          testing.TB
	now        time.Duration
	k          []*Kernel
	out        []Output
	events     [][]Delivery // by node, since the last take
	apps       [][]AppEvent
	queue      []func()
	cut        func(from, to int) bool     // true: the datagram is lost
	lose       func(to int, b []byte) bool // the same, by what it is
	wire       func(to int, b []byte)      // sees what is delivered
	loseTrains func(from int) bool         // what leaves in one piece is lost
	trains     map[int][]int               // how long they were, where loseTrains is set
	poison     bool                        // overwrite every lent buffer after use
	busy       bool                        // datagrams wait for the network of every node
}

func addrOf(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 1)
}

// newLab makes nodes in a row: each dials the one before.
func newLab(t testing.TB, n int) *lab {
	t.Helper()
	l := newLoose(t, n)
	for i := 1; i < n; i++ {
		l.step(i, Input{Kind: InDial, From: addrOf(i - 1)})
	}
	l.run(2 * time.Second)
	return l
}

// newLoose makes nodes that do not know each other.
func newLoose(t testing.TB, n int) *lab { return newLooseMTU(t, n, 0) }

// newLooseMTU is newLoose where links are probed for packets up to a size.
func newLooseMTU(t testing.TB, n, mtu int) *lab {
	t.Helper()
	l := &lab{t: t, now: time.Second, out: make([]Output, n), events: make([][]Delivery, n), apps: make([][]AppEvent, n)}
	for i := range n {
		key := identity.NewKey([32]byte{byte(i + 1)})
		cfg := Config{MaxMTU: mtu, Key: key, Static: identity.NewStatic(key, [32]byte{byte(i + 9)}, 1), NetworkKey: identity.NetworkKey{5},
			Entropy: rand.NewChaCha8([32]byte{byte(i)}), Table: tableOf(i == 0), Modules: []string{"chat", "store", "lonely"}}
		k, err := New(cfg, l.now)
		if err != nil {
			t.Fatal(err)
		}
		l.k = append(l.k, k)
		for slot := range k.mods {
			l.step(i, Input{Kind: InModuleUp, Slot: slot})
		}
	}
	return l
}

func tableOf(lonely bool) *registry.Table {
	v := sdk.Version{Major: 1}
	t := registry.NewTable()
	for slot, id := range []sdk.ID{idChat, idStore, idLonely} {
		if id != idLonely || lonely {
			t = t.With(registry.Entry{Line: registry.Line{ID: id, Version: v, MinPeer: v}, Slot: slot})
		}
	}
	return t
}

// step runs one input and everything that follows from it at once.
func (l *lab) step(i int, in Input) {
	l.k[i].Step(l.now, &in, &l.out[i])
	out := &l.out[i]
	for _, d := range out.Datagrams {
		if l.loseTrains != nil {
			if l.trains == nil {
				l.trains = map[int][]int{}
			}
			l.trains[i] = append(l.trains[i], d.Count())
			if d.Count() > 1 && l.loseTrains(i) {
				continue
			}
		}
		for more := true; more; {
			var b []byte
			b, more = d.Cut()
			l.send(i, d.Addr, bytes.Clone(b))
		}
	}
	for _, j := range out.Jobs {
		l.queue = append(l.queue, func() { // later, as off a lock
			j.Run()
			l.step(i, Input{Kind: InJob, Job: j})
		})
	}
	for _, d := range out.Deliveries {
		d.Event.Payload = bytes.Clone(d.Event.Payload)
		l.events[i] = append(l.events[i], d)
	}
	for _, a := range out.Apps {
		a.Data = bytes.Clone(a.Data)
		l.apps[i] = append(l.apps[i], a)
	}
	if l.poison {
		poison(out.chunks...)
		poison(out.arena, in.Datagram, in.Data, in.Open.Meta, in.Open.Principal)
		for _, e := range in.Effects {
			poison(e.Payload)
		}
		for _, d := range out.Deliveries {
			poison(d.Event.Payload)
		}
		for _, a := range out.Apps {
			poison(a.Data)
		}
	}
	if len(l.queue) == 0 {
		return
	}
	queue := l.queue
	l.queue = nil
	for _, f := range queue {
		f()
	}
}

func poison(bufs ...[]byte) {
	for _, b := range bufs {
		b = b[:cap(b)]
		for i := range b {
			b[i] = 0xA5
		}
	}
}

func (l *lab) send(from int, to netip.AddrPort, b []byte) {
	for j := range l.k {
		if to == addrOf(j) && (l.cut == nil || !l.cut(from, j)) && (l.lose == nil || !l.lose(j, b)) {
			l.queue = append(l.queue, func() {
				if l.wire != nil {
					l.wire(j, b)
				}
				l.step(j, Input{Kind: InDatagram, Datagram: b, From: addrOf(from), Busy: l.busy})
			})
		}
	}
}

// run lets time pass, deadline by deadline.
func (l *lab) run(span time.Duration) {
	l.t.Helper()
	end := l.now + span
	for range 2_000_000 {
		next := never
		for _, k := range l.k {
			next = min(next, k.NextDeadline())
		}
		if next > end {
			l.now = end
			return
		}
		l.now = max(l.now, next)
		for i, k := range l.k {
			if k.NextDeadline() <= l.now {
				l.step(i, Input{Kind: InTick})
			}
		}
	}
	l.t.Fatal("the kernels do not come to rest")
}

// do applies effects of a module.
func (l *lab) do(i, slot int, effects ...sdk.Effect) {
	for n := range effects {
		effects[n].Payload = bytes.Clone(effects[n].Payload)
	}
	l.step(i, Input{Kind: InEffects, Slot: slot, Effects: effects})
}

// take gives the events of one kind for a module and forgets all others.
func (l *lab) take(i, slot int, kind sdk.EventKind) (evs []sdk.Event) {
	for _, d := range l.events[i] {
		if d.Slot == slot && d.Event.Kind == kind {
			evs = append(evs, d.Event)
		}
	}
	l.events[i] = nil
	return evs
}

// one is take for exactly one event.
func (l *lab) one(i, slot int, kind sdk.EventKind) sdk.Event {
	l.t.Helper()
	all := l.events[i]
	evs := l.take(i, slot, kind)
	if len(evs) != 1 {
		l.t.Fatalf("node %d module %d: %d events of kind %v, want 1, in %+v", i, slot, len(evs), kind, all)
	}
	return evs[0]
}

// app gives the single application event of a node.
func (l *lab) app(i int) AppEvent {
	l.t.Helper()
	if len(l.apps[i]) != 1 {
		l.t.Fatalf("node %d: application events %+v, want 1", i, l.apps[i])
	}
	ev := l.apps[i][0]
	l.apps[i] = nil
	return ev
}

// handle is how node i's modules call node j, 0 without an agreement.
func (l *lab) handle(i, j int) sdk.Peer {
	if p := l.k[i].peers[l.k[j].self]; p != nil {
		return p.handle
	}
	return 0
}

// wantReset expects a module to be told that a stream ended.
func (l *lab) wantReset(i, slot int, ref sdk.Ref, code sdk.Code) {
	l.t.Helper()
	if ev := l.one(i, slot, sdk.EvStreamReset); ev.Ref != ref || sdk.Code(ev.Arg) != code {
		l.t.Errorf("reset of %d with %v (%s), want %d with %v", ev.Ref, sdk.Code(ev.Arg), ev.Payload, ref, code)
	}
}

// settled checks that nothing of streams and opens is left behind anywhere.
func (l *lab) settled() {
	l.t.Helper()
	for i, k := range l.k {
		if len(k.apps) > 0 {
			l.t.Errorf("node %d keeps %d application streams", i, len(k.apps))
		}
		for slot, m := range k.mods {
			if len(m.streams) > 0 || len(m.timers) > 0 {
				l.t.Errorf("node %d module %d keeps %d streams, %d timers", i, slot, len(m.streams), len(m.timers))
			}
		}
		for _, p := range k.peers {
			if n := len(p.streams) + len(p.opening) + len(p.waiting); n > 0 {
				l.t.Errorf("node %d keeps %d streams, %d opening, %d waiting", i, len(p.streams), len(p.opening), len(p.waiting))
			}
			if p.mux != nil && p.mux.Stats().Streams > 0 {
				l.t.Errorf("node %d: the stream layer keeps %d streams", i, p.mux.Stats().Streams)
			}
		}
	}
}
