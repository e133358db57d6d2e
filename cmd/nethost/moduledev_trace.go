package main

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"nethost/host/module"
	"nethost/sdk"
	"nethost/sdk/abi"
)

// devFirst is how many bytes of a payload are shown.
const devFirst = 48

// devNames are the names of the two nodes.
type devNames map[sdk.NodeID]string

// devCarrier opens instances that tell what they get and do.
type devCarrier struct {
	module.Carrier
	node  string
	names devNames
	out   *devPrinter
}

// Open implements module.Carrier.
func (c devCarrier) Open(ctx context.Context, s module.Spec) (module.Instance, error) {
	log := s.Log
	s.Log = func(level sdk.LogLevel, text string) {
		c.out.note("printed", c.node, text)
		log(level, text)
	}
	inst, err := c.Carrier.Open(ctx, s)
	if err != nil {
		return nil, err
	}
	w := &devInstance{Instance: inst, tape: devTape{node: c.node, names: c.names, out: c.out, peers: map[sdk.Peer]string{}, flows: map[sdk.Ref]*devFlow{}}}
	if m, ok := inst.(module.Meter); ok {
		return devMetered{w, m}, nil
	}
	return w, nil
}

// devInstance is an instance that is watched.
type devInstance struct {
	module.Instance
	tape devTape
}

// devMetered is one that knows what a batch costs.
type devMetered struct {
	*devInstance
	module.Meter
}

// Deliver implements module.Instance.
func (i *devInstance) Deliver(batch []byte) ([]byte, error) {
	_, r, err := abi.Parse(batch, sdk.MaxBatchBytes)
	for e, ok := r.NextEvent(); err == nil && ok; e, ok = r.NextEvent() {
		i.tape.event(&e)
	}
	effects, err := i.Instance.Deliver(batch)
	if err != nil {
		i.tape.out.note("died", i.tape.node, err.Error())
		return effects, err
	}
	if len(effects) > 0 {
		_, r, fault := abi.Parse(effects, sdk.MaxEffectBytes)
		for f, ok := r.NextEffect(); fault == nil && ok; f, ok = r.NextEffect() {
			i.tape.effect(&f)
		}
	}
	return effects, nil
}

// Done implements module.Exiter; nil, which never comes, where the carrier has none.
func (i *devInstance) Done() <-chan struct{} {
	if e, ok := i.Instance.(module.Exiter); ok {
		return e.Done()
	}
	return nil
}

// CPU implements module.Burner, where the carrier does.
func (i *devInstance) CPU() (time.Duration, bool) {
	if b, ok := i.Instance.(module.Burner); ok {
		return b.CPU()
	}
	return 0, false
}

// devTape turns the batches of one instance into lines. It is used by whoever
// delivers.
type devTape struct {
	node  string
	names devNames
	out   *devPrinter
	peers map[sdk.Peer]string
	flows map[sdk.Ref]*devFlow
}

// devFlow is a stream of the module.
type devFlow struct {
	peer, method string
	in, out      bool // that direction has ended
}

// devLine is one event or effect, and one line of JSON.
type devLine struct {
	What   string `json:"what"` // "event" or "effect"
	At     int64  `json:"at_us"`
	Node   string `json:"node"`
	Kind   string `json:"kind"`
	Peer   string `json:"peer,omitempty"`   // A, B, app, or the name of a module
	ID     string `json:"id,omitempty"`     // of the subprotocol
	Ref    uint64 `json:"ref,omitempty"`    // that the module gave, or of the stream
	Stream bool   `json:"stream,omitempty"` // ref is one
	Method string `json:"method,omitempty"`
	FIN    bool   `json:"fin,omitempty"`
	Length int    `json:"length"`           // of the data in it, in bytes
	Bytes  string `json:"bytes,omitempty"`  // the first of it, in hex
	Detail string `json:"detail,omitempty"` // what else it says
	data   []byte
}

// carry puts the data of a record into its line.
func (l *devLine) carry(b []byte) {
	first := b[:min(len(b), devFirst)]
	l.Length, l.data, l.Bytes = len(b), first, fmt.Sprintf("%x", first)
}

// event shows an event. A payload that does not parse is shown as it is: who reads
// this wants to see it.
func (t *devTape) event(e *sdk.Event) {
	l := devLine{What: "event", Node: t.node, Kind: e.Kind.String(), Peer: t.peers[e.Peer], Ref: uint64(e.Ref), FIN: e.FIN()}
	if e.ID != 0 {
		l.ID = e.ID.String()
	}
	l.carry(e.Payload)
	switch e.Kind {
	case sdk.EvFlush:
		return
	case sdk.EvState:
		if key, val, err := sdk.ParseStateEntry(e.Payload); err == nil {
			l.Detail = show(key)
			l.carry(val)
		}
	case sdk.EvStart:
		if s, err := sdk.ParseStart(e.Payload); err == nil {
			l.Detail = startText(s)
			l.carry(nil)
		}
	case sdk.EvDrain:
		l.Detail = fmt.Sprint("within ", time.Duration(e.Arg))
	case sdk.EvPeerUp, sdk.EvPeerUpdate:
		if p, err := sdk.ParsePeerInfo(e.Payload); err == nil {
			if l.Peer = t.names[p.Node]; l.Peer == "" {
				l.Peer = p.Node.Short()
			}
			t.peers[e.Peer] = l.Peer
			l.Detail = fmt.Sprintf("version %v, mtu %d", e.Version, p.MTU)
			l.carry(nil)
		}
	case sdk.EvPeerDown:
		l.Detail = sdk.DownReason(e.Arg).String()
	case sdk.EvConnectFailed:
		l.Detail = sdk.Code(e.Arg).String()
	case sdk.EvDropped, sdk.EvOverload:
		l.Detail = fmt.Sprintf("%d messages", e.Arg)
	case sdk.EvDenied:
		l.Detail = sdk.EffectKind(e.Arg).String()
	case sdk.EvVerified:
		l.Detail = map[bool]string{true: "valid", false: "not valid"}[e.Arg == 1]
	case sdk.EvStreamOpen, sdk.EvStreamData, sdk.EvStreamCredit, sdk.EvStreamReset:
		t.streamEvent(&l, e)
	}
	t.out.line(&l)
}

