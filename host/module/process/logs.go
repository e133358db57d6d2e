package process

import (
	"bytes"
	"strings"
	"sync"

	"nethost/sdk"
)

// logs cuts what a program prints into lines. go-plugin's Go side prints to two
// places (the real stderr before and after a crash, its own streams between), so
// there are four writers, each used by one goroutine.
type logs struct {
	stdout, stderr, syncStdout, syncStderr *lineWriter

	mu   sync.Mutex
	sink func(sdk.LogLevel, string)
	last string
}

func newLogs(sink func(sdk.LogLevel, string)) *logs {
	l := &logs{sink: sink}
	l.stdout = &lineWriter{logs: l, level: sdk.LogInfo}
	l.syncStdout = &lineWriter{logs: l, level: sdk.LogInfo}
	l.stderr = &lineWriter{logs: l, level: sdk.LogWarn}
	l.syncStderr = &lineWriter{logs: l, level: sdk.LogWarn}
	return l
}

func (l *logs) line(level sdk.LogLevel, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if strings.TrimSpace(text) == "" {
		return
	}
	// The frames of a trace say less than its first line.
	if !strings.HasPrefix(text, "\t") && !strings.HasPrefix(l.last, "panic: ") {
		l.last = text
	}
	if l.sink != nil {
		l.sink(level, text)
	}
}

func (l *logs) lastLine() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// flush logs what did not end in a newline. No writer may be in use any more.
func (l *logs) flush() {
	for _, w := range []*lineWriter{l.stdout, l.stderr, l.syncStdout, l.syncStderr} {
		w.flush()
	}
}

type lineWriter struct {
	logs  *logs
	level sdk.LogLevel
	mu    sync.Mutex // a straggler of go-plugin may still write while we flush
	part  []byte
	crash bool // a trace of the Go runtime has begun
}

// Write implements io.Writer. It never fails.
func (w *lineWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(b)
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			break
		}
		w.keep(b[:i])
		w.emit()
		b = b[i+1:]
	}
	w.keep(b)
	return n, nil
}

// keep adds to the line under way, which is cut at MaxLogText.
func (w *lineWriter) keep(b []byte) {
	w.part = append(w.part, b[:min(len(b), sdk.MaxLogText-len(w.part))]...)
}

func (w *lineWriter) emit() {
	text := strings.ToValidUTF8(strings.TrimSuffix(string(w.part), "\r"), "\uFFFD")
	w.part = w.part[:0]
	if strings.HasPrefix(text, "panic: ") || strings.HasPrefix(text, "fatal error: ") {
		w.crash = true
	}
	level := w.level
	if w.crash {
		level = sdk.LogError
	}
	w.logs.line(level, text)
}

func (w *lineWriter) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.part) > 0 {
		w.emit()
	}
}
