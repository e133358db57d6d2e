package module

import "time"

// Burner is implemented by instances that run outside this process, and know what
// they have used of the processor since they began. It may be asked at any time, after
// Close too.
type Burner interface {
	CPU() (used time.Duration, ok bool)
}

// burning is what the instance that runs now has used, 0 when nobody knows. The caller
// holds s.mu.
func (s *supervisor) burning() time.Duration {
	if b, ok := s.current.(Burner); ok {
		if used, ok := b.CPU(); ok {
			return used
		}
	}
	return 0
}

// burnt books what an instance used that has ended.
func (s *supervisor) burnt(inst Instance) {
	if b, ok := inst.(Burner); ok {
		used, _ := b.CPU()
		s.spent.Add(int64(used))
	}
}
