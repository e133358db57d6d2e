package sim

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"nethost/host/kernel"
	"nethost/sdk"
)

// Args are the words of a command after its name: bare ones and key=value pairs.
type Args struct {
	Words []string
	Keys  map[string]string
}

// Exec runs one command of the script language and says what a reader of the
// script should see. modules makes a module from its name in a script.
//
//	node NAME [modules=a,b] [norelay] [network=N] [network2=N] [batch=1ms] [maxmtu=9000]
//	     [identity=OTHER] [skew=8760h] [profile=fast]
//	link A B [delay=1ms] [IMPAIRMENT=VALUE ...]    both directions alike
//	impair A B IMPAIRMENT=VALUE ...    from now on, from A to B only
//	queue A B                 how much waits for the rate from A to B
//	lost A B | doubled A B    the reasons why datagrams from A to B were lost so far;
//	                          whether any came twice
//	trains A B lost|kept      what leaves in one piece from A to B gets lost, or no more
//	dial A B                  A keeps a session with B's address
//	misdial A B               A is told an address of B at which nobody answers
//	hold A B ID | held A      open a stream and leave it; what became of it
//	run DURATION
//	until A B [within=5s]     run until A has agreed with B
//	cut A B | heal A B | deaf A B    A does not hear B, who hears A
//	kill A | stop A | restart A
//	move A | rebind A         A gets another address, or as behind a NAT another port
//	call A B ID TEXT          a unary call of an application on A; the answer
//	transfer A B ID BYTES     a stream of that many bytes, echoed, compared
//	begin A B ID BYTES        the same, in the background
//	underway A                how far what A began is
//	finish A [B ...]          run until all that they began is over: what became of each,
//	                          and whether they had the network in equal parts
//	replay A                  every datagram A ever got, once more
//	flood A N                 N first messages with A's network key, from made-up addresses
//	secret A TEXT             does the wire around A hold TEXT in clear?
//	mtu A B                   the largest packet from A to B, in bytes of UDP payload
//	grey A [B] | ungrey A     A drops what it should forward (to B)
//	pause A DURATION          A does nothing for so long
//	rollback A N              A's next start counts its incarnations from N again
//	swarm A                   how A sees the mesh and itself
//	peers A | routes A | events A [KIND] | drops A | counter A NAME
//	policy A [norelay] [killed] [notrace] [deny=B,C] [allow=B,C] [reject=ID] [redirect=ID/B]
//	         [relayrate=N] [neighborrate=N] [peerrate=N]    the rules of A from now on
//	keys A K [K2]             the network keys of A from now on
//	dropped A REASON          has A dropped anything for that reason?
//	trace A B                 what each node on the way says of its next hop
//	modules A m1,m2           replace the modules of a running node
//	add A MODULE | upgrade A MODULE    one more; one takes over from the one that has its id
//	quarantine A ID           the module dies for good: its ids leave the manifest
//	manifest A [B]            what A offers now; what it has of B
//	told A                    what A's modules heard of peers since it was last asked
//
// The impairments are those of impair.Config.SetKey: rate queue delay jitter loss
// burst reorder reorder-delay duplicate mtu.
func (w *World) Exec(cmd string, a Args, modules func(name string) (sdk.Module, error)) (string, error) {
	switch cmd {
	case "node":
		return w.execNode(a, modules)
	case "run":
		d, err := time.ParseDuration(a.word(0))
		if err != nil {
			return "", err
		}
		return "", w.Run(d)
	}
	n := w.Node(a.word(0))
	if n == nil {
		return "", fmt.Errorf("no node %q", a.word(0))
	}
	switch cmd {
	case "link", "impair", "queue", "lost", "doubled", "trains":
		m := w.Node(a.word(1))
		if m == nil {
			return "", fmt.Errorf("no node %q", a.word(1))
		}
		return w.execLink(cmd, n, m, a)
	case "dial", "misdial", "hold", "cut", "heal", "deaf", "until", "call", "transfer", "begin", "mtu":
		m := w.Node(a.word(1))
		if m == nil {
			return "", fmt.Errorf("no node %q", a.word(1))
		}
		return w.execPair(cmd, n, m, a)
	case "policy", "keys", "trace", "dropped":
		return w.execRules(cmd, n, a)
	case "add", "upgrade", "quarantine", "manifest", "told":
		return n.execModules(cmd, a.word(1), modules)
	case "held":
		return n.Held(), nil
	case "move":
		n.Move()
	case "rebind":
		n.Rebind()
	case "finish":
		nodes := []*Node{n}
		for _, name := range a.Words[1:] {
			m := w.Node(name)
			if m == nil {
				return "", fmt.Errorf("no node %q", name)
			}
			nodes = append(nodes, m)
		}
		return w.finish(nodes...)
	case "underway":
		return n.underWay(), nil
	case "kill":
		n.Kill()
	case "stop":
		n.Stop()
	case "restart":
		return "", n.Restart()
	case "replay":
		return fmt.Sprintf("%d datagrams", w.Replay(n)), nil
	case "flood":
		count, err := strconv.Atoi(a.word(1))
		if err != nil {
			return "", err
		}
		return "", w.Flood(n, count)
	case "grey", "ungrey", "pause", "rollback", "swarm":
		return w.execSwarm(cmd, n, a)
	case "modules":
		mods, err := parseModules(a.word(1), modules)
		if err == nil {
			n.SetModules(mods)
		}
		return "", err
	default:
		return w.execShow(cmd, n, a)
	}
	return "", nil
}

