package kernel

import (
	"time"

	"nethost/host/identity"
	"nethost/host/liveness"
	"nethost/host/route"
	"nethost/host/wire"
	"nethost/sdk"
)

// A node that is asked for the way answers this often a second (O3.1).
const (
	traceRate  = 10
	traceBurst = 20
)

// Hop is a node's answer to a trace query.
type Hop struct {
	From sdk.NodeID
	wire.TraceAnswer
}

// askTrace asks a node for its next hop towards dest. Without a session one is
// begun: whoever asks does so again.
func (k *Kernel) askTrace(node, dest sdk.NodeID, token uint64) {
	if node == k.self {
		a := k.nextOf(dest)
		a.Token = token
		k.out.Hops = append(k.out.Hops, Hop{k.self, a})
		return
	}
	p := k.peerOf(node)
	switch {
	case p == nil:
	case p.cur == nil:
		k.dialPeer(p)
	default:
		p.mux.Control(wire.AppendTraceQuery(nil, wire.TraceQuery{Token: token, Dest: dest}))
		k.touch(p)
	}
}

// traceMessage takes a query or an answer; false when it is malformed.
func (k *Kernel) traceMessage(p *peer, kind byte, body []byte) bool {
	if kind == wire.MsgTraceQuery {
		q, ok := wire.ParseTraceQuery(body)
		if ok {
			k.answerTrace(p, q)
		}
		return ok
	}
	var a wire.TraceAnswer
	ok := wire.ParseTraceAnswer(body, &a)
	if ok {
		k.out.Hops = append(k.out.Hops, Hop{p.id, a})
	}
	return ok
}

// answerTrace tells a peer our next hop (W6.15).
func (k *Kernel) answerTrace(p *peer, q wire.TraceQuery) {
	l := &p.traced
	l.used = max(0, l.used-(k.now-l.at).Seconds()*traceRate)
	if l.at = k.now; l.used+1 > traceBurst {
		k.drop(DropTrace)
		return
	}
	l.used++
	a := wire.TraceAnswer{Verdict: wire.TraceRefused}
	if k.rules.NoTrace {
		k.drop(DropTrace)
	} else {
		a = k.nextOf(q.Dest)
	}
	a.Token = q.Token
	p.mux.Control(wire.AppendTraceAnswer(nil, &a))
	k.touch(p)
}

// nextOf says where a packet for dest goes on to from here, and why.
func (k *Kernel) nextOf(dest sdk.NodeID) wire.TraceAnswer {
	if dest == k.self {
		return wire.TraceAnswer{Verdict: wire.TraceHere}
	}
	if !k.rules.admits(dest) {
		return wire.TraceAnswer{Verdict: wire.TraceDenied}
	}
	best, hops, why, others, ok := k.table.Explain(dest)
	a := wire.TraceAnswer{Verdict: wire.TraceNext, Metric: best.Metric, Hops: hops, Why: uint8(why)}
	p := k.peers[dest]
	switch {
	case p != nil && p.det != nil && p.state == liveness.Alive:
		if !ok || best.Via != p.num {
			if a.Why, a.Hops, a.Metric = wire.TraceWhyDirect, 1, k.linkCost(p); ok {
				others = append([]route.Offer{best}, others...)
			}
		}
	case !ok:
		return wire.TraceAnswer{Verdict: wire.TraceNoRoute}
	default:
		if p = k.nextHop(identity.RIDOf(dest), nil); p == nil {
			return wire.TraceAnswer{Verdict: wire.TraceNoRoute}
		}
	}
	a.Next = p.id
	srtt, _, _ := p.mux.RTT()
	a.RTT = uint32(min(srtt/time.Microsecond, 1<<32-1))
	if s := p.mux.Stats(); s.Sent > 0 {
		a.Loss = uint16(min((s.Lost-min(s.Lost, s.Spurious))*65535/s.Sent, 65535))
	}
	for _, o := range others {
		if a.N < len(a.Others) && k.NodeOf(o.Via) != a.Next {
			a.Others[a.N] = wire.TraceOther{Node: k.NodeOf(o.Via), Metric: o.Metric}
			a.N++
		}
	}
	return a
}
