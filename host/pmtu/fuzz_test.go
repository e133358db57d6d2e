package pmtu

import (
	"testing"
	"time"
)

// FuzzSearch drives a search with any calls in any order, sizes and times: P1.1, P1.4
// and P2.2 hold, and it comes to rest.
func FuzzSearch(f *testing.F) {
	f.Add(uint16(1500), []byte("a path of any kind"))
	f.Add(uint16(9000), []byte{1, 0, 0, 1, 0, 0, 2, 5, 9, 4, 3, 7, 6, 0, 0})
	f.Fuzz(func(t *testing.T, largest uint16, b []byte) {
		b = b[:min(len(b), 3000)]
		s := New(Config{Max: int(largest)}, 0)
		now := time.Duration(0)
		for ; len(b) >= 3; b = b[3:] {
			now += time.Duration(b[2]) * ms
			sent := now - time.Duration(b[1]>>4)*10*ms
			size := []int{s.probing, s.size, Base, 60, int(b[1]) * 300, s.failed, s.max + 1}[int(b[1])%7]
			switch b[0] % 8 {
			case 0:
				s.OnProbeAcked(size, now)
			case 1:
				s.OnProbeLost(size, now)
			case 2:
				s.OnProbeCanceled(now)
			case 3:
				s.OnRefused(size, now)
			case 4:
				s.OnPacketAcked(size, sent, now)
			case 5:
				s.OnPacketLost(size, sent, now)
			case 6:
				s.PathChanged(now)
			case 7:
				s.RTT(time.Duration(b[1])*10*ms, time.Duration(b[2])*ms)
			}
			if s.Size() < s.base || s.Size() > s.max {
				t.Fatalf("%d bytes are in force, of %d to %d", s.Size(), s.base, s.max)
			}
			if size, send := s.OnTimer(now); send && (size <= s.Size() || size > s.max) {
				t.Fatalf("a probe of %d, in force are %d of %d", size, s.Size(), s.max)
			}
			if _, again := s.OnTimer(now); again || s.Deadline() <= now {
				t.Fatalf("at %v: two probes at once (%v), or none, and the deadline is %v", now, again, s.Deadline())
			}
		}
		for range 2000 {
			if !s.Searching() {
				return
			}
			now = max(now, s.Deadline())
			s.OnTimer(now)
		}
		t.Fatal("the search goes on for ever")
	})
}

// FuzzTrains: trains are turned off only after twelve losses of trains, with something
// that left alone acknowledged (P4.2, P4.3), and never for ever (P4.4).
func FuzzTrains(f *testing.F) {
	f.Add([]byte{3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 0, 67, 67, 67})
	f.Add([]byte("a link that loses one or the other"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var tr Trains
		now, lost, alone := time.Second, 0, 0
		for _, c := range b[:min(len(b), 20_000)] {
			// bit 0: in a train, 1: lost, 2: large, 3-5: sent earlier, 6-7: time passes
			train, gone := c&1 != 0, c&2 != 0
			if tr.Off(now) {
				lost, alone = 0, 0
			} else if train && gone {
				lost++
			} else if !train && !gone {
				alone++
			}
			if tr.Fate(1000+int(c&4)*200, train, gone, now-time.Duration(c>>3&7)*ms, now) {
				if lost < lostRun || alone == 0 || !tr.Off(now) || tr.Off(now+maxOff) {
					t.Fatalf("turned off until %v after %d losses, %d arrivals of what left alone", tr.Until(), lost, alone)
				}
			}
			now += time.Duration(c>>6) * ms
		}
	})
}
