package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lukechampine.com/blake3"

	"nethost/host/module"
	"nethost/sdk"
	"nethost/sdk/abi"
)

func TestEchoesBatches(t *testing.T) {
	d := open(t, Options{}, spec(t, "good"))
	for _, n := range []int{1, 100, 1024, 64 << 10, 7} {
		msg := strings.Repeat("x", n)
		if got := d.ask(msg); got != msg {
			t.Fatalf("%d bytes: got %d", n, len(got))
		}
	}
	d.n++
	d.w.ResetEvents(d.n, 0, 0)
	d.w.Event(sdk.Event{Kind: sdk.EvFlush})
	if b, err := d.in.Deliver(d.w.Bytes()); b != nil || err != nil {
		t.Fatalf("a batch without effects: %d bytes, %v", len(b), err)
	}
}

func TestFullBatch(t *testing.T) {
	d := open(t, Options{}, spec(t, "good"))
	d.w.ResetEvents(1, 0, 0)
	n := 0
	for d.w.Event(sdk.Event{Kind: sdk.EvMessage, Peer: 1, Payload: bytes.Repeat([]byte{'y'}, 60000)}) {
		n++
	}
	d.w.Event(sdk.Event{Kind: sdk.EvFlush})
	b, err := d.in.Deliver(d.w.Bytes())
	if h, _, perr := abi.Parse(b, sdk.MaxEffectBytes); err != nil || perr != nil || int(h.Records) != n {
		t.Fatalf("%d messages in, %d out, %v %v", n, h.Records, err, perr)
	}
}

func TestWorkIsPosted(t *testing.T) {
	s, posted := spec(t, "good"), make(chan []byte, 10)
	s.Post = func(b []byte) { posted <- bytes.Clone(b) }
	d := open(t, Options{}, s)
	if effects, err := d.deliver("work of art"); err != nil || len(effects) != 0 {
		t.Fatal(effects, err)
	}
	_, r, err := abi.Parse(<-posted, sdk.MaxEffectBytes)
	e, ok := r.NextEffect()
	if err != nil || !ok || e.Kind != sdk.OpPost || e.Ref != 1 || string(e.Payload) != "of art" {
		t.Fatalf("%+v %v", e, err)
	}
}

func TestPrintingGoesToTheLog(t *testing.T) {
	s, log := spec(t, "good"), newLines()
	s.Log = log.add
	d := open(t, Options{}, s)
	d.deliver("print this")
	log.await(t, fmt.Sprintf("%d to stdout: this", sdk.LogInfo))
	log.await(t, fmt.Sprintf("%d to stderr: this", sdk.LogWarn))
}

func TestPanicEndsOnlyTheProgram(t *testing.T) {
	s, log := spec(t, "good"), newLines()
	s.Log = log.add
	d := open(t, Options{}, s)
	_, err := d.deliver("panic now")
	if !errors.Is(err, module.ErrGone) || !strings.Contains(err.Error(), "exit status 2") {
		t.Fatalf("got %v", err)
	}
	log.await(t, fmt.Sprintf("%d panic: told to: now", sdk.LogError))
	if _, err := d.deliver("again"); !errors.Is(err, module.ErrGone) {
		t.Fatalf("after the end: %v", err)
	}
}

func TestExit(t *testing.T) {
	d := open(t, Options{}, spec(t, "good"))
	if _, err := d.deliver("exit"); !errors.Is(err, module.ErrGone) || !strings.Contains(err.Error(), "exit status 7") {
		t.Fatalf("got %v", err)
	}
}

func TestHangIsKilled(t *testing.T) {
	d := open(t, Options{HangTimeout: 50 * time.Millisecond}, spec(t, "good"))
	if _, err := d.deliver("hang"); !errors.Is(err, module.ErrFuel) {
		t.Fatalf("got %v", err)
	}
}

func TestCloseEndsDeliver(t *testing.T) {
	d := open(t, Options{}, spec(t, "good"))
	done := make(chan error)
	go func() {
		_, err := d.deliver("hang")
		done <- err
	}()
	if err := d.in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, module.ErrGone) {
		t.Fatalf("got %v", err)
	}
	if err := d.in.Close(); err != nil {
		t.Fatalf("second Close: %v", err)
	}
}

func TestEnvironmentIsClean(t *testing.T) {
	t.Setenv("NETHOST_SECRET", "hush")
	s := spec(t, "good")
	d := open(t, Options{}, s)
	env := d.ask("env")
	if strings.Contains(env, "hush") || !strings.Contains(env, "NETHOST_MODULE_DIR="+s.Dir) || strings.Contains(env, "HOME=") {
		t.Fatalf("environment:\n%s", env)
	}
	cwd := d.ask("cwd")
	if info, err := os.Stat(filepath.Dir(cwd)); err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("%s: %v %v", cwd, info, err)
	}
	d.in.Close()
	if _, err := os.Stat(filepath.Dir(cwd)); !os.IsNotExist(err) {
		t.Fatalf("the private directory is left: %v", err)
	}
}

