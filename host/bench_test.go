package host_test

import (
	"context"
	"crypto/sha256"
	"io"
	"net/netip"
	"runtime"
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

// node runs a host with echo over real UDP until the test ends.
func node(b testing.TB, name string, peers ...host.PeerAddr) (*host.Host, host.PeerAddr) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	h, ended, addr := nodeAt(b, ctx, name, peers)
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	return h, addr
}

// nodeIn runs one until ctx ends; ended gives what Run returned.
func nodeIn(b testing.TB, ctx context.Context, name string, peers ...host.PeerAddr) (h *host.Host, ended <-chan error) {
	h, ended, _ = nodeAt(b, ctx, name, peers)
	return h, ended
}

func nodeAt(b testing.TB, ctx context.Context, name string, peers []host.PeerAddr) (*host.Host, <-chan error, host.PeerAddr) {
	b.Helper()
	l, err := link.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"), link.UDPOptions{})
	if err != nil {
		b.Fatal(err)
	}
	factories := map[string]func() sdk.Module{"echo": echo.New}
	h, err := host.New(host.Config{Key: identity.NewKey(sha256.Sum256([]byte(name))), NetworkKey: sha256.Sum256([]byte("bench")), Incarnation: 1,
		Link: l, Peers: peers, Carriers: map[module.Kind]module.Carrier{module.Builtin: inproc.New(factories)},
		Modules: []module.Spec{module.BuiltinSpec("echo", echo.New().Describe(), module.Options{})}})
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	return h, done, host.PeerAddr{Addr: l.LocalAddr(), Node: h.Self()}
}

// transfer streams b.N pieces to an echo and back.
func transfer(b *testing.B, a *host.Host, to sdk.NodeID, size int) {
	s, err := a.Open(context.Background(), host.Target{Node: to, ID: 7})
	for began := time.Now(); err != nil && time.Since(began) < 5*time.Second; { // the module is still starting
		runtime.Gosched()
		s, err = a.Open(context.Background(), host.Target{Node: to, ID: 7})
	}
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	piece := make([]byte, size)
	b.SetBytes(int64(len(piece)))
	b.ResetTimer()
	go func() {
		for range b.N {
			if _, err := s.Write(piece); err != nil {
				return
			}
		}
		s.CloseWrite()
	}()
	n, err := io.Copy(io.Discard, s)
	if err != nil || n != int64(b.N*len(piece)) {
		b.Fatalf("%d bytes came back: %v", n, err)
	}
}

func BenchmarkStream(b *testing.B) {
	b.Run("local", func(b *testing.B) {
		h, _ := node(b, "a")
		transfer(b, h, sdk.NodeID{}, 64<<10)
	})
	b.Run("direct", func(b *testing.B) {
		other, addr := node(b, "b")
		h, _ := node(b, "a", addr)
		transfer(b, h, other.Self(), 64<<10)
	})
	b.Run("direct, writes of 1 KiB", func(b *testing.B) {
		other, addr := node(b, "b")
		h, _ := node(b, "a", addr)
		transfer(b, h, other.Self(), 1<<10)
	})
	b.Run("relayed", func(b *testing.B) {
		_, relay := node(b, "r")
		other, _ := node(b, "b", relay)
		h, _ := node(b, "a", relay)
		transfer(b, h, other.Self(), 64<<10)
	})
}
