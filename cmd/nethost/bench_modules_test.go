package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"nethost/host/module"
	"nethost/host/module/wasm"
	"nethost/sdk"
)

// TestBenchGuest: the guest that is committed is what its source gives, the loops
// give the same metered and plain, and the echo echoes.
func TestBenchGuest(t *testing.T) {
	for _, name := range []string{"hash", "parse", "aead", "recursion", "copy"} {
		c, err := wasm.MeasureCost(benchGuest, "loop_"+name, 5, 1)
		if err != nil || c.Units <= 0 {
			t.Errorf("%s: %+v %v", name, c, err)
		}
	}
	c, err := wasm.New("")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	env := &benchEnv{dir: t.TempDir()}
	spec, err := env.guestSpec()
	if err != nil {
		t.Fatal(err)
	}
	inst, err := c.Open(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer inst.Close()
	run := &batcher{inst: inst}
	if err := run.start(); err != nil {
		t.Fatal(err)
	}
	run.seq++
	run.w.ResetEvents(run.seq, 0, 0)
	for range 3 {
		run.w.Event(sdk.Event{Kind: sdk.EvMessage, Peer: 9, ID: 7, Version: sdk.Version{Major: 1}, Payload: []byte("hello")})
	}
	run.w.Event(sdk.Event{Kind: sdk.EvFlush})
	out, err := inst.Deliver(run.w.Bytes())
	if err != nil || bytes.Count(out, []byte("hello")) != 3 || len(out) != 40+3*40 {
		t.Errorf("%x %v", out, err)
	}
	if _, ok := inst.(module.Meter); !ok {
		t.Error("a guest does not tell what it costs")
	}

	clang, err := exec.LookPath("clang")
	if err != nil {
		t.Skip("no clang: the binary is not compared with its source")
	}
	text, err := os.ReadFile("benchguest/guest.c")
	if err != nil {
		t.Fatal(err)
	}
	_, command, _ := strings.Cut(string(text), "//   clang ")
	command, _, _ = strings.Cut(command, "\n")
	made := filepath.Join(t.TempDir(), "guest.wasm")
	args := strings.Fields(strings.Replace(strings.Replace(command, "-o guest.wasm", "-o "+made, 1), " guest.c", " benchguest/guest.c", 1))
	if out, err := exec.Command(clang, args...).CombinedOutput(); err != nil {
		t.Skipf("this clang makes no wasm: %v\n%s", err, out)
	}
	fresh, err := os.ReadFile(made)
	if err != nil {
		t.Fatal(err)
	}
	version, _ := exec.Command(clang, "--version").Output()
	if !strings.Contains(string(version), "version 14.") {
		t.Skip("guest.wasm was made by clang 14: another one may write other code")
	}
	if !bytes.Equal(fresh, benchGuest) {
		t.Error("guest.wasm is not what guest.c gives: run the command in it")
	}
}
