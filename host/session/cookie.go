package session

import (
	"crypto/cipher"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"time"

	"golang.org/x/crypto/blake2s"
	"golang.org/x/crypto/chacha20poly1305"

	"nethost/host/wire"
)

// CookieLife is how long a cookie is good at the most: the age at which a responder
// changes the secret that its cookies are made of (S2.7).
const CookieLife = 120 * time.Second

// cookieNoise is the length of the noise bytes of a cookie: nonce and sealed cookie.
const cookieNoise = chacha20poly1305.NonceSizeX + wire.MacSize + chacha20poly1305.Overhead

// cookieEnvelope is the length of a cookie's envelope.
const cookieEnvelope = wire.EnvelopeMin + cookieNoise

// Source is where an m1 came from, as far as that is known.
type Source struct {
	addr netip.AddrPort // of a direct one
	link wire.RID       // the neighbour a relayed one came through
	rid  wire.RID       // ... and the return address it claims; 0: not read yet
}

// AddrSource is the source of an m1 in a local frame.
func AddrSource(addr netip.AddrPort) Source {
	return Source{addr: netip.AddrPortFrom(addr.Addr().Unmap().WithZone(""), addr.Port())}
}

// LinkSource is the source of an m1 that the neighbour link relayed.
func LinkSource(link wire.RID) Source { return Source{link: link} }

// Claiming is a LinkSource whose m1 was read as far as its return address.
func (s Source) Claiming(rid wire.RID) Source { s.rid = rid; return s }

// Claim is the return address the m1 claims; 0 of a direct one, or before Claiming.
func (s Source) Claim() wire.RID { return s.rid }

// bytes is what a cookie is bound to: address and port, or ingress link and return
// address.
func (s Source) bytes() (b [19]byte) {
	if s.link == 0 {
		a := s.addr.Addr().As16()
		copy(b[1:], a[:])
		binary.LittleEndian.PutUint16(b[17:], s.addr.Port())
		return b
	}
	b[0] = 1
	binary.LittleEndian.PutUint64(b[1:], uint64(s.link))
	binary.LittleEndian.PutUint64(b[9:], uint64(s.rid))
	return b
}

// cookieAEAD seals cookies under the network key (S2.7): an attacker who does not
// see the m1 cannot make one, because its mac1 is the additional data.
func cookieAEAD(psk [32]byte) cipher.AEAD {
	key := blake2s.Sum256(append([]byte("nethost v1 cookie"), psk[:]...))
	a, err := chacha20poly1305.NewX(key[:])
	if err != nil { // a key of 32 bytes is always good
		panic(err)
	}
	return a
}

// jar is the secret that cookies are made of. Nothing is kept for each cookie.
type jar struct {
	secret  *keyedMAC
	until   time.Duration
	nonce   [chacha20poly1305.NonceSizeX]byte // random, but for the counter in its last 8 bytes
	counter uint64
}

// fresh renews the secret when it is too old.
func (j *jar) fresh(now time.Duration, random func([]byte)) {
	if j.secret != nil && now < j.until {
		return
	}
	var key [32]byte
	random(key[:])
	random(j.nonce[:])
	j.secret, j.until, j.counter = newKeyedMAC(&key), now+CookieLife, 0
}

func (j *jar) cookie(src Source) [wire.MacSize]byte {
	b := src.bytes()
	return *j.secret.mac(b[:])
}

// proves reports whether mac2 of an m1 was made with the cookie of its source.
func (j *jar) proves(m1 []byte, e *wire.Envelope, src Source) bool {
	if e.Mac2 == ([wire.MacSize]byte{}) { // no cookie was at hand: not worth a hash
		return false
	}
	cookie := j.cookie(src)
	m := mac128(cookie[:], m1[:len(m1)-wire.MacSize])
	return equal(&m, &e.Mac2)
}

// SetCookie writes mac2 of m1, a whole envelope, for the cookie that the responder
// gave (S2.8).
func SetCookie(m1 []byte, cookie [wire.MacSize]byte) {
	m := mac128(cookie[:], m1[:len(m1)-wire.MacSize])
	copy(m1[len(m1)-wire.MacSize:], m[:])
}

// appendCookie appends the answer to the m1 that e is, under l.
func (j *jar) appendCookie(b []byte, l *Local, e *wire.Envelope, src Source) []byte {
	j.counter++
	binary.LittleEndian.PutUint64(j.nonce[len(j.nonce)-8:], j.counter)
	cookie := j.cookie(src)
	var box [cookieNoise]byte
	mac1 := e.Mac1 // a copy, or e would escape wherever it is made, also where no cookie is asked for
	noise := l.cookie.Seal(append(box[:0], j.nonce[:]...), j.nonce[:], cookie[:], mac1[:])
	return l.appendSealed(b, wire.Envelope{Kind: wire.KindCookie, Version: wire.Version, PSK: l.pskID,
		Receiver: e.Sender, Dest: src.rid, Noise: noise})
}

// OpenCookie reads the answer to m1, a whole envelope of ours; cookie is what e
// parses to. mac1 of cookie must be good already.
func (l *Local) OpenCookie(cookie *wire.Envelope, m1 []byte) (c [wire.MacSize]byte, ok bool) {
	e, ok := wire.ParseEnvelope(m1)
	if !ok || cookie.Kind != wire.KindCookie || cookie.Receiver != e.Sender || len(cookie.Noise) != cookieNoise {
		return c, false
	}
	nonce, box := cookie.Noise[:chacha20poly1305.NonceSizeX], cookie.Noise[chacha20poly1305.NonceSizeX:]
	mac1 := e.Mac1
	if _, err := l.cookie.Open(c[:0], nonce, box, mac1[:]); err != nil {
		return [wire.MacSize]byte{}, false
	}
	return c, true
}

// Cookies are given at 50 000 a second, about, in periods of 20 ms.
const (
	lotPeriod = 20 * time.Millisecond
	lotWins   = 1000
)

// lots decides who is told a cookie when more ask than may be answered. A token
// bucket would give all of them to whoever floods in step with it. Here each source
// draws anew in each period, whenever in the period it asks, and no one can tell who
// will win.
type lots struct {
	period      int64
	asked, last int // in this period and in the one before
	won         int
}

func (l *lots) draw(s share, secret []byte, now time.Duration) bool {
	if p := int64(now / lotPeriod); p != l.period {
		if l.last = 0; p == l.period+1 {
			l.last = l.asked
		}
		l.period, l.asked, l.won = p, 0, 0
	}
	l.asked++
	h := binary.LittleEndian.Uint64(secret) ^ uint64(l.period)
	for _, x := range [...]uint64{s.hi, s.lo, uint64(s.kind)} { // wyhash's step: nobody sees what comes out
		hi, lo := bits.Mul64(h^x^binary.LittleEndian.Uint64(secret[8:]), 0x9E3779B97F4A7C15)
		h = hi ^ lo
	}
	if h%uint64(l.last/lotWins+1) != 0 || l.won >= 2*lotWins {
		return false
	}
	l.won++
	return true
}
