package localapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
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
	data := make([]byte, 16<<20)
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
const maxUnderway = 8 << 20

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
	const total = 32 << 20
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

func TestSocket(t *testing.T) {
	_, path := serve(t)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || info.Mode().Type() != os.ModeSocket {
		t.Errorf("socket: %v %v", info.Mode(), err)
	}
	// The umask of the process is as it was.
	dir := shortDir(t)
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "sub")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("a new directory: %v %v", info.Mode(), err)
	}
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, want string }{
		{path, "another nethost answers on " + path},
		{"/tmp/" + strings.Repeat("x", maxSocketPath-4), fmt.Sprintf("longer than %d bytes: choose a shorter one", maxSocketPath)},
		{plain, "is no socket: remove it"},
		{filepath.Join(plain, "x"), "not a directory"},
	} {
		if s, err := Listen(c.path, &fake{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Listen(%s): %v; want %q", c.path, err, c.want)
			s.Close()
		}
	}
	if _, err := client.New(path).Status(t.Context()); err != nil {
		t.Errorf("the first node after a second tried: %v", err)
	}
	// The longest path there is, in a directory that is made.
	deep := filepath.Join(dir, "made")
	deep = filepath.Join(deep, strings.Repeat("y", maxSocketPath-len(deep)-1))
	s, err := Listen(deep, &fake{})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Dir(deep)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the socket's directory: %v %v", info.Mode(), err)
	}
	s.Close()
	if _, err := os.Lstat(deep); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket after Close: %v", err)
	}
}

// TestStaleSocket: what a dead node left behind is replaced, what a living one
// holds is not, even when it is too busy to answer.
func TestStaleSocket(t *testing.T) {
	dir := shortDir(t)
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if _, err := Listen(stale, &fake{}); err == nil {
		t.Error("a socket on which somebody listens was replaced")
	}
	l.Close()
	s, err := Listen(stale, &fake{})
	if err != nil {
		t.Fatal(err)
	}
	c := client.New(stale)
	if _, err := c.Status(t.Context()); err != nil {
		t.Error(err)
	}
	s.Close()
	if _, err := c.Status(t.Context()); !errors.Is(err, client.ErrNotRunning) {
		t.Errorf("a node that is gone: %v", err)
	}
	// The client finds a node that came back.
	if s, err = Listen(stale, &fake{}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := c.Status(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestClose: calls under way end, and say that the node went away.
func TestClose(t *testing.T) {
	b := &fake{resets: make(chan sdk.Code, 10)}
	path := filepath.Join(shortDir(t), "api.sock")
	s, err := Listen(path, b)
	if err != nil {
		t.Fatal(err)
	}
	st, err := client.New(path).Stream(t.Context(), client.Target{Module: "source"})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if _, err := st.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := io.Copy(io.Discard, st); !errors.Is(err, client.ErrNotRunning) {
		t.Errorf("a stream when its node stops: %v", err)
	}
	if code := <-b.resets; code != sdk.Cancelled {
		t.Errorf("reset with %v", code)
	}
}
