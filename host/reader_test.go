package host_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"testing"
	"time"

	"nethost/host"
	"nethost/sdk"
)

// talk opens a stream to the echo of another node, over real UDP, and lets question
// and answer become a habit.
func talk(t *testing.T, h *host.Host, to sdk.NodeID) *host.Stream {
	t.Helper()
	s, err := h.Open(t.Context(), host.Target{Node: to, ID: 7})
	for began := time.Now(); err != nil && time.Since(began) < 10*time.Second; { // the module is still starting
		runtime.Gosched()
		s, err = h.Open(t.Context(), host.Target{Node: to, ID: 7})
	}
	if err != nil {
		t.Fatal(err)
	}
	ask(t, s, 300)
	return s
}

func ask(t *testing.T, s *host.Stream, times int) {
	t.Helper()
	buf := make([]byte, 100)
	for range times {
		if _, err := s.Write(buf); err != nil {
			t.Error(err)
			return
		}
		if _, err := io.ReadFull(s, buf); err != nil {
			t.Error(err)
			return
		}
	}
}

// within fails the test when f takes long.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: still waiting", what)
	}
}

// An application that asks and waits reads the link itself; when it goes, somebody
// else does.
func TestReaderTurns(t *testing.T) {
	b, addr := node(t, "b")
	a, back := node(t, "a", addr)
	s := talk(t, a, b.Self())
	turns := a.Turns()
	ask(t, s, 2000)
	if n := a.Turns() - turns; n < 1000 {
		t.Errorf("the application read the link %d times in 2000 round trips", n)
	}
	// It does not come back; what concerns others goes on.
	within(t, "a stream of the other side", func() { ask(t, talk(t, b, back.Node), 100) })
	// Both at once.
	done := make(chan struct{})
	go func() { defer close(done); ask(t, talk(t, a, b.Self()), 3000) }()
	ask(t, s, 3000)
	within(t, "two streams", func() { <-done })
}

// A stream that waits for the link is woken by what comes another way.
func TestReaderInterrupted(t *testing.T) {
	b, addr := node(t, "b")
	a, _ := node(t, "a", addr)
	for range 8 {
		s := talk(t, a, b.Self())
		turns := a.Turns()
		failed := make(chan error, 1)
		go func() {
			_, err := s.Read(make([]byte, 1))
			failed <- err
		}()
		for range 100 { // mostly it leads by then
			if a.Turns() != turns {
				break
			}
			runtime.Gosched()
		}
		s.Reset(sdk.Cancelled, "enough")
		within(t, "a reset", func() {
			var e *host.StreamError
			if err := <-failed; !errors.As(err, &e) || e.Code != sdk.Cancelled {
				t.Errorf("%v", err)
			}
		})
	}
}

// A host that ends takes the link from an application that waits for it.
func TestReaderClosed(t *testing.T) {
	b, addr := node(t, "b")
	ctx, cancel := context.WithCancel(context.Background())
	a, ended := nodeIn(t, ctx, "a", addr)
	s := talk(t, a, b.Self())
	failed := make(chan error, 1)
	go func() {
		_, err := s.Read(make([]byte, 1))
		failed <- err
	}()
	cancel()
	within(t, "the end of the host", func() {
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := <-failed; err == nil {
			t.Error("Read gave no error")
		}
	})
}
