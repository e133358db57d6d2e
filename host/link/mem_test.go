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
		time.AfterFunc(time.Hour, func() { write(m, []byte("late"), addr) })
		var one [1]Train
		_, err = m.Read(one[:])
		if err != nil || string(one[0].Bytes) != "late" || time.Since(start) != time.Hour {
			t.Fatalf("got %q, %v after %v", one[0].Bytes, err, time.Since(start))
		}
		done := make(chan error)
		go func() {
			_, err := m.Read(one[:])
			done <- err
		}()
		synctest.Wait()
		m.Close()
		if err := <-done; err != net.ErrClosed {
			t.Fatal(err)
		}
	})
}
