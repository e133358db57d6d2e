package session

import "nethost/host/wire"

// AppendVersions appends the answer to an m1 of a version that is not spoken here
// (W4.4): the versions that are. e is the m1; dest is where the answer travels, 0
// when it goes back to an address.
func (l *Local) AppendVersions(b []byte, e *wire.Envelope, dest wire.RID) []byte {
	return l.appendSealed(b, wire.Envelope{Kind: wire.KindVersion, Version: wire.Version, PSK: l.pskID,
		Receiver: e.Sender, Dest: dest, Noise: []byte{l.min, l.max}})
}

// ReadVersions reads such an answer, whose mac1 must be good already. ok is false
// when it makes no sense, or names a version that is spoken here: then there was no
// reason to send it.
func (l *Local) ReadVersions(e *wire.Envelope) (lo, hi uint8, ok bool) {
	if e.Kind != wire.KindVersion || len(e.Noise) != 2 {
		return 0, 0, false
	}
	lo, hi = e.Noise[0], e.Noise[1]
	_, err := l.agree(lo, hi)
	return lo, hi, err != nil && lo > 0 && lo <= hi
}

// Versions are the first and the last version spoken here.
func (l *Local) Versions() (lo, hi uint8) { return l.min, l.max }
