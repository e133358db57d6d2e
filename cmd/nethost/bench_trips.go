package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"nethost/host"
	"nethost/host/identity"
	"nethost/host/link"
	"nethost/host/module"
	"nethost/host/module/inproc"
	"nethost/sdk"
	"nethost/subprotocols/builtin"
)

// loopback is any free port of this machine.
var loopback = netip.MustParseAddrPort("127.0.0.1:0")

// benchRoundTrips measures 1 KiB there and back on an open stream, direct and
// through a relay, against plain UDP over as many hops. one and two bound the ratio
// of the direct ones, in one process and in two.
func benchRoundTrips(ctx context.Context, env *benchEnv, one, two float64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	network, err := randomNetworkKey()
	if err != nil {
		return err
	}
	r, err := embed(ctx, network, nil)
	if err != nil {
		return err
	}
	b, err := embed(ctx, network, []host.PeerAddr{r.peer()})
	if err != nil {
		return err
	}
	for _, c := range []struct {
		name, base       string
		goal             float64
		peers            []host.PeerAddr
		to               sdk.NodeID
		relayed, process bool
	}{
		{"1 KiB round trip, direct, one process", "plain UDP", one, []host.PeerAddr{b.peer()}, b.Self(), false, false},
		{"1 KiB round trip, through a relay, one process", "plain UDP over two hops", 2.5, []host.PeerAddr{r.peer()}, b.Self(), true, false},
		{"1 KiB round trip, direct, two processes", "plain UDP, two processes", two, nil, sdk.NodeID{}, false, true},
	} {
		if c.process {
			far, err := startChild(ctx, env, network)
			if err != nil {
				return err
			}
			defer far.stop()
			c.peers, c.to = []host.PeerAddr{far.peer}, far.peer.Node
		}
		a, err := embed(ctx, network, c.peers)
		if err != nil {
			return err
		}
		udp, stop, err := plainUDP(ctx, env, c.relayed, c.process)
		if err != nil {
			return err
		}
		defer stop()
		stream, err := streamTrips(ctx, a, c.to)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		ways := []func() error{udp, stream}
		if !c.process {
			ways = append(ways, unaryTrips(ctx, a, c.to))
		}
		us, err := inTurns(ways...)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		env.ratio(c.name, us[1], "us", c.base, us[0], c.goal)
		if !c.process {
			env.ratio(strings.Replace(c.name, "round trip", "unary call", 1), us[2], "us", c.base, us[0], 0)
		}
	}
	return nil
}

func randomNetworkKey() (k identity.NetworkKey, err error) {
	_, err = io.ReadFull(rand.Reader, k[:])
	return k, err
}

// embedded is a host in this process.
type embedded struct {
	*host.Host
	addr netip.AddrPort
}

func (e embedded) peer() host.PeerAddr { return host.PeerAddr{Addr: e.addr, Node: e.Self()} }

// embed runs a host with echo compiled in until ctx ends.
func embed(ctx context.Context, network identity.NetworkKey, peers []host.PeerAddr) (embedded, error) {
	l, err := link.ListenUDP(loopback, link.UDPOptions{})
	if err != nil {
		return embedded{}, err
	}
	return embedOn(ctx, l, network, peers)
}

// embedOn does so on a link, which it closes in the end.
func embedOn(ctx context.Context, l link.Link, network identity.NetworkKey, peers []host.PeerAddr) (embedded, error) {
	var seed [32]byte
	if _, err := io.ReadFull(rand.Reader, seed[:]); err != nil {
		return embedded{}, err
	}
	opts := module.Options{Core: coreModules, Builtin: builtin.All()}
	h, err := host.New(host.Config{Key: identity.NewKey(seed), NetworkKey: network, Incarnation: 1, Link: l, Peers: peers,
		Modules:  []module.Spec{module.BuiltinSpec("echo", builtin.All()["echo"]().Describe(), opts)},
		Carriers: map[module.Kind]module.Carrier{module.Builtin: inproc.New(builtin.All())}})
	if err != nil {
		return embedded{}, err
	}
	go h.Run(ctx)
	return embedded{h, l.LocalAddr()}, nil
}

// child is a node in a process of its own.
type child struct {
	peer   host.PeerAddr
	pid    int
	socket string // of its local API
	stop   func() // also removes what it left on disk
}

