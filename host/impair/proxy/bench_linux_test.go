package proxy

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nethost/host/impair"
)

// counter counts datagrams that reached a sink, and tells when there are more.
type counter struct {
	n    atomic.Uint64
	more chan struct{}
}

// sink counts what reaches a socket, until that is closed.
func sink(t testing.TB, conn *net.UDPConn) *counter {
	t.Helper()
	if err := takeTrains(conn); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Time{})
	r, err := newReader(conn, new(arenas))
	if err != nil {
		t.Fatal(err)
	}
	c := &counter{more: make(chan struct{}, 1)}
	go func() {
		for {
			k, err := r.read()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			sum := 0
			for i := range k {
				b, size := r.message(i)
				sum += segments(b, size)
			}
			r.done()
			c.n.Add(uint64(sum))
			select {
			case c.more <- struct{}{}:
			default:
			}
		}
	}()
	return c
}

// source makes a writer with a batch of 1200-byte datagrams to an IPv4 address, to be
// sent singly or in trains, as nodes send.
func source(t testing.TB, conn *net.UDPConn, to netip.AddrPort, trains bool) *writer {
	t.Helper()
	e, err := newEndpoint(conn)
	if err != nil {
		t.Fatal(err)
	}
	w := newWriter(e)
	w.trains = trains
	w.out = split(nil, make([]byte, batch*1200), 1200, &client{name: nameOf(to)})
	return w
}

// nameOf is an IPv4 address as the kernel has it.
func nameOf(a netip.AddrPort) (n name) {
	n.raw.Family = unix.AF_INET
	n.raw.Port = a.Port()<<8 | a.Port()>>8
	v4 := a.Addr().As4()
	n.raw.Flowinfo = uint32(v4[0]) | uint32(v4[1])<<8 | uint32(v4[2])<<16 | uint32(v4[3])<<24
	n.len = unix.SizeofSockaddrInet4
	return n
}

// BenchmarkProxy carries 1200-byte datagrams over loopback. A bounded number of them is
// between source and sink, so that none is lost to a full buffer. ns/op is for one,
// source and sink included; "bare" has no proxy in between.
func BenchmarkProxy(b *testing.B) {
	delay := impair.Config{Delay: 3 * time.Millisecond}
	bad := impair.Config{Delay: 3 * time.Millisecond, Jitter: time.Millisecond, Loss: 0.01, Burst: 3, Reorder: 0.05, ReorderDelay: 3 * time.Millisecond}
	for _, c := range []struct {
		name         string
		bare, trains bool
		link         impair.Config
		window       uint64
	}{{"bare/single", true, false, impair.Config{}, 1024}, {"bare/train", true, true, impair.Config{}, 1024},
		{"clean/single", false, false, impair.Config{}, 1024}, {"clean/train", false, true, impair.Config{}, 1024},
		{"delay/single", false, false, delay, 3072}, {"delay/train", false, true, delay, 3072}, {"bad/train", false, true, bad, 3072}} {
		b.Run(c.name, func(b *testing.B) {
			server, from := socket(b), socket(b)
			got, to, lost := sink(b, server), addrOf(server), func() uint64 { return 0 }
			if !c.bare {
				p := running(b, server, Config{Up: c.link})
				to, lost = p.LocalAddr(), func() uint64 { s := p.Stats(); return s.Up.Lost["loss"] + s.KernelDrops }
			}
			w := source(b, from, to, c.trains)
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			sent := uint64(0)
			wait := func(behind uint64) {
				for until := time.Now().Add(5 * time.Second); got.n.Load()+behind < sent && got.n.Load()+behind+lost() < sent; {
					select {
					case <-got.more:
					case <-tick.C:
						if time.Now().After(until) {
							b.Fatalf("stuck at %d of %d, the sink dropped %d", got.n.Load(), sent, kernelDrops(server))
						}
					}
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			var before, after unix.Rusage
			unix.Getrusage(unix.RUSAGE_SELF, &before)
			for sent < uint64(b.N) {
				wait(c.window)
				if failed, _ := w.flush(); failed > 0 {
					b.Fatal("the source could not send")
				}
				sent += batch
			}
			wait(0)
			unix.Getrusage(unix.RUSAGE_SELF, &after)
			cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
			b.ReportMetric(float64(sent)/b.Elapsed().Seconds(), "datagrams/s")
			b.ReportMetric(float64(cpu)/float64(sent), "cpu-ns/datagram")
		})
	}
}

// TestCarryAllocatesNothing: from a socket through the link to a socket, both what goes
// at once and what waits.
func TestCarryAllocatesNothing(t *testing.T) {
	for _, link := range []impair.Config{{}, {Delay: time.Millisecond, Jitter: time.Millisecond, Loss: 0.1, Duplicate: 0.1}} {
		server, front, from := socket(t), socket(t), socket(t)
		sink(t, server)
		if err := takeTrains(front); err != nil {
			t.Fatal(err)
		}
		r, err := newReader(front, new(arenas))
		if err != nil {
			t.Fatal(err)
		}
		now := time.Duration(0)
		f := newFlow(link, 1, func() time.Duration { return now })
		w, out := source(t, from, addrOf(front), true), source(t, from, addrOf(server), true)
		c := out.out[0].c
		out.out = out.out[:0]
		var in []packet
		step := func() {
			now += time.Millisecond
			w.flush()
			for n := 0; n < batch; {
				k, err := r.read()
				if err != nil {
					t.Fatal(err)
				}
				in = in[:0]
				for i := range k {
					b, size := r.message(i)
					in = split(in, b, size, c)
				}
				n += len(in)
				f.carry(in, out)
				r.done()
			}
			for f.take(out); len(out.out) > 0; f.take(out) {
				f.send(out)
				f.giveBack(out)
			}
		}
		for range 100 {
			step() // until all has grown
		}
		if n := testing.AllocsPerRun(200, step); n != 0 {
			t.Errorf("%+v: %v allocations for %d datagrams", link, n, batch)
		}
		if d := f.stats(); d.Forwarded == 0 || d.Lost["send"] != 0 {
			t.Errorf("%+v", d)
		}
	}
}
