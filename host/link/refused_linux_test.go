package link

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What our own system does not send for its size is told with that size, of a lone
// datagram and of one in a train; what was forged to look so is not.
func TestOwnRefusal(t *testing.T) {
	for _, gso := range []GSO{GSOAuto, gsoNone} {
		u, err := ListenUDP(netip.MustParseAddrPort("[::1]:0"), UDPOptions{GSO: gso})
		if err != nil {
			t.Skipf("no IPv6 on the loopback device: %v", err)
		}
		t.Cleanup(func() { u.Close() })
		heard := make(chan Rejection, 16)
		u.OnRejection(func(r Rejection) { heard <- r })
		go func() {
			trains := make([]Train, 64)
			for {
				if _, err := u.Read(trains); err != nil {
					return
				}
			}
		}()
		// The loopback device carries 65 536 bytes of IP packet, 65 488 of these are ours.
		const size = 65500
		if err := write(u, make([]byte, size), u.LocalAddr()); err == nil {
			t.Skip("this loopback device carries everything")
		}
		select {
		case r := <-heard:
			if !r.Local || r.Size != size || r.To != u.LocalAddr() || r.Err != error(unix.EMSGSIZE) {
				t.Errorf("%s: %+v", gso, r)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: nobody told", gso)
		}
		// A write that failed without a word of the system in the error queue.
		u.refused(u.LocalAddr(), 1300, u.tooBig.Load())
		if err := write(u, make([]byte, size+1), u.LocalAddr()); err == nil {
			t.Fatal("it went out")
		}
		if r := <-heard; r.Size != size+1 {
			t.Errorf("%s: heard %+v", gso, r)
		}
	}
}
