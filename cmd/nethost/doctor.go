package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"nethost/host"
	"nethost/host/kernel"
	"nethost/host/liveness"
	"nethost/host/localapi"
	"nethost/host/module"
	"nethost/registry"
	"nethost/sdk"
	v1 "nethost/sdk/client/nethostv1"
)

// The codes of findings. They never change their meaning.
const (
	findKilled        = "kill-switch"
	findNoAnswer      = "no-answer"
	findWrongKey      = "wrong-network-key"
	findRefused       = "handshake-refused"
	findDenied        = "denied-by-rule"
	findNoRoute       = "no-route"
	findAlone         = "alone"
	findNotNegotiated = "not-negotiated"
	findMTU           = "mtu-black-hole"
	findSuspect       = "peer-suspect"
	findModule        = "module-down"
	findRejected      = "module-refused"
	findOverflow      = "receive-overflow"
	findLink          = "link"
	findUnsupported   = "unsupported"
	findTwin          = "twin"
	findGrey          = "grey-relay"
	findBarred        = "peer-barred"
)

// examination collects findings.
type examination struct {
	c     *control
	s     host.Snapshot
	late  []seen
	only  sdk.NodeID // zero: everything
	alien []netip.AddrPort
	r     *v1.DoctorResponse
}

func (x *examination) find(code string, node sdk.NodeID, addr netip.AddrPort, cure, format string, a ...any) *v1.Finding {
	f := &v1.Finding{Code: code, Text: fmt.Sprintf(format, a...), Cure: cure, Note: code == findLink || code == findWrongKey && x.excused(addr)}
	if !node.IsZero() {
		f.Node = node.String()
	}
	if addr.IsValid() {
		f.Addr = addr.String()
	}
	x.r.Findings = append(x.r.Findings, f)
	return f
}

// excused reports a stranger that is no business of ours: nobody we dial.
func (x *examination) excused(addr netip.AddrPort) bool {
	return !slices.ContainsFunc(x.s.Dials, func(d kernel.DialStatus) bool { return d.Addr == addr })
}

func (x *examination) fine(format string, a ...any) {
	x.r.Fine = append(x.r.Fine, fmt.Sprintf(format, a...))
}

// Doctor looks at everything that can be wrong, or at one peer.
func (c *control) Doctor(ctx context.Context, m *v1.DoctorRequest) (*v1.DoctorResponse, error) {
	x := &examination{c: c, s: c.h.Snapshot(), late: c.lately(), alien: c.h.Strangers(seenFor), r: &v1.DoctorResponse{}}
	if m.Node != "" {
		var err error
		if x.only, err = sdk.ParseNodeID(m.Node); err != nil {
			return nil, &localapi.Error{Code: sdk.InvalidArgument, Text: err.Error()}
		}
		if x.only == x.s.Node {
			return nil, &localapi.Error{Code: sdk.InvalidArgument, Text: "that is this node itself: leave the NodeID out"}
		}
		x.peer(ctx)
		return x.r, nil
	}
	x.node()
	x.dials()
	x.peers()
	x.events()
	x.modules()
	return x.r, nil
}

// node looks at this node itself.
func (x *examination) node() {
	if x.s.Killed {
		x.find(findKilled, sdk.NodeID{}, netip.AddrPort{}, "`nethost kill-switch off`", "the kill-switch is on: this node relays and serves nothing")
	}
	if x.s.Swarm.Twin {
		x.find(findTwin, x.s.Node, netip.AddrPort{}, "stop one of the two, give it an identity of its own (`nethost init` in another directory), and restart the one that stays",
			"another node runs under this node's key: its data directory was copied, and traffic for this node goes now here, now there")
	}
	if x.s.Link.Note != "" {
		x.find(findLink, sdk.NodeID{}, netip.AddrPort{}, "a newer kernel or another network card; the node works without, at lower rates",
			"datagrams pass the system one by one, or nearly: %s: %s", x.s.Link.Mode, x.s.Link.Note)
	} else {
		x.fine("datagrams pass the system as %s", x.s.Link.Mode)
	}
	if n := x.s.Link.Overflows; n > 0 {
		x.find(findOverflow, sdk.NodeID{}, netip.AddrPort{}, "raise net.core.rmem_max, or give the machine more time: something else uses its processors",
			"%d datagrams came faster than they were read and were lost", n)
	}
	if len(x.s.Peers) == 0 && len(x.s.Dials) == 0 {
		x.find(findAlone, sdk.NodeID{}, netip.AddrPort{}, `give it an address with peers = ["HOST:PORT"] in config.toml, then `+"`nethost reload`",
			"this node has no session, and no address of another node to begin with")
	}
}

