package process

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"time"

	goplugrunner "github.com/hashicorp/go-plugin/runner"

	"nethost/host/module"
)

// runner is go-plugin's view of the program's process. Unlike go-plugin's own it
// notices an exit at once and ends the whole process group.
type runner struct {
	prog   *program
	name   string // the artifact, as the operator knows it
	dir    string
	after  io.Writer // takes stdout after the handshake line
	cmd    *exec.Cmd
	stdin  *os.File // held open: its end tells the program that we are gone
	stdout *os.File
	stderr *os.File
	tee    *handshakeReader
	limits module.ProcessLimits

	started chan error
	exited  chan struct{} // closed when the program ended, or never began
	err     error         // of Wait; written before exited is closed

	mu        sync.Mutex
	pid       int
	unlimited error // why it has no limits, and was killed
	reaped    bool  // the pid may belong to somebody else now
}

var _ goplugrunner.Runner = (*runner)(nil)

func newRunner(p *program, name, dir string, after io.Writer) *runner {
	return &runner{prog: p, name: name, dir: dir, after: after, started: make(chan error, 1), exited: make(chan struct{})}
}

// prepare makes the command and its pipes.
func (r *runner) prepare(env []string) error {
	r.cmd = r.prog.command(r.name)
	r.cmd.Env, r.cmd.Dir, r.cmd.SysProcAttr = env, r.dir, groupAttr()
	var stdin, stdout, stderr *os.File
	var err [3]error
	stdin, r.stdin, err[0] = os.Pipe()
	r.stdout, stdout, err[1] = os.Pipe()
	r.stderr, stderr, err[2] = os.Pipe()
	for _, e := range err {
		if e != nil {
			return fmt.Errorf("cannot make pipes for %s: %w", r.name, e)
		}
	}
	r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = stdin, stdout, stderr
	r.tee = &handshakeReader{r: r.stdout, noise: r.after}
	return nil
}

// Start implements runner.Runner.
func (r *runner) Start(context.Context) error {
	go r.live()
	return <-r.started
}

// live starts the program and waits for its end, on a thread of its own: Linux
// kills the program when the thread that started it ends.
func (r *runner) live() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(r.exited)
	r.mu.Lock()
	err := r.cmd.Start()
	if err == nil {
		r.pid = r.cmd.Process.Pid
		if r.unlimited = limit(r.pid, r.limits); r.unlimited != nil {
			killGroup(r.pid)
		}
	}
	r.mu.Unlock()
	for _, f := range []any{r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr} {
		f.(*os.File).Close()
	}
	r.started <- err
	if err != nil {
		r.err = err
		return
	}
	r.err = r.wait()
	// A grandchild that left the group may hold the pipes for ever.
	grace := time.Now().Add(500 * time.Millisecond)
	r.stdout.SetReadDeadline(grace)
	r.stderr.SetReadDeadline(grace)
}

// kill ends the program and its children. It does not wait.
func (r *runner) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pid != 0 && !r.reaped {
		killGroup(r.pid)
	}
}

// stop waits for the program to go by itself, asks once more halfway, and kills it.
func (r *runner) stop(patience time.Duration) {
	half := time.NewTimer(patience / 2)
	defer half.Stop()
	select {
	case <-r.exited:
		return
	case <-half.C:
	}
	r.mu.Lock()
	if !r.reaped {
		askGroup(r.pid)
	}
	r.mu.Unlock()
	half.Reset(patience / 2)
	select {
	case <-r.exited:
	case <-half.C:
		r.kill()
		<-r.exited
	}
}

// how says in words how the program ended, "" when it has not within d.
func (r *runner) how(d time.Duration) string {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-r.exited:
	case <-t.C:
		return ""
	}
	if r.cmd == nil || r.cmd.ProcessState == nil {
		return ""
	}
	return r.cmd.ProcessState.String()
}

// free closes what prepare opened. Calling it before prepare is harmless.
func (r *runner) free() {
	for _, f := range []*os.File{r.stdin, r.stdout, r.stderr} {
		if f != nil {
			f.Close()
		}
	}
}

// Wait implements runner.Runner.
func (r *runner) Wait(context.Context) error {
	<-r.exited
	return r.err
}

// Kill implements runner.Runner.
func (r *runner) Kill(context.Context) error {
	r.kill()
	return nil
}

// Stdout implements runner.Runner.
func (r *runner) Stdout() io.ReadCloser { return r.tee }

// Stderr implements runner.Runner.
func (r *runner) Stderr() io.ReadCloser { return r.stderr }

// Name implements runner.Runner.
func (r *runner) Name() string { return r.name }

// ID implements runner.Runner: the pid, "" before the start.
func (r *runner) ID() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pid == 0 {
		return ""
	}
	return strconv.Itoa(r.pid)
}

// Diagnose implements runner.Runner.
func (r *runner) Diagnose(context.Context) string {
	return "It must be a program for this system (" + runtime.GOOS + "/" + runtime.GOARCH +
		") whose main calls plugin.Serve, or which follows the rules of package sdk/plugin."
}

// PluginToHost implements runner.AddrTranslator.
func (r *runner) PluginToHost(network, addr string) (string, string, error) {
	return network, addr, nil
}

// HostToPlugin implements runner.AddrTranslator.
func (r *runner) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}

// fault says why a program that started cannot be used, nil when nobody knows.
func (r *runner) fault() error {
	r.mu.Lock()
	err := r.unlimited
	r.mu.Unlock()
	if err == nil && r.tee != nil {
		err = r.tee.mismatch(r.name)
	}
	return err
}
