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
	udp1, err := plainUDP(ctx, env, false, false)
	if err != nil {
		return err
	}
	udp2, err := plainUDP(ctx, env, true, false)
	if err != nil {
		return err
	}
	udpX, err := plainUDP(ctx, env, false, true)
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
		name, base   string
		baseUS, goal float64
		peers        []host.PeerAddr
		to           sdk.NodeID
		process      bool
	}{
		{"1 KiB round trip, direct, one process", "plain UDP", udp1, one, []host.PeerAddr{b.peer()}, b.Self(), false},
		{"1 KiB round trip, through a relay, one process", "plain UDP over two hops", udp2, 2.5, []host.PeerAddr{r.peer()}, b.Self(), false},
		{"1 KiB round trip, direct, two processes", "plain UDP, two processes", udpX, two, nil, sdk.NodeID{}, true},
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
		us, err := streamTrips(ctx, a, c.to)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		env.ratio(c.name, us, "us", c.base, c.baseUS, c.goal)
		if !c.process {
			us, err := unaryTrips(ctx, a, c.to)
			if err != nil {
				return err
			}
			env.ratio(strings.Replace(c.name, "round trip", "unary call", 1), us, "us", c.base, c.baseUS, 0)
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

// streamTrips measures 1 KiB there and back on one open stream.
func streamTrips(ctx context.Context, a embedded, to sdk.NodeID) (float64, error) {
	s, err := a.Open(ctx, host.Target{Node: to, ID: 7})
	if err != nil {
		return 0, err
	}
	defer s.Close()
	buf := make([]byte, 1024)
	return roundTrips(func() error {
		if _, err := s.Write(buf); err != nil {
			return err
		}
		_, err := io.ReadFull(s, buf)
		return err
	})
}

// unaryTrips measures open, 1 KiB, end, and the whole answer.
func unaryTrips(ctx context.Context, a embedded, to sdk.NodeID) (float64, error) {
	buf := make([]byte, 1024)
	return roundTrips(func() error {
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
	})
}

// plainUDP measures 1 KiB there and back over net.UDPConn, through a forwarder
// or not, to a goroutine or to another process.
func plainUDP(ctx context.Context, env *benchEnv, relayed, process bool) (float64, error) {
	var target string
	if process {
		addr, child, err := startPeer(ctx, env, "udp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		defer child.Wait()
		defer child.Process.Kill()
		target = addr.String()
	} else {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(loopback))
		if err != nil {
			return 0, err
		}
		defer c.Close()
		go serveEcho(c)
		target = c.LocalAddr().String()
	}
	to := netip.MustParseAddrPort(target)
	if relayed {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(loopback))
		if err != nil {
			return 0, err
		}
		defer c.Close()
		go serveForward(c, to)
		to = c.LocalAddr().(*net.UDPAddr).AddrPort()
	}
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(loopback))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	buf := make([]byte, 1024)
	return roundTrips(func() error {
		if _, err := c.WriteToUDPAddrPort(buf, to); err != nil {
			return err
		}
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, _, err := c.ReadFromUDPAddrPort(buf)
		return err
	})
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
