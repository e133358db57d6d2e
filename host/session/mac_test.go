package session

import (
	"math/rand/v2"
	"testing"
)

// S2.1: the prepared state gives what keyed BLAKE2s-128 gives, for every length
// around the block size, in one part or several.
func TestKeyedMAC(t *testing.T) {
	r := rand.NewChaCha8([32]byte{1})
	for range 20 {
		var key [32]byte
		r.Read(key[:])
		k := newKeyedMAC(&key)
		for n := 1; n < 400; n++ {
			b := make([]byte, n)
			r.Read(b)
			if got, want := *k.mac(b[:n/3], b[n/3:]), mac128(key[:], b); got != want {
				t.Fatalf("%d bytes: %x, want %x", n, got, want)
			}
		}
	}
}

func BenchmarkKeyedMAC(b *testing.B) {
	k := newKeyedMAC(&[32]byte{1})
	m := make([]byte, 236)
	b.ReportAllocs()
	for b.Loop() {
		k.mac(m)
	}
}

func BenchmarkMAC128(b *testing.B) {
	key, m := [32]byte{1}, make([]byte, 236)
	b.ReportAllocs()
	for b.Loop() {
		mac128(key[:], m)
	}
}
