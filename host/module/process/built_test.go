package process

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"lukechampine.com/blake3"

	"nethost/host/module"
	"nethost/sdk"
	"nethost/sdk/abi"
	"nethost/sdk/sdktest"
)

// build makes a program of a package, as the Makefile does.
func build(t *testing.T, pkg string) (path string, digest [32]byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-o", path, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, blake3.Sum256(b)
}

// The two programs that are shipped, built and run as an operator would.
func TestShippedPrograms(t *testing.T) {
	if testing.Short() {
		t.Skip("builds two programs")
	}
	v := sdk.Version{Major: 1}
	start := func(t *testing.T, name string, id sdk.ID) *sdktest.Harness {
		s := module.Spec{Name: name, Subprotocols: []sdk.Subprotocol{{ID: id, Version: v, MinPeer: v}}}
		s.Artifact, s.Digest = build(t, "nethost/plugins/"+name)
		posted := make(chan []byte, 1)
		s.Post = func(b []byte) { posted <- append([]byte(nil), b...) }
		in, err := New(Options{}).Open(context.Background(), s)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { in.Close() })
		h := sdktest.NewHarnessOver(t, &poster{in: in, posted: posted})
		h.Start(sdk.Start{Reason: sdk.StartFresh}, sdk.Pair{Key: "disk", Value: "/"})
		return h
	}
	t.Run("echo", func(t *testing.T) {
		h := start(t, "echo", 0x0007)
		if s := h.Call(0x0007, "", []byte("hello")); string(s.Got) != "hello" || !s.FIN {
			t.Fatalf("got %q", s.Got)
		}
	})
	t.Run("hostinfo", func(t *testing.T) {
		s := start(t, "hostinfo", 0x1002).Call(0x1002, "get", nil)
		var info struct{ Cores int }
		if err := json.Unmarshal(s.Got, &info); err != nil || info.Cores < 1 || !s.FIN {
			t.Fatalf("got %q, %v", s.Got, err)
		}
		t.Logf("%s", s.Got)
	})
}

// poster is a supervisor in small: a module that answered nothing and owes a
// Post has it waited for, so that the harness sees it as an effect.
type poster struct {
	in     module.Instance
	posted chan []byte
}

func (p *poster) Deliver(batch []byte) ([]byte, error) {
	b, err := p.in.Deliver(batch)
	if err != nil || b != nil || !hasFIN(batch) {
		return b, err
	}
	b = <-p.posted
	copy(b[16:24], batch[16:24]) // the harness wants the batch's sequence number
	return b, nil
}

func (p *poster) Close() error { return p.in.Close() }

// hasFIN reports whether the far end ended a stream in this batch.
func hasFIN(batch []byte) bool {
	_, r, _ := abi.Parse(batch, sdk.MaxBatchBytes)
	for e, ok := r.NextEvent(); ok; e, ok = r.NextEvent() {
		if e.Kind == sdk.EvStreamData && e.FIN() {
			return true
		}
	}
	return false
}
