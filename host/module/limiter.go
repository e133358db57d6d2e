package module

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"nethost/sdk"
)

// linesASecond is what a module may write to the node's log; refused effects
// have one line a second of their own.
const linesASecond = 100

// limiter writes a module's lines to the node's log, and not too many of them.
// It is safe for concurrent use.
type limiter struct {
	log  *slog.Logger
	now  func() time.Duration
	book *logbook

	mu      sync.Mutex
	lines   window
	refused window
}

// window counts what happened within a second.
type window struct {
	began   time.Duration
	n       int
	skipped int
}

// allow counts one; skipped is how many were kept back before this one.
func (w *window) allow(now time.Duration, max int) (ok bool, skipped int) {
	if now-w.began >= time.Second {
		w.began, w.n = now, 0
	}
	if w.n >= max {
		w.skipped++
		return false, 0
	}
	w.n++
	skipped, w.skipped = w.skipped, 0
	return true, skipped
}

// line writes one line of the module. Its levels are slog's, raised by 4.
func (l *limiter) line(level sdk.LogLevel, text string) {
	l.mu.Lock()
	ok, skipped := l.lines.allow(l.now(), linesASecond)
	l.mu.Unlock()
	if !ok {
		return
	}
	if skipped > 0 {
		l.log.Warn("lines of the module were left out", "count", skipped)
		l.book.add(slog.LevelWarn, fmt.Sprintf("%d lines were left out", skipped))
	}
	text = strings.Clone(text[:min(len(text), sdk.MaxLogText)])
	l.log.Log(context.Background(), slog.Level(level)-4, text)
	l.book.add(slog.Level(level)-4, text)
}

// denied writes that an effect was refused.
func (l *limiter) denied(d *denial) {
	l.mu.Lock()
	ok, skipped := l.refused.allow(l.now(), 1)
	l.mu.Unlock()
	if ok {
		l.log.Warn("effect of the module was refused", "effect", d.kind.String(), "why", d.why, "refused_before", skipped)
		l.book.add(slog.LevelWarn, fmt.Sprintf("effect %v was refused: %s", d.kind, d.why))
	}
}
