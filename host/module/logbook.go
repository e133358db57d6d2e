package module

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// The lines of a module that are kept for `nethost module logs`.
const (
	logLines = 1000
	logBytes = 256 << 10
)

// LogLine is what a module said, or what its host says about it.
type LogLine struct {
	Seq   uint64 // counts from 1
	At    time.Time
	Level slog.Level
	Text  string
}

// logbook keeps the last lines of a module, over all its versions.
type logbook struct {
	mu    sync.Mutex
	lines []LogLine
	size  int
	next  uint64
	more  chan struct{} // closed with the next line; nil when nobody waits
}

func (b *logbook) add(level slog.Level, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	b.lines = append(b.lines, LogLine{b.next, time.Now(), level, text})
	b.size += len(text)
	drop := 0
	for len(b.lines)-drop > logLines || b.size > logBytes {
		b.size -= len(b.lines[drop].Text)
		drop++
	}
	if drop > 0 {
		b.lines = append(b.lines[:0], b.lines[drop:]...)
	}
	if b.more != nil {
		close(b.more)
		b.more = nil
	}
}

// after gives the kept lines behind a number, and what is closed when there is one
// more.
func (b *logbook) after(seq uint64) ([]LogLine, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := len(b.lines)
	for i > 0 && b.lines[i-1].Seq > seq {
		i--
	}
	if b.more == nil {
		b.more = make(chan struct{})
	}
	return append([]LogLine(nil), b.lines[i:]...), b.more
}

// Logs gives the lines kept of a module to show, oldest first, and with follow
// those to come, until ctx ends or show fails.
func (m *Manager) Logs(ctx context.Context, name string, follow bool, show func(LogLine) error) error {
	u := m.unitOf(name)
	if u == nil {
		return m.unknown(name)
	}
	for seq := uint64(0); ; {
		lines, more := u.book.after(seq)
		for _, l := range lines {
			if err := show(l); err != nil {
				return err
			}
			seq = l.Seq
		}
		if !follow {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil
		case <-m.closing:
			return nil
		}
	}
}