func TestBrokenProtocol(t *testing.T) {
	for _, c := range []struct {
		mode string
		want error
	}{
		{"wrongseq", module.ErrProtocol}, {"badpost", module.ErrProtocol}, {"toolong", module.ErrProtocol},
		{"nobatch", module.ErrProtocol}, {"hangup", module.ErrGone},
	} {
		t.Run(c.mode, func(t *testing.T) {
			d := open(t, Options{StopTimeout: 50 * time.Millisecond}, spec(t, c.mode))
			if _, err := d.deliver("x"); !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
		})
	}
	t.Run("twice", func(t *testing.T) {
		d := open(t, Options{StopTimeout: 50 * time.Millisecond}, spec(t, "twice"))
		var err error
		for err == nil { // the first answer is good, the second ends it
			_, err = d.deliver("x")
		}
		if !errors.Is(err, module.ErrProtocol) {
			t.Fatalf("got %v", err)
		}
	})
}

func TestOpenFails(t *testing.T) {
	wrong := spec(t, "good")
	wrong.Digest[0] ^= 1
	unset := spec(t, "good")
	unset.Digest = [32]byte{}
	missing := spec(t, "good")
	missing.Artifact += "-not"
	other := spec(t, "good")
	other.Subprotocols = []sdk.Subprotocol{{ID: 0xf002}}
	plain := spec(t, "good")
	plain.Artifact = filepath.Join(plain.Dir, "plain")
	os.WriteFile(plain.Artifact, []byte("text"), 0o600)
	noexec := spec(t, "good")
	noexec.Artifact = filepath.Join(noexec.Dir, "noexec")
	os.WriteFile(noexec.Artifact, []byte("no program"), 0o700)
	noexec.Digest = blake3.Sum256([]byte("no program"))
	for _, c := range []struct {
		name string
		s    module.Spec
		want string
	}{
		{"digest", wrong, "it was changed after it was accepted"},
		{"no digest", unset, "put blake3 into module.toml"},
		{"missing", missing, "no such file"},
		{"not executable", plain, "chmod +x"},
		{"no program", noexec, "exec format error"},
		{"subprotocols", other, "the program speaks 0xf001 1.0"},
		{"name", func() module.Spec { s := spec(t, "wrongname"); s.Name = "right"; return s }(), `calls itself "wrongname"`},
		{"crash", spec(t, "crash"), "exit status 3); the last thing it printed: out of luck"},
		{"garbage", spec(t, "garbage"), "it was not ready within 5s; the last thing it printed: hello, world"},
		{"newer", spec(t, "newer"), "speaks version 2 of the launch protocol, this nethost speaks 1: update nethost"},
		{"silent", spec(t, "silent"), "it was not ready within"},
		{"no data socket", spec(t, "nodata"), "did not connect to the data socket"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := shortDir(t)
			o := Options{Dir: dir, StartTimeout: 5 * time.Second}
			if c.name == "silent" {
				o.StartTimeout = 200 * time.Millisecond
			}
			in, err := New(o).Open(context.Background(), c.s)
			if err == nil {
				in.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want it to say %q", err, c.want)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestLongDirectoryIsExplained(t *testing.T) {
	_, err := New(Options{Dir: filepath.Join(t.TempDir(), strings.Repeat("x", 100))}).Open(context.Background(), spec(t, "good"))
	if err == nil || !strings.Contains(err.Error(), "too long a path") {
		t.Fatalf("got %v", err)
	}
}

func TestOpenHonoursContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := New(Options{}).Open(ctx, spec(t, "silent")); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
}

// A program in another language need not implement Describe.
func TestDescribeIsOptional(t *testing.T) {
	d := open(t, Options{}, spec(t, "plain"))
	if _, err := d.deliver("x"); err != nil {
		t.Fatal(err)
	}
}

func TestStubbornProgramIsKilled(t *testing.T) {
	d := open(t, Options{StopTimeout: 100 * time.Millisecond}, spec(t, "stubborn"))
	begin := time.Now()
	d.in.Close()
	if took := time.Since(begin); took < 100*time.Millisecond || took > 5*time.Second {
		t.Fatalf("Close took %v", took)
	}
}

func TestDeliverDoesNotAllocate(t *testing.T) {
	d := open(t, Options{}, spec(t, "good"))
	seq := uint64(0)
	payload := make([]byte, 1024)
	if n := testing.AllocsPerRun(100, func() {
		seq++
		d.w.ResetEvents(seq, 0, 0)
		d.w.Event(sdk.Event{Kind: sdk.EvMessage, Peer: 1, Payload: payload})
		d.w.Event(sdk.Event{Kind: sdk.EvFlush})
		if _, err := d.in.Deliver(d.w.Bytes()); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a batch, want 0", n)
	}
}