// dials looks at the addresses of the configuration.
func (x *examination) dials() {
	good := 0
	for _, d := range x.s.Dials {
		if x.only != (sdk.NodeID{}) && d.Node != x.only {
			continue
		}
		connected := slices.ContainsFunc(x.s.Peers, func(p kernel.PeerStatus) bool { return p.Direct && (p.Addr == d.Addr || p.Node == d.Node) })
		switch {
		case connected && d.Error == "":
			good++
		case slices.Contains(x.alien, d.Addr):
			x.find(findWrongKey, d.Node, d.Addr, "give both nodes the same network key (`nethost init --network-key`), or change it with `nethost network rotate`; compare with `nethost network rotate status`",
				"the node at %v is on another network: its messages are under a network key that is not ours", d.Addr)
		case strings.Contains(d.Error, "rule"):
			x.find(findDenied, d.Node, d.Addr, "`nethost peer ls` here, or ask the operator of that node", "%v: %s", d.Addr, d.Error)
		case d.Error == "" || d.Error == "no answer":
			x.find(findNoAnswer, d.Node, d.Addr,
				"look whether a node runs there, whether a firewall lets UDP through both ways, and whether its network key is ours: a node does not answer who has another (`nethost network rotate status` on both)",
				"nobody answers at %v", d.Addr)
		default:
			x.find(findRefused, d.Node, d.Addr, "correct the NodeID or the address in peers, or update the older of the two nodes",
				"the handshake with %v failed: %s", d.Addr, d.Error)
		}
	}
	for _, a := range x.alien {
		if x.only == (sdk.NodeID{}) && x.excused(a) {
			x.find(findWrongKey, sdk.NodeID{}, a, "nothing, if it is not meant to be here; else give it this network's key", "somebody at %v tries to reach us under another network key", a)
		}
	}
	if good > 0 {
		x.fine("%d of the configured addresses are connected", good)
	}
}

// peers looks at the sessions.
func (x *examination) peers() {
	good := 0
	for _, p := range x.s.Peers {
		if x.only != (sdk.NodeID{}) && p.Node != x.only {
			continue
		}
		before := len(x.r.Findings)
		if p.Direct && p.State != liveness.Alive {
			x.find(findSuspect, p.Node, p.Addr, "look at the link and at the load of that node; traffic goes another way meanwhile where there is one",
				"%s is %v: nothing was heard of it for %v", p.Node.Short(), p.State, p.LastHeard.Round(time.Millisecond))
		}
		if p.Via.IsZero() {
			x.find(findNoRoute, p.Node, netip.AddrPort{}, "look whether a relay went away (`nethost routes`)", "there is a session with %s and no way to it", p.Node.Short())
		}
		for _, g := range p.Grey {
			x.find(findGrey, p.Node, netip.AddrPort{}, "look at that relay: its rules, its load and its links; it is avoided for this destination meanwhile",
				"%s answers, and does not deliver what is for %s: found %v ago, avoided for %v more", g.Hop.Short(), p.Node.Short(), g.Since.Round(time.Second), g.Until.Round(time.Second))
		}
		if p.Barred {
			x.find(findBarred, p.Node, p.Addr, "find out what it did (`nethost peers`: WHY); its demerits fade by themselves", "what %s begins is refused: %.1f demerits, for %s",
				p.Node.Short(), p.Demerits, p.LastDemerit)
		}
		for _, o := range p.Outcomes {
			if o.State == registry.StateMismatch {
				x.find(findNotNegotiated, p.Node, netip.AddrPort{}, "load a release whose version fits: `nethost sessions` shows both",
					"%s and we have no common version of %v", p.Node.Short(), o.ID)
			}
		}
		if len(x.r.Findings) == before {
			good++
		}
	}
	if good > 0 {
		x.fine("%d sessions are well", good)
	}
}

