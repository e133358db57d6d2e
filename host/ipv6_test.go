package host_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"net/netip"
	"testing"
	"time"

	"nethost/host"
	"nethost/host/identity"
	"nethost/host/link"
	"nethost/host/module"
	"nethost/host/module/inproc"
	"nethost/sdk"
	"nethost/subprotocols/builtin/echo"
)

// onUDP runs a host with the echo module over a socket.
func onUDP(t *testing.T, name string, l *link.UDP, peers ...host.PeerAddr) *host.Host {
	t.Helper()
	return onLink(t, name, l, peers...)
}

// onLink does so over any link.
func onLink(t *testing.T, name string, l link.Link, peers ...host.PeerAddr) *host.Host {
	t.Helper()
	spec := module.BuiltinSpec("echo", echo.New().Describe(), module.Options{})
	h, err := host.New(host.Config{Key: identity.NewKey(sha256.Sum256([]byte(name))), NetworkKey: sha256.Sum256([]byte("udp")), Incarnation: 1,
		Link: l, Peers: peers, MaxMTU: 8972, Modules: []module.Spec{spec},
		Carriers: map[module.Kind]module.Carrier{module.Builtin: inproc.New(map[string]func() sdk.Module{"echo": echo.New})}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s ended with %v", name, err)
		}
	})
	return h
}

// listenUDP skips where the system has no such address.
func listenUDP(t *testing.T, addr string) *link.UDP {
	t.Helper()
	l, err := link.ListenUDP(netip.MustParseAddrPort(addr), link.UDPOptions{})
	if err != nil {
		t.Skipf("no socket on %s: %v", addr, err)
	}
	return l
}

// wantEcho sends bytes to the echo module of a node, and wants them back, as soon as
// there is a way to it.
func wantEcho(t *testing.T, h *host.Host, to sdk.NodeID, size int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	sent := bytes.Repeat([]byte("nethost."), size/8)
	for {
		s, err := h.Open(ctx, host.Target{Node: to, ID: 7})
		if err == nil {
			go func() {
				s.Write(sent)
				s.CloseWrite()
			}()
			var got []byte
			got, err = io.ReadAll(s)
			s.Close()
			if err == nil {
				if !bytes.Equal(got, sent) {
					t.Fatalf("sent %d bytes, got %d others", len(sent), len(got))
				}
				return
			}
		}
		select { // its module may still be starting
		case <-retry.C:
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}

// TestIPv6: three nodes in a row on ::1, a stream over the relay and one without.
func TestIPv6(t *testing.T) {
	la, lr, lb := listenUDP(t, "[::1]:0"), listenUDP(t, "[::1]:0"), listenUDP(t, "[::1]:0")
	r := onUDP(t, "R", lr)
	a := onUDP(t, "A", la, host.PeerAddr{Addr: lr.LocalAddr(), Node: r.Self()})
	b := onUDP(t, "B", lb, host.PeerAddr{Addr: lr.LocalAddr()})
	wantEcho(t, a, r.Self(), 1<<20)
	wantEcho(t, a, b.Self(), 1<<20)
	if n := r.Snapshot().Counters.Forwarded; n < 100 {
		t.Errorf("R relayed %d packets", n)
	}
	for _, p := range a.Snapshot().Peers {
		if p.Direct && !p.Addr.Addr().Is6() {
			t.Errorf("a neighbour at %s", p.Addr)
		}
	}
}

// TestDualStack: one socket for both families. A relay is reached by one neighbour over
// IPv4, by the other over IPv6.
func TestDualStack(t *testing.T) {
	lr, la, lb := listenUDP(t, "[::]:0"), listenUDP(t, "127.0.0.1:0"), listenUDP(t, "[::1]:0")
	port := lr.LocalAddr().Port()
	r := onUDP(t, "R", lr)
	a := onUDP(t, "A", la, host.PeerAddr{Addr: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port), Node: r.Self()})
	b := onUDP(t, "B", lb, host.PeerAddr{Addr: netip.AddrPortFrom(netip.IPv6Loopback(), port)})
	wantEcho(t, a, b.Self(), 1<<20)
	wantEcho(t, b, a.Self(), 1<<20)
	four, six := 0, 0
	for _, p := range r.Snapshot().Peers {
		switch {
		case p.Addr.Addr().Is4():
			four++
		case p.Addr.Addr().Is6():
			six++
		}
	}
	if four != 1 || six != 1 {
		t.Errorf("R has %d neighbours over IPv4 and %d over IPv6", four, six)
	}
}
