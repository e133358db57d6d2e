package sim

import (
	"net/netip"
	"time"

	"nethost/host/identity"
	"nethost/host/session"
	"nethost/host/wire"
	"nethost/sdk"
)

// Flood sends n first messages of handshakes to a node, 20 a millisecond, each from
// another made-up address where nobody answers. Whoever sends them holds the key of
// the node's network; else they would not even be looked at.
func (w *World) Flood(n *Node, count int) error {
	key := identity.NewKey(seedOf("flood"))
	psk := seedOf("network", n.cfg.Network)
	l, err := session.NewLocal(session.LocalConfig{Key: key, Static: identity.NewStatic(key, seedOf("static", "flood"), 1), PSK: psk[:]})
	if err != nil {
		return err
	}
	for i := range count {
		_, m1, err := l.Initiate(entropy{w.rng}, 1, sdk.NodeID{}, 0)
		if err != nil {
			return err
		}
		b := append(wire.AppendHop(nil, wire.Hop{Version: wire.Version}), m1...)
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{100, byte(i >> 16), byte(i >> 8), byte(i)}), 7700)
		w.inject(n, from, n.Addr, b, w.now+time.Millisecond+time.Duration(i)*50*time.Microsecond)
	}
	return nil
}
