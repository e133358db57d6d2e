package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"nethost/sdk/client"
)

// nsNet is a bridge in a network namespace of its own, and nodes on it, each a process
// in a namespace: what happens to one's interface, address or wire is what happens to
// a machine.
type nsNet struct {
	t      *testing.T
	pid    int
	prefix string // of the addresses, such as "10.113.7."
	key    string // file of the network key
	nodes  []*nsNode
}

// nsNode is one node.
type nsNode struct {
	net      *nsNet
	ns, wire string // namespace, and the bridge's end of its wire
	id, data string
	addr     string // with which it was started
	args     []string
	cmd      *exec.Cmd
	done     chan struct{}
	log      bytes.Buffer
	api      *client.Client
}

// newNSNet skips where there is no root or no such thing.
func newNSNet(t *testing.T) *nsNet {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip")
	}
	pid := os.Getpid()
	n := &nsNet{t: t, pid: pid, prefix: fmt.Sprintf("10.%d.%d.", 200+pid%50, pid/50%250)}
	n.namespace("sw")
	n.mustOrSkip("ip -n SW link add br0 type bridge")
	n.mustOrSkip("ip -n SW link set br0 up")
	return n
}

func (n *nsNet) name(s string) string { return fmt.Sprintf("nhs%d%s", n.pid, s) }

func (n *nsNet) namespace(s string) {
	n.t.Helper()
	n.mustOrSkip("ip netns add " + n.name(s))
	n.t.Cleanup(func() { _ = n.run("ip netns del " + n.name(s)) })
}

// run runs a command, with SW for the bridge's namespace.
func (n *nsNet) run(line string) error {
	f := strings.Fields(strings.ReplaceAll(line, "SW", n.name("sw")))
	if out, err := exec.Command(f[0], f[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", line, err, out)
	}
	return nil
}

func (n *nsNet) mustOrSkip(line string) {
	n.t.Helper()
	if err := n.run(line); err != nil {
		n.t.Skip(err)
	}
}

func (n *nsNet) must(line string) {
	n.t.Helper()
	if err := n.run(line); err != nil {
		n.t.Fatal(err)
	}
}

// add wires a node to the bridge and starts it.
func (n *nsNet) add(name string, peers ...*nsNode) *nsNode {
	n.t.Helper()
	// Short: sockets must fit 107 bytes.
	dir, err := os.MkdirTemp("", "nh")
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { os.RemoveAll(dir) })
	x := &nsNode{net: n, ns: n.name(name), wire: "w" + name, data: filepath.Join(dir, "d"), addr: n.prefix + fmt.Sprint(len(n.nodes)+1)}
	n.namespace(name)
	for _, line := range []string{"ip -n SW link add " + x.wire + " type veth peer name eth0 netns " + x.ns,
		"ip -n SW link set " + x.wire + " master br0 up", "ip -n " + x.ns + " addr add " + x.addr + "/24 dev eth0",
		"ip -n " + x.ns + " link set eth0 up", "ip -n " + x.ns + " link set lo up"} {
		n.mustOrSkip(line)
	}
	if x.id, err = initNode(x.data, n.key); err != nil {
		n.t.Fatal(err)
	}
	if n.key == "" {
		n.key = filepath.Join(x.data, "network.key")
	}
	x.args = []string{"netns", "exec", x.ns, "nethost", "run", "--data", x.data, "--listen", "0.0.0.0:7700", "--builtin", "echo", "--dev"}
	for _, p := range peers {
		x.args = append(x.args, "--peers", p.id+"@"+p.addr+":7700")
	}
	x.api = client.New(filepath.Join(x.data, "api.sock"))
	n.nodes = append(n.nodes, x)
	x.start()
	return x
}

func (x *nsNode) start() {
	t := x.net.t
	t.Helper()
	x.log.Reset()
	x.cmd, x.done = exec.Command("ip", x.args...), make(chan struct{})
	x.cmd.Stdout, x.cmd.Stderr = &x.log, &x.log
	if err := x.cmd.Start(); err != nil {
		t.Skip(err)
	}
	cmd, done := x.cmd, x.done
	go func() { cmd.Wait(); close(done) }()
	t.Cleanup(func() { cmd.Process.Kill(); <-done })
	err := poll(t.Context(), 20*time.Second, "the node was up", func() bool {
		_, err := x.api.Status(t.Context())
		return err == nil
	})
	if err != nil {
		x.kill()
		t.Fatalf("%v: %s", err, x.log.Bytes())
	}
}

func (x *nsNode) kill() {
	x.cmd.Process.Kill()
	<-x.done
}

// ip runs ip in the node's namespace.
func (x *nsNode) ip(line string) {
	x.net.t.Helper()
	x.net.must("ip -n " + x.ns + " " + line)
}

// via is the next hop to a node, and whether there is an alternate.
func (x *nsNode) via(to *nsNode) (hop string, alternate bool) {
	r, err := x.api.Routes(x.net.t.Context())
	if err != nil {
		return "", false
	}
	for _, r := range r.Routes {
		if r.Node == to.id {
			return r.Via, len(r.Alternates) > 0
		}
	}
	return "", false
}

// hears reports that a node is a neighbour that is alive.
func (x *nsNode) hears(of *nsNode) bool {
	r, err := x.api.Peers(x.net.t.Context())
	if err != nil {
		return false
	}
	for _, p := range r.Peers {
		if p.Node == of.id {
			return p.Direct && p.State == "alive"
		}
	}
	return false
}

