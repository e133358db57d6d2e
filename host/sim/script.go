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
//	node NAME [modules=a,b] [norelay] [network=N]
//	link A B [delay=1ms] [jitter=0ms] [loss=0.0] [dup=0.0]
//	dial A B                  A keeps a session with B's address
//	misdial A B               A is told an address of B at which nobody answers
//	hold A B ID | held A      open a stream and leave it; what became of it
//	run DURATION
//	until A B [within=5s]     run until A has agreed with B
//	cut A B | heal A B | deaf A B    A does not hear B, who hears A
//	kill A | stop A | restart A
//	move A                    A gets another address
//	call A B ID TEXT          a unary call of an application on A; the answer
//	transfer A B ID BYTES     a stream of that many bytes, echoed, compared
//	replay A                  every datagram A ever got, once more
//	secret A TEXT             does the wire around A hold TEXT in clear?
//	peers A | routes A | events A [KIND] | drops A | counter A NAME
//	modules A m1,m2           replace the modules of a running node
func (w *World) Exec(cmd string, a Args, modules func(name string) (sdk.Module, error)) (string, error) {
	switch cmd {
	case "node":
		return w.execNode(a, modules)
	case "link":
		return "", w.execLink(a)
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
	case "dial", "misdial", "hold", "cut", "heal", "deaf", "until", "call", "transfer":
		m := w.Node(a.word(1))
		if m == nil {
			return "", fmt.Errorf("no node %q", a.word(1))
		}
		return w.execPair(cmd, n, m, a)
	case "held":
		return n.Held(), nil
	case "move":
		n.Move()
	case "kill":
		n.Kill()
	case "stop":
		n.Stop()
	case "restart":
		return "", n.Restart()
	case "replay":
		return fmt.Sprintf("%d datagrams", w.Replay(n)), nil
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
	_, err = w.Add(NodeConfig{Name: a.word(0), Network: a.Keys["network"],
		NoRelay: slices.Contains(a.Words[1:], "norelay"), Modules: mods})
	return "", err
}

func (w *World) execLink(a Args) error {
	x, y := w.Node(a.word(0)), w.Node(a.word(1))
	if x == nil || y == nil {
		return fmt.Errorf("link: no such node")
	}
	l := Link{Delay: time.Millisecond}
	for key, v := range a.Keys {
		var err error
		switch key {
		case "delay":
			l.Delay, err = time.ParseDuration(v)
		case "jitter":
			l.Jitter, err = time.ParseDuration(v)
		case "loss":
			l.Loss, err = strconv.ParseFloat(v, 64)
		case "dup":
			l.Dup, err = strconv.ParseFloat(v, 64)
		default:
			err = fmt.Errorf("link: unknown key %q", key)
		}
		if err != nil {
			return err
		}
	}
	w.Connect(x, y, l)
	return nil
}

func (w *World) execPair(cmd string, n, m *Node, a Args) (string, error) {
	switch cmd {
	case "dial":
		n.Dial(m)
	case "cut", "heal":
		return "", w.Cut(n, m, cmd == "cut")
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
	case "call", "transfer":
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
		return w.transfer(n, m, id, size)
	}
	return "", nil
}

// Agreed reports whether the manifests with m have met.
func (n *Node) Agreed(m *Node) bool {
	if n.k == nil {
		return false
	}
	return slices.ContainsFunc(n.k.Peers(n.w.now), func(s kernel.PeerStatus) bool { return s.Node == m.ID() && s.Agreed })
}

// call makes a unary call and shows the answer.
func (w *World) call(n, m *Node, id sdk.ID, text []byte) (string, error) {
	app := n.Open(m.ID(), id, "")
	wrote := false
	err := w.RunUntil(w.now+30*time.Second, func() bool {
		if app.Opened && !wrote {
			wrote = true
			n.Write(app, text, true)
		}
		return app.FIN || app.Err != ""
	})
	switch {
	case err != nil:
		return "", err
	case app.Err != "":
		return "error: " + app.Err, nil
	case !app.FIN:
		return "error: no answer within 30s", nil
	}
	return string(app.Data), nil
}

// transfer streams size bytes through an echo and compares.
func (w *World) transfer(n, m *Node, id sdk.ID, size int) (string, error) {
	app := n.Open(m.ID(), id, "")
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(w.rng.Uint32())
	}
	rest, closed := data, false
	err := w.RunUntil(w.now+10*time.Minute, func() bool {
		for app.Opened && !closed && (app.Credit > 0 || len(rest) == 0) {
			k := min(len(rest), int(app.Credit), sdk.MaxStreamData)
			closed = k == len(rest)
			b := rest[:k]
			rest = rest[k:]
			n.Write(app, b, closed)
		}
		return app.FIN || app.Err != ""
	})
	switch {
	case err != nil:
		return "", err
	case app.Err != "":
		return "error: " + app.Err, nil
	case !bytes.Equal(app.Data, data):
		return fmt.Sprintf("error: %d of %d bytes came back, or they differ", len(app.Data), size), nil
	}
	return fmt.Sprintf("%d bytes, identical", size), nil
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
		for _, p := range n.k.Peers(w.now) {
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
