package process

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"lukechampine.com/blake3"
)

// TestProgramIsKept: a restart runs the copy that was checked, without reading the
// file again, and instances share it; other digests do not get it.
func TestProgramIsKept(t *testing.T) {
	s := spec(t, "good")
	c := New(Options{})
	in, err := c.Open(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	first := in.(*instance).prog
	if err := os.Remove(s.Artifact); err != nil {
		t.Fatal(err)
	}
	twin, err := c.Open(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
	twin.Close()
	again, err := c.Open(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.(*instance).prog != first || twin.(*instance).prog != first || c.programs.idle != 0 {
		t.Errorf("it was read again, %d idle", c.programs.idle)
	}
	other := s
	other.Digest[0]++
	if _, err := c.Open(context.Background(), other); err == nil {
		t.Error("another digest got the program")
	}
}

// TestIdleProgramsAreBounded.
func TestIdleProgramsAreBounded(t *testing.T) {
	var c programs
	dir := t.TempDir()
	for i := range maxIdle + 3 {
		path := filepath.Join(dir, "p")
		text := []byte{'#', '!', byte('a' + i)}
		if err := os.WriteFile(path, text, 0o700); err != nil {
			t.Fatal(err)
		}
		_, back, err := c.open(path, blake3.Sum256(text), dir)
		if err != nil {
			t.Fatal(err)
		}
		back()
		back()
	}
	if c.idle != maxIdle || len(c.kept) != maxIdle {
		t.Errorf("%d idle, %d kept", c.idle, len(c.kept))
	}
	for _, s := range c.kept {
		s.timer.Stop()
		s.program.Close()
	}
}
