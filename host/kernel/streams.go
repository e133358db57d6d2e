package kernel

import (
	"encoding/binary"
	"time"

	"nethost/host/stream"
	"nethost/registry"
	"nethost/sdk"
)

const (
	muxOK     = stream.OK
	muxTooBig = stream.TooBig
	// maxCredit bounds what one side of a stream may be granted ahead, in
	// bytes, whatever the far end grants.
	maxCredit = 16 << 20
)

// endKind is what stands at one end of a stream.
type endKind uint8

const (
	endNone endKind = iota
	endModule
	endPeer
	endApp
)

// end is one end of a stream. Which fields count depends on kind.
type end struct {
	kind endKind
	slot int     // endModule
	ref  sdk.Ref // endModule
	peer *peer   // endPeer
	sid  uint64  // endPeer
	app  uint64  // endApp
}

// pipe is a stream: two ends, and what each may still write. All six pairs of
// ends behave alike; only the delivery differs. Side 0 opened it.
//
// Invariant: bytes delivered to a side and not yet consumed by it never exceed
// what the other side was granted.
type pipe struct {
	end    [2]end
	id     sdk.ID
	credit [2]uint64 // what side i may still write, in bytes
	fin    [2]bool   // side i has written its last
	open   sdk.Open  // of an application's open that waits for a session
	waits  bool
	timer  timer // deadline
	dead   bool
}

func (pi *pipe) sideOfModule(slot int, ref sdk.Ref) int {
	if e := &pi.end[0]; e.kind == endModule && e.slot == slot && e.ref == ref {
		return 0
	}
	return 1
}

func (pi *pipe) sideOfPeer(p *peer, sid uint64) int {
	if e := &pi.end[0]; e.kind == endPeer && e.peer == p && e.sid == sid {
		return 0
	}
	return 1
}

// modSlot is what the kernel keeps for a module.
type modSlot struct {
	name     string
	up       bool
	draining bool              // it was told to finish
	lines    []registry.Line   // of one that another version took over from: what it still answers to
	told     map[toldPeer]bool // ... and the peers it knows
	streams  map[sdk.Ref]*pipe
	timers   map[sdk.Ref]*modTimer
	lastRef  sdk.Ref // the host's refs are even
}

// modTimer is one armed timer of a module.
type modTimer struct{ timer }

// attach enters both ends into their tables and arms the deadline.
func (k *Kernel) attach(pi *pipe, deadline time.Duration) {
	for i := range pi.end {
		switch e := &pi.end[i]; e.kind {
		case endModule:
			k.mods[e.slot].streams[e.ref] = pi
		case endPeer:
			e.peer.keep(e.sid, pi)
		case endApp:
			k.apps[e.app] = pi
		}
	}
	if deadline > 0 {
		if pi.timer.fire == nil {
			pi.timer.fire = func(time.Duration) {
				k.breakBoth(pi, sdk.DeadlineExceeded, "deadline exceeded")
			}
		}
		k.timers.set(&pi.timer, k.now+min(deadline, never/2))
	}
}

// detach takes a pipe off every table.
func (k *Kernel) detach(pi *pipe) {
	pi.dead = true
	k.timers.set(&pi.timer, never)
	for i := range pi.end {
		switch e := &pi.end[i]; e.kind {
		case endModule:
			delete(k.mods[e.slot].streams, e.ref)
		case endPeer:
			delete(e.peer.streams, e.sid)
		case endApp:
			delete(k.apps, e.app)
		}
	}
}

// initialCredit is what an end may write at first. A peer's includes the room of
// an open, which the stream layer counts and the far end never sees.
func initialCredit(kind endKind) uint64 {
	if kind == endPeer {
		return stream.InitialWindow
	}
	return sdk.InitialCredit
}

// hostRef gives a fresh even reference for a module.
func (k *Kernel) hostRef(slot int) sdk.Ref {
	k.mods[slot].lastRef += 2
	return k.mods[slot].lastRef
}

