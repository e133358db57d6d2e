package process

import (
	"sync"
	"time"
)

const (
	// programIdle is how long a checked program is kept that nothing runs: a restart
	// then need not copy and hash it again, which takes longer than all else.
	programIdle = 10 * time.Second
	// maxIdle bounds the programs that are kept so: they lie in memory.
	maxIdle = 4
)

// programs are the checked programs of a carrier, by digest. Instances share them: the
// copies are sealed, so all run the same bytes.
type programs struct {
	mu   sync.Mutex
	kept map[[32]byte]*sharedProgram
	idle int
}

type sharedProgram struct {
	*program
	users int
	timer *time.Timer // closes it when it was idle for long; nil while it is used
}

// open gives a checked program, and what gives it back.
func (c *programs) open(path string, want [32]byte, dir string) (*program, func(), error) {
	if !programShared {
		p, err := openProgram(path, want, dir)
		return p, func() { p.Close() }, err
	}
	c.mu.Lock()
	s := c.kept[want]
	if s != nil {
		c.take(s)
	}
	c.mu.Unlock()
	if s == nil {
		p, err := openProgram(path, want, dir)
		if err != nil {
			return nil, nil, err
		}
		s = c.add(p, want)
	}
	var once sync.Once
	return s.program, func() { once.Do(func() { c.release(s, want) }) }, nil
}

// take makes s used. The caller holds mu.
func (c *programs) take(s *sharedProgram) {
	if s.users++; s.timer != nil {
		s.timer.Stop()
		s.timer = nil
		c.idle--
	}
}

// add keeps a program, unless another instance was quicker.
func (c *programs) add(p *program, digest [32]byte) *sharedProgram {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.kept[digest]
	if s != nil {
		p.Close()
	} else {
		if c.kept == nil {
			c.kept = map[[32]byte]*sharedProgram{}
		}
		s = &sharedProgram{program: p}
		c.kept[digest] = s
	}
	c.take(s)
	return s
}

func (c *programs) release(s *sharedProgram, digest [32]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.users--; s.users > 0 {
		return
	}
	if c.idle >= maxIdle {
		delete(c.kept, digest)
		s.program.Close()
		return
	}
	c.idle++
	var t *time.Timer
	t = time.AfterFunc(programIdle, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if s.timer == t { // nobody took it meanwhile
			c.idle--
			delete(c.kept, digest)
			s.program.Close()
		}
	})
	s.timer = t
}
