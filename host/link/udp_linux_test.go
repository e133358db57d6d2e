package link

import (
	"bytes"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// vacant is an address of the family of addr where nobody listens.
func vacant(t *testing.T, addr string) netip.AddrPort {
	u := listen(t, addr)
	u.Close()
	return u.LocalAddr()
}

// A datagram to a closed port comes back with its destination and its bytes,
// on IPv4, IPv6 and both through a dual-stack socket.
func TestRejectionQuotesDatagram(t *testing.T) {
	for _, c := range []struct{ local, dead string }{
		{"127.0.0.1:0", "127.0.0.1:0"}, {"[::1]:0", "[::1]:0"}, {"[::]:0", "127.0.0.1:0"}, {"[::]:0", "[::1]:0"},
	} {
		t.Run(c.local+"to"+c.dead, func(t *testing.T) {
			u, dead := listen(t, c.local), vacant(t, c.dead)
			got := make(chan Rejection, 1)
			u.OnRejection(func(r Rejection) { r.Quote = bytes.Clone(r.Quote); got <- r })
			go u.Read(make([]Train, 1))
			msg := []byte("a datagram that nobody wants")
			if err := write(u, msg, dead); err != nil {
				t.Fatal(err)
			}
			select {
			case r := <-got:
				if r.To != dead || r.Err != syscall.ECONNREFUSED || !bytes.Equal(r.Quote, msg) {
					t.Fatalf("got %v %v %q, want ECONNREFUSED of %v", r.To, r.Err, r.Quote, dead)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("no rejection")
			}
		})
	}
}

// Sends to dead peers never fail sends to the healthy one between them, and the
// rejections that a writer found reach the reader though nothing else wakes it.
func TestPendingErrorDoesNotFailOthers(t *testing.T) {
	u, healthy := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	dead := []netip.AddrPort{vacant(t, "127.0.0.1:0"), vacant(t, "127.0.0.1:0"), vacant(t, "127.0.0.1:0")}
	const rounds = 50
	// A handler that takes the lock writers hold must not deadlock.
	var mu sync.Mutex
	seen := make(chan netip.AddrPort, 4*rounds*len(dead))
	u.OnRejection(func(r Rejection) { mu.Lock(); defer mu.Unlock(); seen <- r.To })

	mu.Lock()
	for i := range rounds { // nobody reads yet: the queue fills
		for _, d := range dead {
			if err := write(u, []byte("dead"), d); err != nil {
				t.Fatalf("round %d to %v: %v", i, d, err)
			}
		}
		if err := write(u, []byte("fine"), healthy.LocalAddr()); err != nil {
			t.Fatalf("round %d: a healthy peer paid for a dead one: %v", i, err)
		}
		if got, _ := read(t, healthy); string(got) != "fine" {
			t.Fatal("lost")
		}
	}
	mu.Unlock()

	// Now with a reader waiting, and bound to wake.
	ended := make(chan struct{})
	go func() { defer close(ended); u.Read(make([]Train, 1)) }()
	heard := map[netip.AddrPort]bool{}
	for len(heard) < len(dead) {
		select {
		case a := <-seen:
			heard[a] = true
		case <-time.After(10 * time.Second):
			t.Fatalf("heard of %d dead peers, want %d", len(heard), len(dead))
		}
	}
	u.Close()
	<-ended
}

func TestUDPTooBigIsTheWritersError(t *testing.T) {
	u := listen(t, "127.0.0.1:0")
	if err := write(u, make([]byte, 70000), u.LocalAddr()); err == nil {
		t.Fatal("70 000 bytes went out")
	}
	if err := write(u, []byte("next"), u.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if got, _ := read(t, u); string(got) != "next" {
		t.Fatalf("got %q", got)
	}
}

func TestSocketBuffers(t *testing.T) {
	u := listen(t, "127.0.0.1:0")
	raw, _ := u.conn.SyscallConn()
	raw.Control(func(fd uintptr) {
		n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
		if err != nil || n < 1<<16 {
			t.Errorf("receive buffer %d, %v", n, err)
		}
		t.Logf("receive buffer %d bytes", n)
	})
}

// What the system refuses as a train goes out in pieces, and costs nothing.
func TestRefusedTrain(t *testing.T) {
	a, b := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	m := a.batch.(*mmsg)
	m.mu.Lock()
	m.join(&Train{Addr: b.LocalAddr()}, []byte("onetwo"), 3)
	m.join(&Train{Addr: b.LocalAddr()}, []byte("end"), 3)
	m.seal(0)
	if !m.tooMuch(unix.EIO) || !m.tooMuch(unix.EINVAL) || m.tooMuch(unix.ECONNREFUSED) {
		t.Error("wrong about what a refused train looks like")
	}
	if err := m.replay(0); err != nil {
		t.Error(err)
	}
	m.mu.Unlock()
	for _, want := range []string{"one", "two", "end"} {
		if got, _ := read(t, b); string(got) != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if s := a.Stats(); s.Mode != "mmsg" || s.Note == "" {
		t.Errorf("after EIO: %+v", s)
	}
	if err := a.Write([]Train{{Addr: b.LocalAddr(), Bytes: []byte("xy"), Segment: 1}}); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"x", "y"} {
		if got, _ := read(t, b); string(got) != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// What the system dropped because nobody read it is counted.
func TestOverflows(t *testing.T) {
	for _, gso := range []GSO{GSOAuto, GSOOff} {
		a, b := listenMode(t, "127.0.0.1:0", gso), listenMode(t, "127.0.0.1:0", gso)
		if err := b.conn.SetReadBuffer(64 << 10); err != nil {
			t.Fatal(err)
		}
		const sent = 20000
		for range sent / 20 {
			if err := a.Write([]Train{{Addr: b.LocalAddr(), Bytes: make([]byte, 20*1000), Segment: 1000}}); err != nil {
				t.Fatal(err)
			}
		}
		in, got := make([]Train, 8), 0
		// The count comes with the next datagram that found room.
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			for {
				n, err := b.Read(in)
				if err != nil {
					return
				}
				for _, tr := range in[:n] {
					if string(tr.Bytes) == "last" {
						return
					}
					for more := true; more; got++ {
						_, more = tr.Cut()
					}
				}
			}
		}()
		for {
			write(a, []byte("last"), b.LocalAddr())
			select {
			case <-drained:
			case <-time.After(20 * time.Millisecond):
				continue
			}
			break
		}
		s := b.Stats()
		if s.Overflows == 0 || s.Overflows > sent || got == 0 {
			t.Errorf("gso %s: %d of %d arrived, %d counted as overflows", gso, got, sent, s.Overflows)
		}
		t.Logf("gso %s: %d of %d arrived, %d counted as overflows", gso, got, sent, s.Overflows)
	}
}
