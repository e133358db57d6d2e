package link

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"
)

func listen(t testing.TB, addr string) *UDP {
	t.Helper()
	u, err := ListenUDP(netip.MustParseAddrPort(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return u
}

// read fails the test instead of hanging it.
func read(t testing.TB, l Link) ([]byte, netip.AddrPort) {
	t.Helper()
	watchdog := time.AfterFunc(10*time.Second, func() { l.Close() })
	defer watchdog.Stop()
	b := make([]byte, 2048)
	n, from, err := l.Read(b)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	return b[:n], from
}

func TestUDPLoopback(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(addr, func(t *testing.T) {
			a, b := listen(t, addr), listen(t, addr)
			for _, size := range []int{0, 1, 1200, 1500} {
				msg := bytes.Repeat([]byte{byte(size)}, size)
				if err := a.Write(msg, b.LocalAddr()); err != nil {
					t.Fatal(err)
				}
				got, from := read(t, b)
				if !bytes.Equal(got, msg) || from != a.LocalAddr() {
					t.Fatalf("size %d: got %d bytes from %v, want them from %v", size, len(got), from, a.LocalAddr())
				}
			}
		})
	}
}

// A dual-stack link talks to both families and shows IPv4 senders unmapped.
func TestUDPDualStack(t *testing.T) {
	d := listen(t, "[::]:0")
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		p := listen(t, addr)
		to := netip.AddrPortFrom(p.LocalAddr().Addr(), d.LocalAddr().Port())
		if err := p.Write([]byte("hi"), to); err != nil {
			t.Fatal(err)
		}
		_, from := read(t, d)
		if from != p.LocalAddr() {
			t.Fatalf("sender is %v, want %v", from, p.LocalAddr())
		}
		if err := d.Write([]byte("back"), from); err != nil {
			t.Fatal(err)
		}
		if got, _ := read(t, p); string(got) != "back" {
			t.Fatalf("got %q", got)
		}
	}
}

func TestUDPClose(t *testing.T) {
	u := listen(t, "127.0.0.1:0")
	done := make(chan error)
	go func() {
		_, _, err := u.Read(make([]byte, 100))
		done <- err
	}()
	u.Close()
	if err := <-done; err != net.ErrClosed {
		t.Fatalf("Read after Close: %v", err)
	}
	if err := u.Write([]byte("x"), u.LocalAddr()); err != net.ErrClosed {
		t.Fatalf("Write after Close: %v", err)
	}
	if err := u.Close(); err != nil {
		t.Fatalf("second Close: %v", err)
	}
}

func TestUDPAddressTaken(t *testing.T) {
	u := listen(t, "127.0.0.1:0")
	_, err := ListenUDP(u.LocalAddr())
	if err == nil {
		t.Fatal("bound twice")
	}
}

func TestUDPAllocs(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		a, b := listen(t, addr), listen(t, addr)
		msg, buf := make([]byte, 1200), make([]byte, 2048)
		allocs := testing.AllocsPerRun(100, func() {
			if err := a.Write(msg, b.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			if _, _, err := b.Read(buf); err != nil {
				t.Fatal(err)
			}
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations a datagram, want 0", addr, allocs)
		}
	}
}

func TestMem(t *testing.T) {
	sw := NewSwitch()
	aa, bb := netip.MustParseAddrPort("10.0.0.1:1"), netip.MustParseAddrPort("10.0.0.2:1")
	a, _ := sw.Listen(aa)
	b, _ := sw.Listen(bb)
	if _, err := sw.Listen(aa); err == nil {
		t.Fatal("one address, two ports")
	}
	a.Write([]byte("one"), bb)
	if got, from := read(t, b); string(got) != "one" || from != aa {
		t.Fatalf("got %q from %v", got, from)
	}

	for i := range QueueLen + 7 { // full queues drop the newest
		a.Write(fmt.Appendf(nil, "%d", i), bb)
	}
	if got := sw.Lost(); got != 7 {
		t.Fatalf("lost %d, want 7", got)
	}
	if got, _ := read(t, b); string(got) != "0" {
		t.Fatalf("got %q", got)
	}

	sw.SetFilter(func(from, to netip.AddrPort, _ []byte) bool { return to != aa })
	b.Write([]byte("cut"), aa)
	sw.SetFilter(nil)
	b.Write([]byte("joined"), aa)
	if got, _ := read(t, a); string(got) != "joined" {
		t.Fatalf("got %q", got)
	}

	var rejected Rejection
	a.OnRejection(func(r Rejection) { rejected = r; rejected.Quote = bytes.Clone(r.Quote) })
	b.Close()
	a.Write([]byte("anybody"), bb)
	a.Write([]byte("self"), aa)
	if got, _ := read(t, a); string(got) != "self" {
		t.Fatalf("got %q", got)
	}
	if rejected.To != bb || string(rejected.Quote) != "anybody" {
		t.Fatalf("rejection %+v", rejected)
	}
	if _, _, err := b.Read(nil); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("Read after Close: %v", err)
	}
	if err := b.Write(nil, aa); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("Write after Close: %v", err)
	}
}

func TestMemAllocs(t *testing.T) {
	sw := NewSwitch()
	addr := netip.MustParseAddrPort("10.0.0.1:1")
	m, _ := sw.Listen(addr)
	msg, buf := make([]byte, 1200), make([]byte, 2048)
	if n := testing.AllocsPerRun(200, func() { m.Write(msg, addr); m.Read(buf) }); n != 0 {
		t.Errorf("%v allocations a datagram, want 0", n)
	}
}

func BenchmarkUDP(b *testing.B) {
	x, y := listen(b, "127.0.0.1:0"), listen(b, "127.0.0.1:0")
	msg, buf := make([]byte, 1200), make([]byte, 2048)
	b.ReportAllocs()
	for b.Loop() {
		if err := x.Write(msg, y.LocalAddr()); err != nil {
			b.Fatal(err)
		}
		if _, _, err := y.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
}