func (a Args) word(i int) string {
	if i < len(a.Words) {
		return a.Words[i]
	}
	return ""
}

func parseModules(list string, modules func(string) (sdk.Module, error)) ([]sdk.Module, error) {
	var out []sdk.Module
	for name := range strings.SplitSeq(list, ",") {
		if name == "" {
			continue
		}
		m, err := modules(name)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

func (w *World) execNode(a Args, modules func(string) (sdk.Module, error)) (string, error) {
	mods, err := parseModules(a.Keys["modules"], modules)
	if err != nil {
		return "", err
	}
	var batch time.Duration
	if s := a.Keys["batch"]; s != "" {
		if batch, err = time.ParseDuration(s); err != nil {
			return "", err
		}
	}
	maxMTU := 0
	if s := a.Keys["maxmtu"]; s != "" {
		if maxMTU, err = strconv.Atoi(s); err != nil {
			return "", err
		}
	}
	cfg := NodeConfig{MaxMTU: maxMTU, Name: a.word(0), Network: a.Keys["network"], Network2: a.Keys["network2"], Batch: batch,
		NoRelay: slices.Contains(a.Words[1:], "norelay"), Modules: mods}
	if err = cfg.swarmKeys(a.Keys); err == nil {
		_, err = w.Add(cfg)
	}
	return "", err
}

func (w *World) execPair(cmd string, n, m *Node, a Args) (string, error) {
	switch cmd {
	case "dial":
		n.Dial(m)
	case "cut", "heal":
		return "", w.Cut(n, m, cmd == "cut")
	case "mtu":
		for _, p := range n.k.Peers(n.now()) {
			if p.Node == m.ID() {
				return fmt.Sprint(p.MTU), nil
			}
		}
		return "no session", nil
	case "misdial":
		n.Misdial(m)
	case "hold":
		id, err := sdk.ParseID(a.word(2))
		if err != nil {
			return "", err
		}
		n.held = n.Open(m.ID(), id, "")
	case "deaf":
		return "", w.Deaf(n, m, true)
	case "until":
		within := 5 * time.Second
		if s := a.Keys["within"]; s != "" {
			var err error
			if within, err = time.ParseDuration(s); err != nil {
				return "", err
			}
		}
		err := w.RunUntil(w.now+within, func() bool { return n.Agreed(m) })
		if err == nil && !n.Agreed(m) {
			err = fmt.Errorf("%s has not agreed with %s within %v", n.Name, m.Name, within)
		}
		return "", err
	case "call", "transfer", "begin":
		id, err := sdk.ParseID(a.word(2))
		if err != nil {
			return "", err
		}
		if cmd == "call" {
			return w.call(n, m, id, []byte(strings.Join(a.Words[3:], " ")))
		}
		size, err := strconv.Atoi(a.word(3))
		if err != nil {
			return "", err
		}
		w.begin(n, m, id, size)
		if cmd == "transfer" {
			return w.finish(n)
		}
	}
	return "", nil
}

// Agreed reports whether the manifests with m have met.
func (n *Node) Agreed(m *Node) bool {
	if n.k == nil {
		return false
	}
	return slices.ContainsFunc(n.k.Peers(n.now()), func(s kernel.PeerStatus) bool { return s.Node == m.ID() && s.Agreed })
}

// execShow answers questions about a node.
func (w *World) execShow(cmd string, n *Node, a Args) (string, error) {
	if cmd == "secret" {
		text := []byte(strings.Join(a.Words[1:], " "))
		for _, c := range n.wire {
			if bytes.Contains(c.b, text) {
				return "in clear", nil
			}
		}
		return fmt.Sprintf("not in any of the datagrams %s saw", n.Name), nil
	}
	if n.k == nil {
		return "down", nil
	}
	var b strings.Builder
	switch cmd {
	case "peers":
		for _, p := range n.k.Peers(n.now()) {
			how := "via " + w.nameOf(p.Via)
			if p.Direct {
				how = fmt.Sprintf("direct, %v", p.State)
			}
			fmt.Fprintf(&b, "%s: %s\n", w.nameOf(p.Node), how)
			for _, o := range p.Outcomes {
				fmt.Fprintf(&b, "  %v %v %v\n", o.ID, o.State, o.Version)
			}
		}
	case "routes":
		for _, r := range n.k.Routes() {
			fmt.Fprintf(&b, "%s via %s, %d hops\n", w.nameOf(r.Dest), w.nameOf(n.k.NodeOf(r.Next)), r.Hops)
		}
	case "events":
		for _, line := range n.trace {
			if a.word(1) == "" || strings.HasPrefix(line, a.word(1)) {
				fmt.Fprintln(&b, line)
			}
		}
	case "drops":
		c := n.k.Counters()
		c.DropReasons(func(name string, v uint64) {
			if v > 0 {
				fmt.Fprintf(&b, "%s=%d\n", name, v)
			}
		})
	case "counter":
		c := n.k.Counters()
		v, ok := map[string]uint64{"forwarded": c.Forwarded, "handshakes": c.Handshakes, "delivered": c.Delivered,
			"reroutes": c.Reroutes}[a.word(1)]
		if !ok {
			return "", fmt.Errorf("no counter %q", a.word(1))
		}
		fmt.Fprintln(&b, v)
	default:
		return "", fmt.Errorf("unknown command %q", cmd)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}
