package localapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"nethost/sdk"
	"nethost/sdk/client"
	v1 "nethost/sdk/client/nethostv1"
)

func TestClientAsks(t *testing.T) {
	b, path := serve(t)
	c, ctx := client.New(path), t.Context()
	if s, err := c.Status(ctx); err != nil || s.Node != "me" || s.Drops["mac1"] != 3 {
		t.Errorf("Status: %v %v", s, err)
	}
	if p, err := c.Peers(ctx); err != nil || len(p.Peers) != 1 || p.Peers[0].Node != "you" {
		t.Errorf("Peers: %v %v", p, err)
	}
	if r, err := c.Routes(ctx); err != nil || len(r.Routes) != 1 {
		t.Errorf("Routes: %v %v", r, err)
	}
	if s, err := c.Sessions(ctx); err != nil || len(s.Sessions) != 1 {
		t.Errorf("Sessions: %v %v", s, err)
	}
	if m, err := c.Modules(ctx); err != nil || len(m.Rejected) != 1 {
		t.Errorf("Modules: %v %v", m, err)
	}
	if out, err := c.Call(ctx, client.Target{Module: "echo"}, []byte("hello")); err != nil || string(out) != "hello" {
		t.Errorf("Call: %q %v", out, err)
	}
	// Watch: until f fails, until the node ends it, until ctx ends.
	enough := errors.New("enough")
	go func() { b.events <- &v1.Event{Kind: "tick"} }()
	err := c.Watch(ctx, func(e *v1.Event) error {
		if e.Kind == "tick" {
			return enough
		}
		return nil
	})
	if err != enough {
		t.Errorf("Watch: %v", err)
	}
	<-b.watched
	gone, cancel := context.WithCancel(ctx)
	if err := c.Watch(gone, func(*v1.Event) error { cancel(); return nil }); err != nil {
		t.Errorf("Watch whose context ended: %v", err)
	}
	<-b.watched
	close(b.events)
	if err := c.Watch(ctx, func(*v1.Event) error { return nil }); err != nil {
		t.Errorf("Watch of a node that stops: %v", err)
	}
}

// TestStream: both ways at once, more than any buffer on the way holds.
func TestStream(t *testing.T) {
	_, path := serve(t)
	s, err := client.New(path).Stream(t.Context(), client.Target{Module: "echo"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	data := make([]byte, 8<<20)
	for i := range data {
		data[i] = byte(i >> 12)
	}
	go func() {
		if n, err := s.Write(data); n != len(data) || err != nil {
			t.Errorf("wrote %d bytes: %v", n, err)
		}
		s.CloseWrite()
	}()
	if back, err := io.ReadAll(s); err != nil || !bytes.Equal(back, data) {
		t.Errorf("%d of %d bytes came back: %v", len(back), len(data), err)
	}
}

// stalled waits until a count stands still, and gives it.
func stalled(n *atomic.Int64) int64 {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	last, same := int64(-1), 0
	for same < 5 {
		<-tick.C
		if now := n.Load(); now != last || now == 0 {
			last, same = now, 0
		} else {
			same++
		}
	}
	return last
}

// maxUnderway is more than what the buffers between two ends may hold.
const maxUnderway = 6 << 20

// TestBackpressure: an end that takes nothing stops the other, and loses nothing.
func TestBackpressure(t *testing.T) {
	b, path := serve(t)
	c := client.New(path)
	s, err := c.Stream(t.Context(), client.Target{Module: "sink"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var wrote atomic.Int64
	const total = 16 << 20
	go func() {
		piece := make([]byte, 64<<10)
		for range total / len(piece) {
			n, err := s.Write(piece)
			wrote.Add(int64(n))
			if err != nil {
				t.Errorf("after %d bytes: %v", wrote.Load(), err)
				break
			}
		}
		s.CloseWrite()
	}()
	if n := stalled(&wrote); n > maxUnderway {
		t.Errorf("a client wrote %d bytes to a module that takes none", n)
	}
	close(b.release)
	if out, err := io.ReadAll(s); err != nil || string(out) != "taken" || wrote.Load() != total {
		t.Errorf("%q %v after %d bytes", out, err, wrote.Load())
	}
	// The other way: a client that does not read.
	s, err = c.Stream(t.Context(), client.Target{Module: "source"})
	if err != nil {
		t.Fatal(err)
	}
	if n := stalled(&b.written); n > maxUnderway {
		t.Errorf("a module wrote %d bytes to a client that takes none", n)
	}
	s.Close()
	if code := <-b.resets; code != sdk.Cancelled {
		t.Errorf("reset with %v", code)
	}
}

// TestCancel: whatever a caller is in, the end of its context resets the module's
// stream, and the caller's error is the context's.
func TestCancel(t *testing.T) {
	b, path := serve(t)
	c := client.New(path)
	sink := client.Target{Module: "sink"}
	echo := client.Target{Module: "echo"}
	ways := map[string]func(ctx context.Context, begun func()) error{
		"call": func(ctx context.Context, begun func()) error {
			begun()
			_, err := c.Call(ctx, sink, []byte("x"))
			return err
		},
		"reading": func(ctx context.Context, begun func()) error {
			s, err := c.Stream(ctx, client.Target{Module: "source"})
			if err != nil {
				return err
			}
			if _, err = s.Read(make([]byte, 10)); err == nil {
				begun()
				_, err = io.Copy(io.Discard, s)
			}
			return err
		},
		"waiting": func(ctx context.Context, begun func()) error {
			s, err := c.Stream(ctx, echo)
			if err != nil {
				return err
			}
			if _, err = s.Write([]byte("x")); err == nil {
				if _, err = s.Read(make([]byte, 10)); err == nil {
					begun()
					_, err = s.Read(make([]byte, 10))
				}
			}
			return err
		},
		"writing": func(ctx context.Context, begun func()) error {
			s, err := c.Stream(ctx, sink)
			if err != nil {
				return err
			}
			begun()
			if _, err := s.Write(make([]byte, 64<<20)); !errors.Is(err, io.EOF) && !errors.Is(err, context.Canceled) {
				t.Errorf("Write: %v", err)
			}
			_, err = s.Read(make([]byte, 1))
			return err
		},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			timer := time.AfterFunc(time.Hour, cancel)
			defer timer.Stop()
			err := way(ctx, func() { timer.Reset(100 * time.Millisecond) })
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v, want %v", err, context.Canceled)
			}
			if code := <-b.resets; code != sdk.Cancelled {
				t.Errorf("reset with %v", code)
			}
		})
	}
	if n := b.ends.Load(); n > 1 { // that of the call, whose request was whole
		t.Errorf("%d modules were told that all had come", n)
	}
	t.Run("close", func(t *testing.T) {
		b.ends.Store(0)
		for range 20 {
			s, err := c.Stream(t.Context(), echo)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Write([]byte("half of it")); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Read(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if code := <-b.resets; code != sdk.Cancelled || b.ends.Load() != 0 {
				t.Fatalf("%v, %d ends", code, b.ends.Load())
			}
		}
	})
	t.Run("deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := c.Call(ctx, sink, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want %v", err, context.DeadlineExceeded)
		}
		<-b.resets
	})
}

