package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"nethost/host/identity"
	"nethost/host/kernel"
	"nethost/host/route"
	"nethost/host/wire"
	"nethost/sdk"
)

// execRules runs the commands about what a node lets others use of it.
func (w *World) execRules(cmd string, n *Node, a Args) (string, error) {
	switch cmd {
	case "keys":
		n.cfg.Network, n.cfg.Network2 = a.word(1), a.word(2)
		n.step(kernel.Input{Kind: kernel.InKeys, Keys: [2]identity.NetworkKey{seedOf("network", n.cfg.Network), n.cfg.key2()}})
		return "", nil
	case "dropped":
		said := "no"
		c := n.k.Counters()
		c.DropReasons(func(name string, v uint64) {
			if name == a.word(1) && v > 0 {
				said = "yes"
			}
		})
		return said, nil
	case "trace":
		return w.traceWay(n, w.Node(a.word(1)))
	}
	p, err := w.policy(a)
	if err == nil {
		n.step(kernel.Input{Kind: kernel.InPolicy, Policy: p})
	}
	return "", err
}

// policy reads the rules of a command.
func (w *World) policy(a Args) (*kernel.Policy, error) {
	p := &kernel.Policy{NoRelay: slices.Contains(a.Words[1:], "norelay"), Killed: slices.Contains(a.Words[1:], "killed"),
		NoTrace: slices.Contains(a.Words[1:], "notrace")}
	for key, rate := range map[string]*uint64{"relayrate": &p.RelayRate, "neighborrate": &p.NeighborRate, "peerrate": &p.PeerRate} {
		if s := a.Keys[key]; s != "" {
			var err error
			if *rate, err = strconv.ParseUint(s, 10, 64); err != nil {
				return nil, err
			}
		}
	}
	for key, list := range map[string]*[]sdk.NodeID{"deny": &p.Deny, "allow": &p.Allow} {
		for name := range strings.SplitSeq(a.Keys[key], ",") {
			if m := w.Node(name); m != nil {
				*list = append(*list, m.ID())
			}
		}
	}
	if s := a.Keys["reject"]; s != "" {
		id, err := sdk.ParseID(s)
		if err != nil {
			return nil, err
		}
		p.Reject = append(p.Reject, id)
	}
	if s := a.Keys["redirect"]; s != "" {
		s, to, _ := strings.Cut(s, "/")
		id, err := sdk.ParseID(s)
		if err != nil {
			return nil, err
		}
		r := kernel.Redirect{ID: id}
		if m := w.Node(to); m != nil {
			r.To = m.ID()
		}
		p.Redirects = append(p.Redirects, r)
	}
	return p, nil
}

// traceWay asks hop after hop, as a host does.
func (w *World) traceWay(n, to *Node) (string, error) {
	if to == nil || n.k == nil {
		return "", fmt.Errorf("no such node")
	}
	var b strings.Builder
	ask := func(at sdk.NodeID) (wire.TraceAnswer, bool) {
		n.hops = nil
		for range 20 {
			n.step(kernel.Input{Kind: kernel.InTrace, Node: at, Dest: to.ID(), N: 1})
			if len(n.hops) == 0 && w.Run(200*time.Millisecond) != nil {
				break
			}
			for _, h := range n.hops {
				if h.From == at {
					return h.TraceAnswer, true
				}
			}
		}
		return wire.TraceAnswer{}, false
	}
	at := n.ID()
	for range wire.MaxTTL {
		a, ok := ask(at)
		if !ok {
			fmt.Fprintf(&b, "%s: no answer\n", w.nameOf(at))
			break
		}
		if a.Verdict != wire.TraceNext {
			fmt.Fprintf(&b, "%s: %s\n", w.nameOf(at), wire.TraceVerdict(a.Verdict))
			break
		}
		fmt.Fprintf(&b, "%s: to %s, %s, %d hops", w.nameOf(at), w.nameOf(a.Next), route.WhyText(a.Why), a.Hops)
		for _, o := range a.Others[:a.N] {
			fmt.Fprintf(&b, ", or %s", w.nameOf(o.Node))
		}
		fmt.Fprintln(&b)
		at = a.Next
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}
