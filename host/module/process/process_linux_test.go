package process

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"lukechampine.com/blake3"

	"nethost/host/module"
)

// watch holds on to a process by its pidfd, so that its end is an event.
type watch struct{ fd int }

func watchPid(t *testing.T, text string) watch {
	t.Helper()
	pid, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatalf("process %d: %v", pid, err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return watch{fd}
}

func (w watch) awaitEnd(t *testing.T, limit time.Duration) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}
	for end := time.Now().Add(limit); ; {
		n, err := unix.Poll(fds, int(max(0, time.Until(end).Milliseconds())))
		if n == 1 {
			return
		}
		if err != unix.EINTR {
			t.Fatalf("the process still lives after %v (%v)", limit, err)
		}
	}
}

func TestKillDashNineIsNoticedAtOnce(t *testing.T) {
	d := open(t, Options{}, spec(t, "good"))
	pid, _ := strconv.Atoi(d.ask("pid"))
	done := make(chan error)
	go func() {
		_, err := d.deliver("hang")
		done <- err
	}()
	syscall.Kill(pid, syscall.SIGKILL)
	begin := time.Now()
	err := <-done
	if !errors.Is(err, module.ErrGone) || !strings.Contains(err.Error(), "signal: killed") {
		t.Fatalf("got %v", err)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Fatalf("noticed after %v", took)
	}
}

// Children die with the program, and do not keep the instance open.
func TestChildrenDieWithTheProgram(t *testing.T) {
	for _, end := range []string{"exit", "panic x", "close"} {
		t.Run(end, func(t *testing.T) {
			d := open(t, Options{}, spec(t, "good"))
			child := watchPid(t, d.ask("spawn"))
			if end == "close" {
				d.in.Close()
			} else if _, err := d.deliver(end); !errors.Is(err, module.ErrGone) {
				t.Fatalf("got %v", err)
			}
			child.awaitEnd(t, 5*time.Second)
		})
	}
}

// kill -9 of the host leaves no program behind, and the next host clears up.
func TestHostDeathLeavesNoOrphan(t *testing.T) {
	dir := shortDir(t)
	path, _ := self()
	host := exec.Command(path)
	host.Env = append(os.Environ(), "NETHOST_TEST_HOST="+dir)
	out, _ := host.StdoutPipe()
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	program := watchPid(t, strings.TrimSpace(line))
	host.Process.Kill()
	host.Wait()
	program.awaitEnd(t, 5*time.Second)

	left, _ := filepath.Glob(filepath.Join(dir, dirPrefix+"*"))
	if len(left) != 1 {
		t.Fatalf("left: %v", left)
	}
	New(Options{Dir: dir}) // too young to be touched
	if _, err := os.Stat(left[0]); err != nil {
		t.Fatal("a young directory was swept")
	}
	old := time.Now().Add(-time.Hour)
	os.Chtimes(left[0], old, old)
	New(Options{Dir: dir})
	if _, err := os.Stat(left[0]); !os.IsNotExist(err) {
		t.Fatalf("not swept: %v", err)
	}
}

// The directory of a living program is never swept, however old.
func TestSweepSparesTheLiving(t *testing.T) {
	dir := shortDir(t)
	d := open(t, Options{Dir: dir}, spec(t, "good"))
	old := time.Now().Add(-time.Hour)
	private := filepath.Dir(d.ask("cwd"))
	os.Chtimes(private, old, old)
	New(Options{Dir: dir})
	if _, err := os.Stat(private); err != nil {
		t.Fatal(err)
	}
}

// What was checked is what runs, though another file has taken its name.
func TestSwapBetweenCheckAndStart(t *testing.T) {
	s := spec(t, "good")
	p, err := openProgram(s.Artifact, s.Digest, "")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	os.Remove(s.Artifact)
	os.WriteFile(s.Artifact, []byte("#!/bin/sh\necho swapped\n"), 0o700)
	cmd := p.command("/x/garbage")
	cmd.Env = []string{"NETHOST_DATA_SOCKET=x"}
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	cmd.Process.Kill()
	cmd.Wait()
	if line != "hello, world\n" {
		t.Fatalf("ran something that printed %q", line)
	}
}

// A script is run from the checked file too.
func TestScript(t *testing.T) {
	path := filepath.Join(t.TempDir(), "script")
	text := []byte("#!/bin/sh\necho checked\n")
	os.WriteFile(path, text, 0o700)
	p, err := openProgram(path, blake3.Sum256(text), "")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	os.Remove(path)
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
