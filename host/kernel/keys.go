package kernel

import (
	"net/netip"
	"time"

	"nethost/host/identity"
	"nethost/host/session"
	"nethost/host/wire"
	"nethost/sdk"
)

// How long a session outlives its network key (O2.2), and how often it is looked at
// meanwhile.
const (
	keyGoneDown = 30 * time.Second
	renewEvery  = time.Second
)

// setKeys puts other network keys in force. Sessions stay; those under a key that
// went are renewed under one that is there.
func (k *Kernel) setKeys(keys [2]identity.NetworkKey) {
	if k.HasKeys(keys) {
		return
	}
	cfg := k.cfg
	cfg.NetworkKey, cfg.NetworkKey2 = keys[0], keys[1]
	local, err := session.NewLocal(session.LocalConfig{Key: cfg.Key, Static: cfg.Static,
		PSK: cfg.NetworkKey[:], PSK2: cfg.secondKey(), AES: cfg.AES, MinVersion: wire.Version, MaxVersion: wire.Version})
	if err != nil { // a key of zeros: what is in force stays
		k.trace(TraceKeys, sdk.NodeID{}, netip.AddrPort{}, "refused: "+err.Error())
		return
	}
	k.cfg, k.local = cfg, local
	k.admit.SetLocal(local)
	k.keysAt = k.now
	text := "one network key"
	if local.Second() != nil {
		text = "two network keys"
	}
	k.trace(TraceKeys, sdk.NodeID{}, netip.AddrPort{}, text)
	for _, p := range k.byNum {
		if p != nil && p.cur != nil && k.keyGone(p.cur) {
			k.renew(p, k.now)
			k.touch(p)
		}
	}
	for _, addr := range k.order { // who had another key may share one now
		if a := k.dials[addr]; a.dial == nil {
			a.wait = redialMin
			k.redial(a)
		}
	}
}

// NetworkKey is the first network key in force.
func (k *Kernel) NetworkKey() identity.NetworkKey { return k.cfg.NetworkKey }

// HasKeys reports whether these are the network keys in force.
func (k *Kernel) HasKeys(keys [2]identity.NetworkKey) bool {
	return keys == [2]identity.NetworkKey{k.cfg.NetworkKey, k.cfg.NetworkKey2}
}

// keyGone reports a session made under a network key that is not current any more.
func (k *Kernel) keyGone(s *session.Session) bool {
	if s == nil || k.keysAt == 0 || s.Under(k.local) {
		return false
	}
	second := k.local.Second()
	return second == nil || !s.Under(second)
}

// renew replaces the keys of a session whose network key went, and ends it when the
// peer cannot.
func (k *Kernel) renew(p *peer, now time.Duration) {
	if now >= k.keysAt+keyGoneDown {
		k.trace(TraceDenied, p.id, p.addr, "it has only a network key that is not current any more")
		k.drop(DropDenied)
		k.dismiss(p)
		return
	}
	k.dialPeer(p)
}

// KeyUse counts the sessions under the first and second network key, and under one
// that is not current any more.
func (k *Kernel) KeyUse() (first, second, gone int) {
	for _, p := range k.byNum {
		switch {
		case p == nil || p.cur == nil:
		case p.cur.Under(k.local):
			first++
		case k.local.Second() != nil && p.cur.Under(k.local.Second()):
			second++
		default:
			gone++
		}
	}
	return first, second, gone
}
