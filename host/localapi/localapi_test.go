package localapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"nethost/sdk"
	"nethost/sdk/client"
	v1 "nethost/sdk/client/nethostv1"
)

// echoBackend answers every stream with what it got; module "refuse" is refused,
// and module "hang" reads and never answers.
type echoBackend struct {
	mu     sync.Mutex
	resets []sdk.Code
	reset  chan struct{} // gets a token a reset
}

func (b *echoBackend) Status() *v1.StatusResponse {
	return &v1.StatusResponse{Node: "me", Drops: map[string]uint64{"mac1": 3}}
}
func (b *echoBackend) Peers() *v1.PeersResponse {
	return &v1.PeersResponse{Peers: []*v1.Peer{{Node: "you"}}}
}
func (b *echoBackend) Routes() *v1.RoutesResponse     { return &v1.RoutesResponse{} }
func (b *echoBackend) Sessions() *v1.SessionsResponse { return &v1.SessionsResponse{} }
func (b *echoBackend) Modules() *v1.ModulesResponse   { return &v1.ModulesResponse{} }

func (b *echoBackend) Watch(ctx context.Context, send func(*v1.Event) error) error {
	for i := range 3 {
		if err := send(&v1.Event{Kind: "tick", Text: fmt.Sprint(i)}); err != nil {
			return err
		}
	}
	return nil
}

func (b *echoBackend) Open(_ context.Context, t *v1.Target) (Stream, error) {
	if t.Module == "refuse" {
		return nil, &Error{sdk.NoRoute, "no way there"}
	}
	r, w := io.Pipe()
	return &echoStream{b: b, r: r, w: w, hang: t.Module == "hang"}, nil
}

type echoStream struct {
	b    *echoBackend
	r    *io.PipeReader
	w    *io.PipeWriter
	hang bool
	once sync.Once
}

func (s *echoStream) Read(p []byte) (int, error) { return s.r.Read(p) }
func (s *echoStream) Write(p []byte) (int, error) {
	if s.hang {
		return len(p), nil
	}
	return s.w.Write(p)
}
func (s *echoStream) CloseWrite() error {
	if s.hang {
		return nil
	}
	return s.w.Close()
}
func (s *echoStream) Close() error {
	s.r.Close()
	return s.w.Close()
}
func (s *echoStream) Reset(c sdk.Code, text string) {
	s.once.Do(func() {
		s.b.mu.Lock()
		s.b.resets = append(s.b.resets, c)
		s.b.mu.Unlock()
		s.r.CloseWithError(&Error{c, text})
		s.b.reset <- struct{}{}
	})
}

func serve(t *testing.T) (*echoBackend, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "nh") // short: a socket path has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	b := &echoBackend{reset: make(chan struct{}, 100)}
	path := filepath.Join(dir, "api.sock")
	s, err := Listen(path, b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		os.RemoveAll(dir)
	})
	return b, path
}

// post does what curl --unix-socket does: JSON over HTTP/1.1.
func post(t *testing.T, path, method, contentType string, body []byte) (int, []byte) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	r, err := c.Post("http://nethost/nethost.v1.NodeService/"+method, contentType, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	out, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, out
}

func TestJSONOverHTTP1(t *testing.T) {
	_, path := serve(t)
	if code, out := post(t, path, "Status", "application/json", []byte("{}")); code != 200 || !strings.Contains(string(out), `"node":"me"`) {
		t.Errorf("Status: %d %s", code, out)
	}
	data := base64.StdEncoding.EncodeToString([]byte("hello"))
	body := []byte(`{"target":{"module":"echo"},"data":"` + data + `"}`)
	if code, out := post(t, path, "Call", "application/json", body); code != 200 || !strings.Contains(string(out), data) {
		t.Errorf("Call: %d %s", code, out)
	}
	code, out := post(t, path, "Call", "application/json", []byte(`{"target":{"module":"refuse"}}`))
	if code == 200 || !strings.Contains(string(out), "no way there") {
		t.Errorf("a refused call: %d %s", code, out)
	}
	if code, out := post(t, path, "Call", "application/json", []byte(`{}`)); code == 200 || !strings.Contains(string(out), "target.module") {
		t.Errorf("a call without target: %d %s", code, out)
	}
	// Server streaming: frames of flags, length and JSON.
	frame := append([]byte{0, 0, 0, 0, byte(len(body))}, body...)
	if code, out := post(t, path, "Subscribe", "application/connect+json", frame); code != 200 || !strings.Contains(string(out), data) {
		t.Errorf("Subscribe: %d %q", code, out)
	}
	if code, out := post(t, path, "Watch", "application/connect+json", []byte("\x00\x00\x00\x00\x02{}")); code != 200 || strings.Count(string(out), `"tick"`) != 3 {
		t.Errorf("Watch: %d %q", code, out)
	}
}