// streamEvent completes the line of an event of a stream.
func (t *devTape) streamEvent(l *devLine, e *sdk.Event) {
	if e.Kind == sdk.EvStreamOpen {
		if o, err := sdk.ParseOpen(e.Payload); err == nil {
			f := &devFlow{peer: l.Peer, method: o.Method}
			switch o.From {
			case sdk.FromApp:
				f.peer = "app"
			case sdk.FromModule:
				f.peer = string(o.Principal)
			}
			t.flows[e.Ref] = f
			l.carry(o.Meta)
		}
		l.Detail = fmt.Sprintf("credit %d", e.Arg)
	}
	f := t.stream(l, e.Ref)
	switch e.Kind {
	case sdk.EvStreamData:
		f.in = f.in || e.FIN()
	case sdk.EvStreamCredit:
		l.Detail = fmt.Sprintf("%d more", e.Arg)
	case sdk.EvStreamReset:
		l.Detail, f.in, f.out = sdk.Code(e.Arg).String(), true, true
	}
	t.over(e.Ref, f)
}

// effect shows an effect.
func (t *devTape) effect(e *sdk.Effect) {
	l := devLine{What: "effect", Node: t.node, Kind: e.Kind.String(), Peer: t.peers[e.Peer], Ref: uint64(e.Ref), FIN: e.Flags&sdk.FlagFIN != 0}
	if e.ID != 0 {
		l.ID = e.ID.String()
	}
	l.carry(e.Payload)
	switch e.Kind {
	case sdk.OpSendMany:
		if peers, msg, err := sdk.ParseSendMany(e.Payload); err == nil {
			l.Detail = fmt.Sprintf("to %d peers", len(peers))
			l.carry(msg)
		}
	case sdk.OpTimer:
		l.Detail = fmt.Sprint("after ", time.Duration(e.Arg))
		if e.Arg == 0 {
			l.Detail = "cancelled"
		}
	case sdk.OpStatePut:
		if key, val, err := sdk.ParseStateEntry(e.Payload); err == nil {
			l.Detail = show(key)
			l.carry(val)
		}
	case sdk.OpCount, sdk.OpPenalize:
		l.Detail = fmt.Sprintf("%d", e.Arg)
	case sdk.OpStreamOpen, sdk.OpStreamWrite, sdk.OpStreamCredit, sdk.OpStreamReset:
		t.streamEffect(&l, e)
	}
	t.out.line(&l)
}

// streamEffect completes the line of an effect of a stream.
func (t *devTape) streamEffect(l *devLine, e *sdk.Effect) {
	if e.Kind == sdk.OpStreamOpen {
		if o, err := sdk.ParseOpen(e.Payload); err == nil {
			f := &devFlow{peer: l.Peer, method: o.Method}
			if e.Flags&sdk.FlagModule != 0 {
				f.peer = l.ID
			}
			t.flows[e.Ref] = f
			l.carry(o.Meta)
		}
	}
	f := t.stream(l, e.Ref)
	switch e.Kind {
	case sdk.OpStreamWrite:
		f.out = f.out || l.FIN
	case sdk.OpStreamCredit:
		l.Detail = fmt.Sprintf("%d back", e.Arg)
	case sdk.OpStreamReset:
		l.Detail, f.in, f.out = sdk.Code(e.Arg).String(), true, true
	}
	t.over(e.Ref, f)
}

// stream names the far end and the method of a stream in its line.
func (t *devTape) stream(l *devLine, ref sdk.Ref) *devFlow {
	f := t.flows[ref]
	if f == nil { // a version before had it
		f = &devFlow{}
		t.flows[ref] = f
	}
	l.Peer, l.Method, l.Stream = f.peer, f.method, true
	return f
}

// over forgets a stream that has ended on both sides.
func (t *devTape) over(ref sdk.Ref, f *devFlow) {
	if f.in && f.out {
		delete(t.flows, ref)
	}
}

func startText(s sdk.Start) string {
	text := map[sdk.StartReason]string{sdk.StartFresh: "fresh", sdk.StartRestart: "restart after a crash", sdk.StartUpgrade: "takes over from " + s.Previous}[s.Reason]
	if len(s.Grants) > 0 {
		text += ", granted " + strings.Join(s.Grants, " ")
	}
	return text
}

// show quotes bytes that are text, and gives others in hex.
func show(b []byte) string {
	text := b
	for range utf8.UTFMax - 1 { // a letter may be cut
		if utf8.Valid(text) || len(text) == 0 {
			break
		}
		text = text[:len(text)-1]
	}
	printable := utf8.Valid(text) && len(b)-len(text) < utf8.UTFMax
	for _, r := range string(text) {
		printable = printable && (unicode.IsPrint(r) || r == '\n' || r == '\t' || r == '\r')
	}
	if printable && len(b) > 0 && len(text) > 0 {
		return fmt.Sprintf("%q", text)
	}
	return fmt.Sprintf("%x", b)
}
