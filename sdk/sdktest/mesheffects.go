package sdktest

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"time"

	"nethost/sdk"
)

func (n *MeshNode) apply(f sdk.Effect) {
	switch f.Kind {
	case sdk.OpSend:
		if j, ok := n.nodes[f.Peer]; ok {
			far := n.m.Nodes[j]
			far.Queue(sdk.Event{Kind: sdk.EvMessage, Peer: far.peers[n.index], ID: f.ID, Version: n.m.v, Payload: f.Payload})
		}
	case sdk.OpSendMany:
		peers, msg, err := sdk.ParseSendMany(f.Payload)
		if err != nil {
			n.m.t.Fatalf("sdktest: node %d: SendMany: %v", n.index, err)
		}
		for _, p := range peers {
			n.apply(sdk.Effect{Kind: sdk.OpSend, Flags: f.Flags, ID: f.ID, Peer: p, Payload: msg})
		}
	case sdk.OpAnnounce:
		n.announced(f)
	case sdk.OpTimer:
		if delete(n.timers, f.Ref); f.Arg > 0 {
			n.timers[f.Ref] = n.m.now + max(time.Duration(f.Arg), sdk.MinTimer)
		}
	case sdk.OpStatePut:
		if key, val, err := sdk.ParseStateEntry(f.Payload); err == nil {
			n.State[string(key)] = bytes.Clone(val)
		}
	case sdk.OpStateDelete:
		delete(n.State, string(f.Payload))
	case sdk.OpPost:
		n.Queue(sdk.Event{Kind: sdk.EvPosted, Ref: f.Ref, Payload: f.Payload})
	case sdk.OpCommit:
		n.Queue(sdk.Event{Kind: sdk.EvCommitted, Ref: f.Ref})
	case sdk.OpSign:
		n.Queue(sdk.Event{Kind: sdk.EvSigned, Ref: f.Ref, Payload: ed25519.Sign(n.Key, sdk.AppendSigned(nil, "", n.m.name, n.m.id, f.Payload))})
	case sdk.OpVerify:
		ev := sdk.Event{Kind: sdk.EvVerified, Ref: f.Ref}
		if ed25519.Verify(f.Payload[:32], f.Payload[96:], f.Payload[32:96]) {
			ev.Arg = 1
		}
		n.Queue(ev)
	case sdk.OpCount:
		n.Counters[string(f.Payload)] += f.Arg
	case sdk.OpLog:
		n.Log = append(n.Log, strings.TrimSpace(string(f.Payload)))
	case sdk.OpStreamOpen, sdk.OpStreamWrite, sdk.OpStreamCredit, sdk.OpStreamReset:
		n.stream(f)
	default:
		n.Effects = append(n.Effects, f)
	}
}

func (n *MeshNode) stream(f sdk.Effect) {
	if f.Kind == sdk.OpStreamOpen {
		j, ok := n.nodes[f.Peer]
		o, err := sdk.ParseOpen(f.Payload)
		if err != nil || f.Ref%2 != 1 {
			n.m.t.Fatalf("sdktest: node %d: open with ref %d: %v", n.index, f.Ref, err)
		}
		if f.Flags&sdk.FlagModule != 0 {
			n.openMate(f, o)
			return
		}
		if !ok {
			n.Queue(sdk.Event{Kind: sdk.EvStreamReset, Ref: f.Ref, Arg: uint64(sdk.PeerGone)})
			return
		}
		far := n.m.Nodes[j]
		o.From, o.Principal = sdk.FromPeer, n.ID[:]
		far.open(o, far.peers[n.index], n, f.Ref)
		n.streams[f.Ref] = &meshPipe{far: far, farRef: far.lastRef, credit: sdk.InitialCredit}
		return
	}
	p := n.streams[f.Ref]
	if p == nil {
		return
	}
	switch f.Kind {
	case sdk.OpStreamWrite:
		if uint64(len(f.Payload)) > p.credit {
			n.m.t.Fatalf("sdktest: node %d: stream %d: writes %d bytes, its credit is %d", n.index, f.Ref, len(f.Payload), p.credit)
		}
		p.credit -= uint64(len(f.Payload))
		if p.app != nil {
			p.app.Got, p.app.FIN = append(p.app.Got, f.Payload...), f.Flags&sdk.FlagFIN != 0
		} else {
			n.m.Sent += uint64(len(f.Payload))
			p.far.Queue(sdk.Event{Kind: sdk.EvStreamData, Ref: p.farRef, Flags: f.Flags, Payload: f.Payload})
		}
	case sdk.OpStreamCredit:
		if p.far != nil {
			if q := p.far.streams[p.farRef]; q != nil {
				q.credit += f.Arg
				p.far.Queue(sdk.Event{Kind: sdk.EvStreamCredit, Ref: p.farRef, Arg: f.Arg})
			}
		}
	case sdk.OpStreamReset:
		delete(n.streams, f.Ref)
		if p.app != nil {
			p.app.WasReset, p.app.ResetCode, p.app.ResetText = true, sdk.Code(f.Arg), string(f.Payload)
		} else {
			delete(p.far.streams, p.farRef)
			p.far.Queue(sdk.Event{Kind: sdk.EvStreamReset, Ref: p.farRef, Arg: f.Arg, Payload: f.Payload})
		}
	}
}
