package stream

// recvBuf puts the bytes of a stream back into order. Bytes that arrive in order
// never enter it; only what lies above a hole is copied.
type recvBuf struct {
	span
	next    uint64 // everything below was delivered
	highest uint64 // end of the highest bytes seen
}

// buffering reports whether anything waits above a hole.
func (r *recvBuf) buffering() bool { return r.highest > r.next }

// hold keeps b, which lies at or above next, until the hole below is filled. Of
// bytes that came before the first ones count.
func (r *recvBuf) hold(off uint64, b []byte, p *pool) {
	r.low = max(r.low, r.next/chunkSize)
	if off >= r.highest { // nothing came before
		r.copyIn(off, b, p)
		r.mark(off, uint64(len(b)))
		r.highest = off + uint64(len(b))
		return
	}
	r.highest = max(r.highest, off+uint64(len(b)))
	for len(b) > 0 {
		skip := r.run(off, uint64(len(b)))
		b, off = b[skip:], off+skip
		n := r.gap(off, uint64(len(b)))
		r.copyIn(off, b[:n], p)
		r.mark(off, n)
		b, off = b[n:], off+n
	}
}

// pop returns the next bytes in order out of the buffer, at most n and at most to
// the end of a chunk; nil when there is a hole. They alias a chunk.
func (r *recvBuf) pop(n uint64) []byte {
	at := r.next % chunkSize
	n = r.run(r.next, min(n, chunkSize-at, r.highest-r.next))
	if n == 0 {
		return nil
	}
	b := r.at(r.next / chunkSize).data[at : at+n : at+n]
	r.next += n
	return b
}

// settle retires the chunks that hold nothing undelivered.
func (r *recvBuf) settle(p *pool) {
	r.highest = max(r.highest, r.next)
	low := r.next / chunkSize
	last := low
	if r.highest == r.next {
		last++
	}
	r.release(low, last, (*pool).retire, p)
}

func (r *recvBuf) drop(p *pool) {
	r.release(r.highest/chunkSize, r.highest/chunkSize+1, (*pool).retire, p)
}
