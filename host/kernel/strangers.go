package kernel

import (
	"net/netip"
	"time"
)

// stranger is an address whose first messages are under no network key of ours.
type stranger struct {
	addr netip.AddrPort
	at   time.Duration
}

// noteStranger remembers the address for the doctor: the last eight. A forged one
// only costs a place.
func (k *Kernel) noteStranger(addr netip.AddrPort) {
	last := 0
	for i := range k.strangers {
		s := &k.strangers[i]
		if s.addr == addr {
			s.at = k.now
			return
		}
		if s.at < k.strangers[last].at {
			last = i
		}
	}
	k.strangers[last] = stranger{addr, k.now}
}

// Strangers lists addresses that tried to reach us under another network key since a
// time.
func (k *Kernel) Strangers(since time.Duration) (list []netip.AddrPort) {
	for _, s := range k.strangers {
		if s.addr.IsValid() && s.at >= since {
			list = append(list, s.addr)
		}
	}
	return list
}
