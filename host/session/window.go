package session

// window remembers which of the newest counters were seen, so that each is
// accepted once (S5.4, S6.4). It is the ring of words of RFC 6479 with one word to
// spare, so that the whole size counts; there is no limit on how far a counter
// may run ahead.
type window struct {
	next  uint64 // one above the highest seen
	size  uint64
	words []uint64
}

func newWindow(size uint64) window { return window{size: size, words: make([]uint64, size/64+1)} }

// take reports whether n is new, and marks it. It is for authentic counters only.
func (w *window) take(n uint64) bool {
	if n >= w.next {
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