// offer hands an open to the module of a slot as side 1 of a new pipe.
func (k *Kernel) offer(from end, slot int, id sdk.ID, v sdk.Version, o sdk.Open) (*pipe, sdk.Code) {
	switch m := &k.mods[slot]; {
	case !m.up:
		return nil, sdk.ModuleRestarted
	case m.draining && m.lines == nil:
		return nil, sdk.Draining
	case len(m.streams) >= maxModStreams, o.Hops >= sdk.MaxHops:
		return nil, sdk.Overloaded
	}
	pi := &pipe{end: [2]end{from, {kind: endModule, slot: slot, ref: k.hostRef(slot)}}, id: id,
		credit: [2]uint64{initialCredit(from.kind), sdk.InitialCredit}}
	ev := sdk.Event{Kind: sdk.EvStreamOpen, Ref: pi.end[1].ref, ID: id, Version: v, Arg: sdk.InitialCredit}
	if from.kind == endPeer {
		ev.Peer = from.peer.handle
	}
	o.Hops++
	ev.Payload = k.out.keep(sdk.AppendOpen(nil, o))
	k.attach(pi, o.Deadline)
	k.out.deliver(slot, ev)
	return pi, 0
}

// write moves bytes from one side to the other.
func (k *Kernel) write(pi *pipe, side int, b []byte, fin bool) {
	if pi.dead || pi.fin[side] {
		return
	}
	if uint64(len(b)) > pi.credit[side] {
		k.breakBoth(pi, sdk.FlowControl, "more was written than credit allowed")
		return
	}
	pi.credit[side] -= uint64(len(b))
	pi.fin[side] = fin
	switch to := &pi.end[1-side]; to.kind {
	case endPeer:
		if r := to.peer.mux.Write(to.sid, b, fin); r != stream.OK {
			code := sdk.Internal
			if r == stream.NoBuffer {
				code = sdk.Overloaded
			}
			k.breakBoth(pi, code, "stream layer refused the bytes: "+r.String())
			return
		}
		k.written(to.peer, len(b), fin)
	case endModule:
		for len(b) > sdk.MaxStreamData {
			k.out.deliver(to.slot, sdk.Event{Kind: sdk.EvStreamData, Ref: to.ref, Payload: b[:sdk.MaxStreamData]})
			b = b[sdk.MaxStreamData:]
		}
		var flags uint16
		if fin {
			flags = sdk.FlagFIN
		}
		k.out.deliver(to.slot, sdk.Event{Kind: sdk.EvStreamData, Ref: to.ref, Flags: flags, Payload: b})
	case endApp:
		k.out.Apps = append(k.out.Apps, AppEvent{Kind: AppData, App: to.app, Data: b, FIN: fin})
	}
	if pi.fin[0] && pi.fin[1] {
		k.detach(pi)
	}
}

// consumed passes credit back: side took n bytes, the other may write as many.
//
// A peer is never given more than it has used: what a module grants ahead stays
// between the ends of this node.
func (k *Kernel) consumed(pi *pipe, side int, n uint64) {
	other := 1 - side
	n = min(n, maxCredit-min(maxCredit, pi.credit[other]))
	if pi.dead || pi.fin[other] || n == 0 {
		return
	}
	pi.credit[other] += n
	k.grant(&pi.end[other], n)
}

// grant tells an end that it may write n more bytes.
func (k *Kernel) grant(e *end, n uint64) {
	switch e.kind {
	case endPeer:
		e.peer.mux.Consumed(e.sid, n)
		k.touch(e.peer)
	case endModule:
		k.out.deliver(e.slot, sdk.Event{Kind: sdk.EvStreamCredit, Ref: e.ref, Arg: n})
	case endApp:
		k.out.Apps = append(k.out.Apps, AppEvent{Kind: AppCredit, App: e.app, N: n})
	}
}

// breakPipe ends a stream because of side: the other side is told.
func (k *Kernel) breakPipe(pi *pipe, side int, code sdk.Code, text string) {
	if pi.dead {
		return
	}
	k.detach(pi)
	k.notify(&pi.end[1-side], code, text)
}

// breakBoth ends a stream and tells both sides.
func (k *Kernel) breakBoth(pi *pipe, code sdk.Code, text string) {
	if pi.dead {
		return
	}
	k.detach(pi)
	k.notify(&pi.end[0], code, text)
	k.notify(&pi.end[1], code, text)
}

