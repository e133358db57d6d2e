package process

import (
	"errors"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"nethost/host/module"
)

// TestLimits: the operator's limits hold for the program, and what goes beyond ends it
// and not its host.
func TestLimits(t *testing.T) {
	s := spec(t, "good")
	s.Process = module.ProcessLimits{Memory: 4 << 30, OpenFiles: 64}
	log := newLines()
	s.Log = log.add
	d := open(t, Options{}, s)
	n, why, _ := strings.Cut(d.ask("files"), " ")
	if got, err := strconv.Atoi(n); err != nil || got < 16 || got > 64 || !strings.Contains(why, "too many open files") {
		t.Errorf("it opened %s files of 64: %s", n, why)
	}
	if got := d.ask("allocate 1000000"); got != "1000000" {
		t.Errorf("below its limit: %s", got)
	}
	if _, err := d.deliver("allocate " + strconv.Itoa(5<<30)); !errors.Is(err, module.ErrGone) {
		t.Fatalf("above its limit: %v", err)
	}
	log.await(t, "fatal error")
}

// TestNoZombie: after Close the pid is nobody's.
func TestNoZombie(t *testing.T) {
	d := open(t, Options{}, spec(t, "good"))
	pid, err := strconv.Atoi(d.ask("pid"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is still there: %v", pid, err)
	}
	d = open(t, Options{}, spec(t, "good"))
	if pid, err = strconv.Atoi(d.ask("pid")); err != nil {
		t.Fatal(err)
	}
	_, _ = d.deliver("exit")
	<-d.in.(module.Exiter).Done()
	<-d.in.(*instance).run.exited
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d that ended by itself is still there: %v", pid, err)
	}
}

// TestNoise: what is printed before the handshake is logged, and the module starts.
func TestNoise(t *testing.T) {
	s, log := spec(t, "noisy"), newLines()
	s.Log = log.add
	d := open(t, Options{}, s)
	if got := d.ask("hello"); got != "hello" {
		t.Errorf("got %q", got)
	}
	log.await(t, "Welcome!")
	log.await(t, "1|x|unix|y|grpc")
}

// TestUnkillable: a program that does not vanish does not hold its host for ever.
func TestUnkillable(t *testing.T) {
	in, err := New(Options{Dir: shortDir(t), StopTimeout: 10 * time.Millisecond, KillTimeout: 10 * time.Millisecond}).Open(t.Context(), spec(t, "stubborn"))
	if err != nil {
		t.Fatal(err)
	}
	run := in.(*instance).run
	run.mu.Lock() // nobody can signal it: as if it did not hear
	err = in.Close()
	run.mu.Unlock()
	if err == nil || !strings.Contains(err.Error(), "still there after 10ms") {
		t.Errorf("Close: %v", err)
	}
	<-run.exited // it is killed once that is possible, and reaped
	if run.cmd.ProcessState == nil {
		t.Error("it was not reaped")
	}
}
