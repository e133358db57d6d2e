package host

// Buffered is the room a stream's receive buffer takes, in bytes.
func (s *Stream) Buffered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return cap(s.buf)
}
