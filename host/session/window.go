package session

// window remembers which of the newest counters were seen, so that each is
// accepted once (S5.4, S6.4). It is the ring of words of RFC 6479 with one word to
// spare, so that the whole size counts; there is no limit on how far a counter
// may run ahead. The ring begins small and grows with the counter: before that has
// gone round it once, a word of the small ring and one of the whole ring mean the
// same.
type window struct {
	next  uint64 // one above the highest seen
	size  uint64
	words []uint64
}

// firstWords is what a ring begins with: 1 024 packets, which most sessions never
// reach.
const firstWords = 16

func newWindow(size uint64) window {
	return window{size: size}
}

// grow makes room for the counter n, as long as the ring is not whole. It is called
// before the ring goes round.
func (w *window) grow(n uint64) {
	whole := w.size/64 + 1
	words := make([]uint64, min(max(n/64+1, 2*uint64(len(w.words)), firstWords), whole))
	copy(words, w.words)
	w.words = words
}

// take reports whether n is new, and marks it. It is for authentic counters only.
func (w *window) take(n uint64) bool {
	if n >= w.next {
		if n/64 >= uint64(len(w.words)) && uint64(len(w.words)) < w.size/64+1 {
			w.grow(n)
		}
		first, last := w.next/64, n/64
		if w.next%64 != 0 {
			first++ // the word of the highest one is in use
		}
		if last+1 > first { // clear the words that n opens
			for i := range min(last+1-first, uint64(len(w.words))) {
				w.words[(first+i)%uint64(len(w.words))] = 0
			}
		}
		w.next = n + 1
	} else if w.next-n > w.size {
		return false
	}
	word, bit := &w.words[n/64%uint64(len(w.words))], uint64(1)<<(n%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}
