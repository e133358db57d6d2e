package store

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func entries(t *testing.T, b *Bucket) string {
	t.Helper()
	var out []string
	if err := b.Load(func(k, v []byte) { out = append(out, fmt.Sprintf("%s=%s", k, v)) }); err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, " ")
}

func TestApply(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	a, b := s.Module("a"), s.Module("b")
	if got := entries(t, a); got != "" {
		t.Errorf("fresh module has %q", got)
	}
	ops := []Op{{Key: []byte("x"), Val: []byte("1")}, {Key: []byte("y"), Val: []byte("2")}, {Delete: true, Key: []byte("x")}}
	if err := a.Apply(ops); err != nil {
		t.Fatal(err)
	}
	if err := b.Apply([]Op{{Key: []byte("z"), Val: []byte("3")}}); err != nil {
		t.Fatal(err)
	}
	// One bad change: none of the batch happens.
	if err := a.Apply([]Op{{Key: []byte("y"), Val: []byte("9")}, {Key: nil, Val: []byte("bad")}}); err == nil {
		t.Error("an empty key was taken")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(path); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := entries(t, s.Module("a")); got != "y=2" {
		t.Errorf("module a has %q, want y=2", got)
	}
	if got := entries(t, s.Module("b")); got != "z=3" {
		t.Errorf("module b has %q, want z=3", got)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "another nethost") {
		t.Errorf("second open: %v", err)
	}
}

func TestDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	if err := os.WriteFile(path, bytes.Repeat([]byte("no database "), 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged file: %v", err)
	}
}

// TestKilled writes in a child process that is killed with SIGKILL, and reads
// what it had applied.
func TestKilled(t *testing.T) {
	if path := os.Getenv("STORE_TEST_CHILD"); path != "" {
		s, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			if err := s.Module("m").Apply([]Op{{Key: []byte("n"), Val: fmt.Append(nil, i)}}); err != nil {
				t.Fatal(err)
			}
		}
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	path := filepath.Join(t.TempDir(), "state.db")
	cmd := exec.Command(os.Args[0], "-test.run", "^TestKilled$")
	cmd.Env = append(os.Environ(), "STORE_TEST_CHILD="+path)
	if out, err := cmd.CombinedOutput(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the child was to die of SIGKILL: %v\n%s", err, out)
	}
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := entries(t, s.Module("m")); got != "n=99" {
		t.Errorf("after kill -9: %q, want n=99", got)
	}
}

func TestIncarnation(t *testing.T) {
	dir := t.TempDir()
	for want := uint64(1); want <= 3; want++ {
		if got, err := Incarnation(dir); err != nil || got != want {
			t.Fatalf("start %d: %d, %v", want, got, err)
		}
	}
	for _, bad := range []string{"", "x", "-1", "18446744073709551615", "1 2"} {
		if err := os.WriteFile(filepath.Join(dir, incarnationFile), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if n, err := Incarnation(dir); err == nil {
			t.Errorf("%q was taken as %d", bad, n)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".incarnation-*")); len(left) > 0 {
		t.Errorf("temporary files left: %v", left)
	}
}
