package impair

import "math/bits"

// dice is the generator SplitMix64 (Steele, Lea, Flood 2014): 8 bytes of state,
// and any seed will do.
type dice uint64

func (d *dice) next() uint64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// roll is true with probability p. What is never or always true costs no dice:
// setting one impairment to 0 leaves the others as they were.
func (d *dice) roll(p float64) bool {
	if p <= 0 || p >= 1 {
		return p >= 1
	}
	return float64(d.next()>>11)/(1<<53) < p
}

// below gives a number from 0 to n-1. Its bias is below n/2^64.
func (d *dice) below(n uint64) uint64 {
	hi, _ := bits.Mul64(d.next(), n)
	return hi
}