// notify tells an end that its stream was reset.
func (k *Kernel) notify(e *end, code sdk.Code, text string) {
	switch e.kind {
	case endPeer:
		if e.peer.mux != nil {
			e.peer.mux.Reset(e.sid, code, text)
			k.touch(e.peer)
		}
	case endModule:
		if k.mods[e.slot].up {
			k.out.deliver(e.slot, sdk.Event{Kind: sdk.EvStreamReset, Ref: e.ref, Arg: uint64(code), Payload: k.out.keep([]byte(text))})
		}
	case endApp:
		k.out.Apps = append(k.out.Apps, AppEvent{Kind: AppReset, App: e.app, Code: code, Text: text})
	}
}

// openPeer opens a stream to a peer and writes the preamble: length and Open.
func (k *Kernel) openPeer(p *peer, from end, id sdk.ID, extra uint64, o sdk.Open) (*pipe, sdk.Code) {
	sid, ok := p.mux.Open(id, k.tag(p), sdk.Bulk)
	if !ok {
		return nil, sdk.Overloaded
	}
	deadline := o.Deadline
	o.From, o.Principal = 0, nil
	body := sdk.AppendOpen(nil, o)
	if len(body) > sdk.MaxOpen-2 {
		p.mux.Reset(sid, sdk.InvalidArgument, "")
		return nil, sdk.InvalidArgument
	}
	pre := append(binary.LittleEndian.AppendUint16(nil, uint16(len(body))), body...)
	if p.mux.Write(sid, pre, false) != stream.OK {
		p.mux.Reset(sid, sdk.Overloaded, "")
		return nil, sdk.Overloaded
	}
	pi := &pipe{end: [2]end{from, {kind: endPeer, peer: p, sid: sid}}, id: id,
		credit: [2]uint64{sdk.InitialCredit, initialCredit(endPeer)}}
	k.attach(pi, deadline)
	if extra = min(extra, maxCredit-initialCredit(endPeer)); extra > 0 {
		pi.credit[1] += extra
		p.mux.Grant(sid, extra)
	}
	k.touch(p)
	return pi, 0
}

// drain takes what the streams of a peer have to say.
func (k *Kernel) drain(p *peer) {
	for {
		evs := p.mux.Events()
		if len(evs) == 0 {
			return
		}
		for i := range evs {
			if k.streamEvent(p, &evs[i]); p.mux == nil {
				return // the session was refused meanwhile
			}
		}
	}
}

func (k *Kernel) streamEvent(p *peer, ev *stream.Event) {
	pi := p.streams[ev.Stream]
	switch ev.Kind {
	case stream.Opened:
		if ev.ID != registry.Negotiation {
			if k.barred(p) {
				k.drop(DropBarred)
				p.mux.Reset(ev.Stream, sdk.Overloaded, barredText)
				break
			}
			if len(p.opening) >= maxOpening {
				p.mux.Reset(ev.Stream, sdk.Overloaded, "too many streams are being opened")
				break
			}
			k.beginOpening(p, ev)
		}
	case stream.Data:
		if ev.Buffered { // a Step takes many packets, and the Output lives on
			ev.Data = k.out.keep(ev.Data)
		}
		switch o := p.opening[ev.Stream]; {
		case pi != nil:
			k.peerData(p, pi, ev.Stream, ev.Data, ev.FIN)
		case o != nil:
			k.preamble(p, o, ev)
		case ev.ID == registry.Negotiation:
			k.manifestData(p, ev)
		}
	case stream.CreditGranted:
		if pi != nil {
			side := pi.sideOfPeer(p, ev.Stream)
			pi.credit[1-side] += ev.N
			k.grant(&pi.end[1-side], ev.N)
		}
	case stream.WasReset:
		k.endOpening(p, ev.Stream)
		if pi != nil {
			k.breakPipe(pi, pi.sideOfPeer(p, ev.Stream), ev.Code, string(ev.Data))
		}
	}
}

// peerData takes stream bytes of a peer. The stream layer has checked the window,
// so credit cannot run out here unless both disagree.
func (k *Kernel) peerData(p *peer, pi *pipe, sid uint64, b []byte, fin bool) {
	k.write(pi, pi.sideOfPeer(p, sid), b, fin)
}