// want waits until something holds.
func (x *nsNode) want(what string, is func() bool) {
	t := x.net.t
	t.Helper()
	if err := poll(t.Context(), 30*time.Second, what, is); err != nil {
		peers, _ := x.api.Peers(t.Context())
		routes, _ := x.api.Routes(t.Context())
		t.Fatalf("%v: peers %v, routes %v", err, peers, routes)
	}
}

// nsEcho is a stream to a node's echo that lives through the whole test.
type nsEcho struct {
	t *testing.T
	s *client.Stream
	n byte
}

func (e *nsEcho) roundTrip(after string) {
	e.t.Helper()
	e.n++
	out, in := bytes.Repeat([]byte{e.n, e.n + 1, 3}, 100_000), make([]byte, 300_000)
	late := time.AfterFunc(30*time.Second, func() { e.s.Close() })
	defer late.Stop()
	wrote := make(chan error, 1)
	go func() { _, err := e.s.Write(out); wrote <- err }()
	_, err := io.ReadFull(e.s, in)
	if werr := <-wrote; err != nil || werr != nil {
		e.t.Fatalf("the stream after %s: %v, %v", after, err, werr)
	}
	if !bytes.Equal(in, out) {
		e.t.Fatalf("the stream after %s: other bytes came back", after)
	}
}

// TestFaultsInNamespaces: four nodes on a bridge, A and B with two relays between them.
// Whatever happens to the relay on the path, or to A's address, the mesh heals both
// ways, and one stream goes on through all of it.
func TestFaultsInNamespaces(t *testing.T) {
	t.Setenv("NETHOST_DISCOVERY__MDNS", "false") // else all of them are neighbours
	net := newNSNet(t)
	relays := []*nsNode{net.add("r1"), net.add("r2")}
	b := net.add("b", relays...)
	a := net.add("a", relays...)
	whole := func() bool {
		_, one := a.via(b)
		_, other := b.via(a)
		return one && other
	}
	onPath := func() *nsNode {
		t.Helper()
		hop, _ := a.via(b)
		for _, r := range relays {
			if r.id == hop {
				return r
			}
		}
		t.Fatalf("A goes to B via %q: %s", hop, a.log.Bytes())
		return nil
	}
	a.want("both relays lead to B", whole)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, err := a.api.Stream(ctx, client.Target{Node: b.id, Module: "echo"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	echo := &nsEcho{t: t, s: s}
	echo.roundTrip("nothing")

	for _, f := range []struct {
		name      string
		harm, end func(r *nsNode)
	}{
		{"interface down", func(r *nsNode) { r.ip("link set eth0 down") }, func(r *nsNode) { r.ip("link set eth0 up") }},
		{"wire pulled at the bridge", func(r *nsNode) { net.must("ip -n SW link set " + r.wire + " nomaster") },
			func(r *nsNode) { net.must("ip -n SW link set " + r.wire + " master br0") }},
		{"SIGSTOP", func(r *nsNode) { r.signal(syscall.SIGSTOP) }, func(r *nsNode) { r.signal(syscall.SIGCONT) }},
		{"kill -9", func(r *nsNode) { r.kill() }, func(r *nsNode) { r.start() }},
		{"a drop rule", nsDrop(net, "add"), nsDrop(net, "delete")},
	} {
		if f.harm == nil {
			t.Logf("%s: neither nft nor iptables here: left out", f.name)
			continue
		}
		r := onPath()
		f.harm(r)
		echo.roundTrip(f.name)
		a.want(f.name+": A uses the other relay and has given up this one", func() bool {
			hop, _ := a.via(b)
			return hop != "" && hop != r.id && !a.hears(r)
		})
		f.end(r)
		for _, x := range []*nsNode{a, b} {
			x.want(x.ns+", "+f.name+": the relay is back", func() bool { return x.hears(r) })
		}
		echo.roundTrip("the end of " + f.name)
	}

	a.ip("addr add " + net.prefix + "77/24 dev eth0")
	a.ip("addr del " + a.addr + "/24 dev eth0")
	a.ip("addr replace " + net.prefix + "77/24 dev eth0") // the kernel may have taken it along, as a second one
	echo.roundTrip("a change of A's address")
	for _, r := range relays {
		r.want("the relay knows A's new address", func() bool {
			p, err := r.api.Peers(t.Context())
			for _, p := range p.GetPeers() {
				if err == nil && p.Node == a.id && p.Direct {
					return strings.HasPrefix(p.Addr, net.prefix+"77:")
				}
			}
			return false
		})
	}
	echo.roundTrip("everything")
}

func (x *nsNode) signal(s syscall.Signal) {
	x.net.t.Helper()
	if err := x.cmd.Process.Signal(s); err != nil {
		x.net.t.Fatal(err)
	}
}

// nsDrop makes a relay's machine drop all UDP it gets, with what the system has for that; nil
// where it has nothing.
func nsDrop(net *nsNet, verb string) func(r *nsNode) {
	if _, err := exec.LookPath("nft"); err == nil {
		return func(r *nsNode) {
			nft := "ip netns exec " + r.ns + " nft "
			if verb == "delete" {
				net.must(nft + "delete table inet nethost")
				return
			}
			for _, line := range []string{"add table inet nethost", "add chain inet nethost in { type filter hook input priority 0 ; }",
				"add rule inet nethost in meta l4proto udp drop"} {
				net.must(nft + line)
			}
		}
	}
	if _, err := exec.LookPath("iptables"); err == nil {
		flag := map[string]string{"add": "-A", "delete": "-D"}[verb]
		return func(r *nsNode) { net.must("ip netns exec " + r.ns + " iptables " + flag + " INPUT -p udp -j DROP") }
	}
	return nil
}
