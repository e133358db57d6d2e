package dirwatch

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestWatch: a folder that appears, a file written into it, and its removal are each
// told, once things have come to rest.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "there"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	told, ended := make(chan struct{}, 100), make(chan error, 1)
	go func() { ended <- Watch(ctx, dir, 30*time.Millisecond, func() { told <- struct{}{} }) }()
	wait := func(what string) {
		t.Helper()
		select {
		case <-told:
		case <-time.After(20 * time.Second):
			t.Fatalf("%s was not told", what)
		}
	}
	// Until the watch stands nothing is seen: try until it is.
	for seen := false; !seen; {
		if err := os.WriteFile(filepath.Join(dir, "probe"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		select {
		case <-told:
			seen = true
		case <-time.After(100 * time.Millisecond):
		}
	}
	drain := func() {
		for {
			select {
			case <-told:
			case <-time.After(200 * time.Millisecond):
				return
			}
		}
	}
	drain()
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"a file in a folder that was there", func() error { return os.WriteFile(filepath.Join(dir, "there", "module.toml"), []byte("x"), 0o644) }},
		{"a new folder", func() error { return os.Mkdir(filepath.Join(dir, "new"), 0o755) }},
		{"a file in the new folder", func() error { return os.WriteFile(filepath.Join(dir, "new", "f"), []byte("x"), 0o644) }},
		{"a rename", func() error { return os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "old")) }},
		{"a removal", func() error { return os.RemoveAll(filepath.Join(dir, "old")) }},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		wait(step.what)
		drain()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := Watch(t.Context(), filepath.Join(dir, "none"), time.Second, nil); err == nil {
		t.Error("a directory that is not there can be watched")
	}
}
