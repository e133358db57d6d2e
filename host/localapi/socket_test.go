package localapi

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nethost/sdk"
	"nethost/sdk/client"
)

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