// events looks at what happened in the last minutes. Of each kind and node the last
// one counts.
func (x *examination) events() {
	type what struct {
		kind kernel.TraceKind
		node sdk.NodeID
	}
	told := map[what]bool{}
	for _, e := range slices.Backward(x.late) {
		w := what{e.Kind, e.Node}
		if told[w] || x.only != (sdk.NodeID{}) && e.Node != x.only {
			continue
		}
		told[w] = true
		ago := (x.s.Uptime - e.at).Round(time.Second)
		switch e.Kind {
		case kernel.TraceDenied:
			if !slices.ContainsFunc(x.r.Findings, func(f *v1.Finding) bool { return f.Code == findDenied && f.Node == e.Node.String() }) {
				f := x.find(findDenied, e.Node, e.Addr, "`nethost peer ls` here, or ask the operator of that node", "%s was denied %s, %v ago", e.Node.Short(), e.Text, ago)
				f.Note = e.Text == kernel.DeniedHere && x.only.IsZero() // as the operator wants it
			}
		case kernel.TraceMTU:
			x.find(findMTU, e.Node, e.Addr, "let ICMP through, or lower link.max_mtu; packets are kept small until it is mended", "large packets to %s get lost on the way: %s, %v ago", e.Node.Short(), e.Text, ago)
		case kernel.TraceRefused:
			x.find(findNotNegotiated, e.Node, e.Addr, "load the module that the other side requires, or do not require it", "the session with %s was ended by us: %s, %v ago", e.Node.Short(), e.Text, ago)
		case kernel.TraceUnsupport:
			x.find(findUnsupported, e.Node, e.Addr, "its module is down, or a rule of that node rejects it: look there with `nethost modules` and `nethost peer ls`", "%s does not handle %s, which was agreed, %v ago", e.Node.Short(), e.Text, ago)
		case kernel.TraceHandshake:
			if e.Text != "no answer" && e.Text != "no third message" && !e.Node.IsZero() {
				x.find(findRefused, e.Node, e.Addr, "correct the NodeID or the address in peers, or update the older of the two nodes", "a handshake with %s failed: %s, %v ago", e.Node.Short(), e.Text, ago)
			}
		}
	}
}

// modules looks at this node's modules.
func (x *examination) modules() {
	good := 0
	for _, m := range x.s.Modules {
		switch m.State {
		case module.StateQuarantined:
			x.find(findModule, sdk.NodeID{}, netip.AddrPort{}, "mend the module, then restart the node", "module %s is quarantined after %d crashes: %s", m.Name, m.Restarts+1, m.LastError)
		case module.StateFailed:
			x.find(findModule, sdk.NodeID{}, netip.AddrPort{}, "its package or carrier does not fit this machine: see the log", "module %s cannot run here: %s", m.Name, m.LastError)
		case module.StateBackoff:
			x.find(findModule, sdk.NodeID{}, netip.AddrPort{}, "see the log; it is started again by itself", "module %s crashed: %s", m.Name, m.LastError)
		default:
			good++
		}
	}
	for _, j := range x.c.plugins.refused() {
		x.find(findRejected, sdk.NodeID{}, netip.AddrPort{}, "mend the package, or sign and trust it", "module package %s was refused: %s", j.Dir, j.Reason)
	}
	if good > 0 {
		x.fine("%d modules run", good)
	}
}

// peer looks at one node, and tries to reach it.
func (x *examination) peer(ctx context.Context) {
	id := x.only
	for _, rule := range x.c.Rules().Nodes {
		if rule.Node == id.String() && (rule.Rule == "blocked" || rule.Rule == "denied") {
			x.find(findDenied, id, netip.AddrPort{}, "`nethost peer unblock "+rule.Node+"`, or autonomy.deny", "%s is %s by this node (%s)", id.Short(), rule.Rule, rule.From)
			return
		}
	}
	a, err := x.c.askHop(ctx, id, id, 3*time.Second)
	switch {
	case err == nil:
		x.fine("%s answers in %v", id.Short(), a.RTT.Round(10*time.Microsecond))
	case errors.Is(err, context.DeadlineExceeded):
		x.late = x.c.lately()
	}
	x.s = x.c.h.Snapshot()
	x.dials()
	x.peers()
	x.events()
	routed := slices.ContainsFunc(x.s.Routes, func(r host.Route) bool { return r.Dest == id })
	session := slices.ContainsFunc(x.s.Peers, func(p kernel.PeerStatus) bool { return p.Node == id })
	switch {
	case err == nil || len(x.r.Findings) > 0:
	case session:
		x.find(findNoAnswer, id, netip.AddrPort{}, "it may be an older release, or over its head: see its `nethost status`", "there is a session with %s, and it does not answer", id.Short())
	case routed:
		x.find(findNoAnswer, id, netip.AddrPort{}, "a relay on the way may drop packets: `nethost trace "+id.String()+"` shows where", "a way to %s is known, and no handshake comes through", id.Short())
	default:
		x.find(findNoRoute, id, netip.AddrPort{}, "look whether it runs, and whether it shares a relay with us (`nethost routes` there)", "no way to %s is known: no neighbour of ours tells of it", id.Short())
	}
}
