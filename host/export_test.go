package host

// Buffered is the room a stream's receive buffer takes, in bytes.
func (s *Stream) Buffered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return cap(s.buf)
}

// Turns is how often applications have read the link themselves.
func (h *Host) Turns() uint64 { return h.reader.turns.Load() }
