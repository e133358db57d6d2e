package link

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// A goroutine blocked in Mem.Read lets a bubble's clock advance: that is what Mem
// exists for.
func TestMemInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sw := NewSwitch()
		addr := netip.MustParseAddrPort("10.0.0.1:1")
		m, err := sw.Listen(addr)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		time.AfterFunc(time.Hour, func() { m.Write([]byte("late"), addr) })
		buf := make([]byte, 16)
		n, _, err := m.Read(buf)
		if err != nil || string(buf[:n]) != "late" || time.Since(start) != time.Hour {
			t.Fatalf("got %q, %v after %v", buf[:n], err, time.Since(start))
		}
		done := make(chan error)
		go func() {
			_, _, err := m.Read(buf)
			done <- err
		}()
		synctest.Wait()
		m.Close()
		if err := <-done; err != net.ErrClosed {
			t.Fatal(err)
		}
	})
}
