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
	return listenMode(t, addr, GSOAuto)
}

func listenMode(t testing.TB, addr string, gso GSO) *UDP {
	t.Helper()
	u, err := ListenUDP(netip.MustParseAddrPort(addr), UDPOptions{GSO: gso})
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
	var one [1]Train
	if n, err := l.Read(one[:]); err != nil || n != 1 {
		t.Fatalf("Read: %d, %v", n, err)
	}
	return one[0].Bytes, one[0].Addr
}

// write sends one datagram.
func write(l Link, b []byte, to netip.AddrPort) error { return l.Write([]Train{{Addr: to, Bytes: b}}) }

func TestUDPLoopback(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(addr, func(t *testing.T) {
			a, b := listen(t, addr), listen(t, addr)
			for _, size := range []int{0, 1, 1200, 1500} {
				msg := bytes.Repeat([]byte{byte(size)}, size)
				if err := write(a, msg, b.LocalAddr()); err != nil {
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
		if err := write(p, []byte("hi"), to); err != nil {
			t.Fatal(err)
		}
		_, from := read(t, d)
		if from != p.LocalAddr() {
			t.Fatalf("sender is %v, want %v", from, p.LocalAddr())
		}
		if err := write(d, []byte("back"), from); err != nil {
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
		_, err := u.Read(make([]Train, 1))
		done <- err
	}()
	u.Close()
	if err := <-done; err != net.ErrClosed {
		t.Fatalf("Read after Close: %v", err)
	}
	if err := write(u, []byte("x"), u.LocalAddr()); err != net.ErrClosed {
		t.Fatalf("Write after Close: %v", err)
	}
	if err := u.Close(); err != nil {
		t.Fatalf("second Close: %v", err)
	}
}

func TestUDPAddressTaken(t *testing.T) {
	u := listen(t, "127.0.0.1:0")
	_, err := ListenUDP(u.LocalAddr(), UDPOptions{})
	if err == nil {
		t.Fatal("bound twice")
	}
}

func TestUDPAllocs(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		for _, gso := range []GSO{GSOAuto, GSOOff, gsoNone} {
			a, b := listenMode(t, addr, gso), listenMode(t, addr, gso)
			out := []Train{{Addr: b.LocalAddr(), Bytes: make([]byte, 12000), Segment: 1200}, {Addr: b.LocalAddr(), Bytes: make([]byte, 1200)}}
			in := make([]Train, 8)
			allocs := testing.AllocsPerRun(100, func() {
				if err := a.Write(out); err != nil {
					t.Fatal(err)
				}
				for got := 0; got < 13200; {
					n, err := b.Read(in)
					if err != nil {
						t.Fatal(err)
					}
					for _, tr := range in[:n] {
						got += len(tr.Bytes)
					}
				}
			})
			if allocs != 0 {
				t.Errorf("%s, gso %s: %v allocations for eleven datagrams, want 0", addr, gso, allocs)
			}
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
	write(a, []byte("one"), bb)
	if got, from := read(t, b); string(got) != "one" || from != aa {
		t.Fatalf("got %q from %v", got, from)
	}

	for i := range QueueLen + 7 { // full queues drop the newest
		write(a, fmt.Appendf(nil, "%d", i), bb)
	}
	if got := sw.Lost(); got != 7 {
		t.Fatalf("lost %d, want 7", got)
	}
	if got, _ := read(t, b); string(got) != "0" {
		t.Fatalf("got %q", got)
	}

	sw.SetFilter(func(from, to netip.AddrPort, _ []byte) bool { return to != aa })
	write(b, []byte("cut"), aa)
	sw.SetFilter(nil)
	write(b, []byte("joined"), aa)
	if got, _ := read(t, a); string(got) != "joined" {
		t.Fatalf("got %q", got)
	}

	var rejected Rejection
	a.OnRejection(func(r Rejection) { rejected = r; rejected.Quote = bytes.Clone(r.Quote) })
	b.Close()
	write(a, []byte("anybody"), bb)
	write(a, []byte("self"), aa)
	if got, _ := read(t, a); string(got) != "self" {
		t.Fatalf("got %q", got)
	}
	if rejected.To != bb || string(rejected.Quote) != "anybody" {
		t.Fatalf("rejection %+v", rejected)
	}
	if _, err := b.Read(make([]Train, 1)); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("Read after Close: %v", err)
	}
	if err := write(b, nil, aa); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("Write after Close: %v", err)
	}
}

func TestMemAllocs(t *testing.T) {
	sw := NewSwitch()
	addr := netip.MustParseAddrPort("10.0.0.1:1")
	m, _ := sw.Listen(addr)
	out, in := []Train{{Addr: addr, Bytes: make([]byte, 1200)}}, make([]Train, 1)
	if n := testing.AllocsPerRun(200, func() { m.Write(out); m.Read(in) }); n != 0 {
		t.Errorf("%v allocations a datagram, want 0", n)
	}
}

func BenchmarkUDP(b *testing.B) {
	for _, gso := range []GSO{GSOAuto, GSOOff, gsoNone} {
		b.Run(string(gso), func(b *testing.B) {
			x, y := listenMode(b, "127.0.0.1:0", gso), listenMode(b, "127.0.0.1:0", gso)
			out := []Train{{Addr: y.LocalAddr(), Bytes: make([]byte, 32*1024), Segment: 1024}}
			in := make([]Train, 8)
			b.ReportAllocs()
			b.SetBytes(32 * 1024)
			for b.Loop() {
				if err := x.Write(out); err != nil {
					b.Fatal(err)
				}
				for got := 0; got < len(out[0].Bytes); {
					n, err := y.Read(in)
					if err != nil {
						b.Fatal(err)
					}
					for _, t := range in[:n] {
						got += len(t.Bytes)
					}
				}
			}
		})
	}
}