func TestClient(t *testing.T) {
	b, path := serve(t)
	c, ctx := client.New(path), t.Context()
	if s, err := c.Status(ctx); err != nil || s.Node != "me" || s.Drops["mac1"] != 3 {
		t.Errorf("Status: %v %v", s, err)
	}
	if p, err := c.Peers(ctx); err != nil || len(p.Peers) != 1 {
		t.Errorf("Peers: %v %v", p, err)
	}
	if out, err := c.Call(ctx, client.Target{Module: "echo"}, []byte("hello")); err != nil || string(out) != "hello" {
		t.Errorf("Call: %q %v", out, err)
	}
	_, err := c.Call(ctx, client.Target{Module: "refuse"}, nil)
	var ce *client.Error
	if !errors.As(err, &ce) || ce.Code != sdk.NoRoute || ce.Text != "no way there" {
		t.Errorf("a refused call: %#v", err)
	}
	n := 0
	if err := c.Watch(ctx, func(e *v1.Event) error {
		if e.Kind == "tick" {
			n++
		}
		return nil
	}); err != nil || n != 3 {
		t.Errorf("Watch: %d events, %v", n, err)
	}
	// Both ways at once, much more than any buffer on the way holds.
	s, err := c.Stream(ctx, client.Target{Module: "echo"})
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("0123456789"), 1<<20)
	go func() {
		s.Write(data)
		s.CloseWrite()
	}()
	if back, err := io.ReadAll(s); err != nil || !bytes.Equal(back, data) {
		t.Errorf("%d of %d bytes came back: %v", len(back), len(data), err)
	}
	s.Close()
	// A client that goes away resets the stream of the module.
	for len(b.reset) > 0 {
		<-b.reset
	}
	gone, cancel := context.WithCancel(ctx)
	if s, err = c.Stream(gone, client.Target{Module: "hang"}); err != nil {
		t.Fatal(err)
	}
	s.Write([]byte("x"))
	cancel()
	<-b.reset
	if b.mu.Lock(); b.resets[len(b.resets)-1] != sdk.Cancelled {
		t.Errorf("reset with %v", b.resets)
	}
	b.mu.Unlock()
}

func TestSocket(t *testing.T) {
	_, path := serve(t)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v %v", info.Mode(), err)
	}
	if _, err := Listen(path, &echoBackend{}); err == nil || !strings.Contains(err.Error(), "another nethost") {
		t.Errorf("a second node on one socket: %v", err)
	}
	if _, err := Listen("/tmp/"+strings.Repeat("x", 120), &echoBackend{}); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("a path too long: %v", err)
	}
	dir := filepath.Dir(path)
	plain := filepath.Join(dir, "plain")
	os.WriteFile(plain, nil, 0o600)
	if _, err := Listen(plain, &echoBackend{}); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a plain file: %v", err)
	}
	// What a dead node left behind is replaced.
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	s, err := Listen(stale, &echoBackend{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.New(stale).Status(t.Context()); err != nil {
		t.Error(err)
	}
	s.Close()
	if _, err := client.New(stale).Status(t.Context()); !errors.Is(err, client.ErrNotRunning) {
		t.Errorf("a node that is gone: %v", err)
	}
}

// TestCodes: every code of the contract comes out as it went in.
func TestCodes(t *testing.T) {
	for c := sdk.Cancelled; c <= sdk.HandshakeFailed; c++ {
		if int(c) >= len(connectCodes) || connectCodes[c] == 0 {
			t.Errorf("%v has no Connect code", c)
		}
	}
}