// startChild runs a node with echo, with variables added to its environment.
func startChild(ctx context.Context, env *benchEnv, network identity.NetworkKey, vars ...string) (c child, err error) {
	dir, err := os.MkdirTemp(env.dir, "child")
	if err != nil {
		return c, err
	}
	keyPath, data := filepath.Join(dir, "network.key"), filepath.Join(dir, "data")
	if err := writeNew(keyPath, network.Text()+"\n", 0o600); err != nil {
		return c, err
	}
	text, err := initNode(data, keyPath)
	if err != nil {
		return c, err
	}
	if c.peer.Node, err = sdk.ParseNodeID(text); err != nil {
		return c, err
	}
	d := &demo{exe: env.exe, dir: dir, env: vars}
	n := &demoNode{name: "child", data: data}
	if err := d.launch(ctx, n, 1, 0, "--builtin", "echo"); err != nil {
		return c, err
	}
	c.pid, c.socket = n.cmd.Process.Pid, socketOf(data)
	c.stop = func() {
		d.stop(n)
		os.RemoveAll(dir)
	}
	c.peer.Addr, err = netip.ParseAddrPort(n.addr)
	return c, err
}

// streamTrips is 1 KiB there and back on one open stream.
func streamTrips(ctx context.Context, a embedded, to sdk.NodeID) (once func() error, err error) {
	s, err := a.Open(ctx, host.Target{Node: to, ID: 7})
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 1024)
	return func() error {
		if _, err := s.Write(buf); err != nil {
			return err
		}
		_, err := io.ReadFull(s, buf)
		return err
	}, nil
}

// unaryTrips is open, 1 KiB, end, and the whole answer.
func unaryTrips(ctx context.Context, a embedded, to sdk.NodeID) (once func() error) {
	buf := make([]byte, 1024)
	return func() error {
		s, err := a.Open(ctx, host.Target{Node: to, ID: 7})
		if err != nil {
			return err
		}
		defer s.Close()
		if _, err := s.Write(buf); err != nil {
			return err
		}
		s.CloseWrite()
		_, err = io.Copy(io.Discard, s)
		return err
	}
}

// plainUDP is 1 KiB there and back over net.UDPConn, through a forwarder or not,
// to a goroutine or to another process, until stop is called.
func plainUDP(ctx context.Context, env *benchEnv, relayed, process bool) (once func() error, stop func(), err error) {
	var ends []func()
	stop = func() {
		for _, end := range slices.Backward(ends) {
			end()
		}
	}
	defer func() {
		if err != nil {
			stop()
		}
	}()
	listen := func() (*net.UDPConn, error) {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(loopback))
		if err == nil {
			ends = append(ends, func() { c.Close() })
		}
		return c, err
	}
	var to netip.AddrPort
	if process {
		addr, child, err := startPeer(ctx, env, "udp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		ends = append(ends, func() {
			child.Process.Kill()
			child.Wait()
		})
		to = addr
	} else {
		c, err := listen()
		if err != nil {
			return nil, nil, err
		}
		go serveEcho(c)
		to = c.LocalAddr().(*net.UDPAddr).AddrPort()
	}
	if relayed {
		c, err := listen()
		if err != nil {
			return nil, nil, err
		}
		go serveForward(c, to)
		to = c.LocalAddr().(*net.UDPAddr).AddrPort()
	}
	c, err := listen()
	if err != nil {
		return nil, nil, err
	}
	buf := make([]byte, 1024)
	return func() error {
		if _, err := c.WriteToUDPAddrPort(buf, to); err != nil {
			return err
		}
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, _, err := c.ReadFromUDPAddrPort(buf)
		return err
	}, stop, nil
}

func serveEcho(c *net.UDPConn) {
	buf := make([]byte, 2048)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		c.WriteToUDPAddrPort(buf[:n], from)
	}
}

// serveForward passes datagrams of anybody on to one address, and what comes
// from there back to whoever spoke last.
func serveForward(c *net.UDPConn, to netip.AddrPort) {
	buf := make([]byte, 2048)
	var client netip.AddrPort
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if from == to {
			c.WriteToUDPAddrPort(buf[:n], client)
		} else {
			client = from
			c.WriteToUDPAddrPort(buf[:n], to)
		}
	}
}

// echoUDP is the body of the plain UDP peer process.
func echoUDP(addr string) error {
	a, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return err
	}
	c, err := net.ListenUDP("udp", a)
	if err != nil {
		return err
	}
	fmt.Println(c.LocalAddr())
	serveEcho(c)
	return nil
}
