package kernel

import (
	"encoding/binary"
	"net/netip"

	"nethost/host/wire"
)

// linkError takes an error of the network about a datagram we sent. It counts
// only when it quotes something sent to that neighbour within about a second:
// anybody can forge an ICMP message, nobody a counter he has not seen.
func (k *Kernel) linkError(to netip.AddrPort, quote []byte) {
	for _, p := range k.byNum {
		if p == nil || p.det == nil || p.addr != to || p.cur == nil {
			continue
		}
		h, rest, ok := wire.ParseHop(quote)
		if !ok {
			return
		}
		match := false
		if h.Type == wire.TypeForward {
			match = h.LinkIndex == p.cur.PeerIndex() && h.LinkCounter >= p.linkFrom
		} else if len(rest) >= wire.SessionSize {
			match = binary.LittleEndian.Uint32(rest) == p.cur.PeerIndex() && binary.LittleEndian.Uint64(rest[4:]) >= p.hintFrom
		}
		if match {
			p.det.Hint(k.now)
			k.livenessChanged(p)
			k.touch(p)
		}
		return
	}
}
