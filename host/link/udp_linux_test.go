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
			go u.Read(make([]byte, 100))
			msg := []byte("a datagram that nobody wants")
			if err := u.Write(msg, dead); err != nil {
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
			if err := u.Write([]byte("dead"), d); err != nil {
				t.Fatalf("round %d to %v: %v", i, d, err)
			}
		}
		if err := u.Write([]byte("fine"), healthy.LocalAddr()); err != nil {
			t.Fatalf("round %d: a healthy peer paid for a dead one: %v", i, err)
		}
		if got, _ := read(t, healthy); string(got) != "fine" {
			t.Fatal("lost")
		}
	}
	mu.Unlock()

	// Now with a reader waiting, and bound to wake.
	ended := make(chan struct{})
	go func() { defer close(ended); u.Read(make([]byte, 10)) }()
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
	if err := u.Write(make([]byte, 70000), u.LocalAddr()); err == nil {
		t.Fatal("70 000 bytes went out")
	}
	if err := u.Write([]byte("next"), u.LocalAddr()); err != nil {
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
