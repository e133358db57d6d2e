package main

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// meter counts what passes through it.
type meter struct{ n atomic.Uint64 }

func (m *meter) Write(p []byte) (int, error) {
	m.n.Add(uint64(len(p)))
	return len(p), nil
}

// showProgress keeps one line on w up to date until stop is called.
func showProgress(w io.Writer, sent, received *meter) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	start := time.Now()
	line := func() {
		s, r := sent.n.Load(), received.n.Load()
		rate := float64(r) / time.Since(start).Seconds()
		fmt.Fprintf(w, "\rnethost: sent %s, received %s, %s/s   ", size(s), size(r), size(uint64(rate)))
	}
	wg.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				line()
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
		line()
		fmt.Fprintln(w)
	}
}
