package link

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"nethost/host/wire"
)

// TestTrains sends trains of all shapes to several links at once, in every way the
// system has: each datagram arrives once, whole, and in its place.
func TestTrains(t *testing.T) {
	for _, family := range []string{"127.0.0.1:0", "[::1]:0"} {
		for _, gso := range []GSO{GSOAuto, GSOOff, gsoNone} {
			t.Run(fmt.Sprintf("%s %s", family, gso), func(t *testing.T) {
				src := listenMode(t, family, gso)
				var sinks []Link
				for _, s := range []GSO{GSOAuto, GSOOff, gsoNone} {
					sinks = append(sinks, listenMode(t, family, s))
				}
				exchange(t, src, sinks, rand.New(rand.NewPCG(1, 2)))
			})
		}
	}
	t.Run("memory", func(t *testing.T) {
		sw := NewSwitch()
		var ports []Link
		for i := range byte(4) {
			m, err := sw.Listen(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, i}), 1))
			if err != nil {
				t.Fatal(err)
			}
			ports = append(ports, m)
		}
		exchange(t, ports[0], ports[1:], rand.New(rand.NewPCG(1, 2)))
	})
}

// exchange writes batches of numbered datagrams and reads them back after each.
func exchange(t *testing.T, src Link, sinks []Link, rnd *rand.Rand) {
	watchdog := time.AfterFunc(20*time.Second, func() {
		for _, s := range sinks {
			s.Close()
		}
	})
	defer watchdog.Stop()
	fill := func(b []byte, n uint32) {
		for i := range b {
			b[i] = byte(n) + byte(i)
		}
		if len(b) >= 4 {
			binary.LittleEndian.PutUint32(b, n)
		}
	}
	in := make([]Train, 8)
	n := uint32(0)
	for range 60 {
		want := make([][][]byte, len(sinks))
		backing := make([]byte, 0, 200000) // trains that follow one another in memory may be joined
		var batch []Train
		for total := 0; total < 100000 && len(batch) < 90; {
			to := rnd.IntN(len(sinks))
			seg, count := []int{0, 1, 3, 64, 1024, 1024, 1200, 1200, 9000}[rnd.IntN(9)], 1
			if seg > 0 {
				count += rnd.IntN(min(wire.MaxSegments, wire.MaxTrain/seg))
			}
			size := seg * count
			if count > 1 {
				size -= rnd.IntN(seg) * rnd.IntN(2)
			}
			if total += size; len(backing)+size > cap(backing) {
				break
			}
			at := len(backing)
			backing = backing[:at+size]
			tr := Train{Addr: sinks[to].LocalAddr(), Bytes: backing[at:], Segment: seg * min(count-1, 1)}
			batch = append(batch, tr)
			for more := true; more; {
				var b []byte
				b, more = tr.Cut()
				n++
				fill(b, n)
				want[to] = append(want[to], bytes.Clone(b))
			}
		}
		if err := src.Write(batch); err != nil {
			t.Fatal(err)
		}
		for i, s := range sinks {
			for k := 0; k < len(want[i]); {
				used, err := s.Read(in)
				if err != nil {
					t.Fatalf("sink %d: %d of %d datagrams arrived: %v", i, k, len(want[i]), err)
				}
				for _, tr := range in[:used] {
					if tr.Addr != src.LocalAddr() {
						t.Fatalf("from %v, want %v", tr.Addr, src.LocalAddr())
					}
					for more := true; more; k++ {
						var b []byte
						b, more = tr.Cut()
						if k >= len(want[i]) || !bytes.Equal(b, want[i][k]) {
							t.Fatalf("sink %d, datagram %d of %d: %d bytes, want %d", i, k, len(want[i]), len(b), len(want[i][min(k, len(want[i])-1)]))
						}
					}
				}
			}
		}
	}
}
