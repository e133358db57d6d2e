package stream

// sendBuf holds the bytes of a stream from the first that is not acknowledged to
// the last that was written.
type sendBuf struct {
	span
	base uint64 // everything below is acknowledged and gone
	next uint64 // everything below was sent at least once
	end  uint64 // everything below was written
}

func (s *sendBuf) write(b []byte, p *pool) {
	s.copyIn(s.end, b, p)
	s.end += uint64(len(b))
}

// ack records that [off, off+n) arrived and frees what no hole holds back.
func (s *sendBuf) ack(off, n uint64, p *pool) {
	end := off + n
	if off = max(off, s.base); off >= end {
		return
	}
	if off > s.base {
		s.mark(off, end-off)
		return
	}
	s.base = end // the common case needs no marks
	s.base += s.run(s.base, s.next-s.base)
	low := s.base / chunkSize
	last := low
	if s.base == s.end {
		last++ // nothing is left, not even in the chunk that the next write continues
	}
	s.release(low, last, (*pool).put, p)
}

// acked returns how many bytes from off on, at most n, are known to have arrived.
func (s *sendBuf) acked(off, n uint64) uint64 {
	if off < s.base {
		return min(s.base-off, n)
	}
	return s.run(off, n)
}

func (s *sendBuf) drop(p *pool) {
	s.release(s.end/chunkSize, s.end/chunkSize+1, (*pool).put, p)
}
