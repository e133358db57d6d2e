package process

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"lukechampine.com/blake3"
)

// K4.3: what is written into the checked file itself, not only a new file in its
// place, does not run; and the copy that runs cannot be written at all.
func TestOverwriteBetweenCheckAndStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "script")
	text := []byte("#!/bin/sh\necho checked\n")
	if err := os.WriteFile(path, text, 0o700); err != nil {
		t.Fatal(err)
	}
	p, err := openProgram(path, blake3.Sum256(text), "")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("#!/bin/sh\necho swapped\n"), 0); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, err := p.file.WriteAt([]byte("x"), 0); err == nil {
		t.Error("the copy can be written")
	}
	cmd := p.command(path)
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	got, _ := io.ReadAll(out)
	if err := cmd.Wait(); err != nil || string(got) != "checked\n" {
		t.Fatalf("printed %q, %v", got, err)
	}
}