// TestCodes: every code comes out as it went in, with its text, whether the call
// was refused at once or broke off.
func TestCodes(t *testing.T) {
	_, path := serve(t)
	c := client.New(path)
	codes := []sdk.Code{200} // of a later release
	for code := sdk.Cancelled; code <= sdk.HandshakeFailed; code++ {
		if int(code) >= len(connectCodes) || connectCodes[code] == 0 {
			t.Errorf("%v has no Connect code", code)
		}
		codes = append(codes, code)
	}
	for _, code := range codes {
		for _, module := range []string{"refuse", "break"} {
			target := client.Target{Module: module, Meta: []byte{byte(code)}}
			_, callErr := c.Call(t.Context(), target, nil)
			s, err := c.Stream(t.Context(), target)
			if err != nil {
				t.Fatal(err)
			}
			got, streamErr := io.ReadAll(s)
			if want := map[string]string{"break": "begun"}[module]; string(got) != want {
				t.Errorf("%s: what came before the end: %q, want %q", module, got, want)
			}
			s.Close()
			for how, err := range map[string]error{"Call": callErr, "Stream": streamErr} {
				var e *client.Error
				if !errors.As(err, &e) || e.Code != code || !strings.HasSuffix(e.Text, ": "+code.String()) {
					t.Errorf("%s of %s with %v: %#v", how, module, code, err)
				}
			}
		}
	}
	// No target, no module, and a failure that is none of the contract's.
	for module, want := range map[string]string{"nobody": "no module nobody", "odd": "something odd"} {
		if _, err := c.Call(t.Context(), client.Target{Module: module}, nil); err == nil || err.Error() != want {
			t.Errorf("%s: %v", module, err)
		}
	}
	if _, err := c.Call(t.Context(), client.Target{Module: "big"}, nil); err == nil || !strings.Contains(err.Error(), "16 MiB") {
		t.Errorf("an answer that is too long: %v", err)
	}
	if _, err := c.Call(t.Context(), client.Target{Module: "echo"}, make([]byte, maxRequest+1)); err == nil || !strings.Contains(err.Error(), fmt.Sprint(maxRequest)) {
		t.Errorf("a request that is too long: %v", err)
	}
}
