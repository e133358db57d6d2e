package process

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	goplugin "github.com/hashicorp/go-plugin"

	"nethost/host/module"
	"nethost/sdk"
	"nethost/sdk/abi"
	"nethost/sdk/plugin/frame"
)

// instance is one running program. Deliver's caller owns seq and reply between
// calls; the receive goroutine writes reply only while awaiting names a batch.
type instance struct {
	spec     module.Spec
	opts     Options
	dir      *privateDir
	logs     *logs
	prog     *program
	giveBack func() // of prog
	run      *runner
	client   *goplugin.Client

	conn     *net.UnixConn
	out      *frame.Writer
	awaiting atomic.Uint64 // sequence number of the batch being answered, 0 = none
	reply    []byte
	arrived  chan struct{} // holds one token when reply is filled
	watchdog *time.Timer

	gone  chan struct{} // closed by receive when the data socket ended
	cause error         // why; written before gone is closed
	hung  atomic.Bool

	closing sync.Once
	closed  atomic.Bool
	stuck   error // of Close
	pid     string
	wg      sync.WaitGroup
}

var (
	_ module.Instance = (*instance)(nil)
	_ module.Exiter   = (*instance)(nil)
)

// Done is closed when the program closed its pipe or died.
func (in *instance) Done() <-chan struct{} { return in.gone }

func newInstance(s module.Spec, o Options, dir *privateDir) *instance {
	return &instance{spec: s, opts: o, dir: dir, logs: newLogs(s.Log), arrived: make(chan struct{}, 1), gone: make(chan struct{})}
}

// connect takes the data socket. From here on the instance can take batches.
func (in *instance) connect(conn *net.UnixConn) {
	in.conn = conn
	in.out = frame.NewWriter(conn)
	in.pid = in.run.ID()
	// It runs on a timer's goroutine and only ends things, which receive sees.
	in.watchdog = time.AfterFunc(time.Hour, func() {
		in.hung.Store(true)
		in.run.kill()
		conn.Close()
	})
	in.watchdog.Stop()
	in.wg.Add(2)
	go in.receive()
	go in.reap()
}

// Deliver implements module.Instance.
func (in *instance) Deliver(batch []byte) ([]byte, error) {
	h, _, err := abi.Parse(batch, sdk.MaxBatchBytes)
	if err != nil {
		return nil, fmt.Errorf("process: batch for %s: %w", in.spec.Name, err)
	}
	if h.Seq == 0 {
		return nil, fmt.Errorf("process: batch for %s has sequence number 0, which only Post batches have", in.spec.Name)
	}
	select {
	case <-in.gone:
		return nil, in.death()
	default:
	}
	in.awaiting.Store(h.Seq)
	in.watchdog.Reset(in.opts.HangTimeout)
	defer in.watchdog.Stop()
	if err := in.out.Write(batch); err != nil {
		// The program closed its end or died: receive finds out why.
		in.conn.Close()
	}
	select {
	case <-in.arrived:
	case <-in.gone:
		select {
		case <-in.arrived: // answered, then died: the answer counts
		default:
			return nil, in.death()
		}
	}
	if len(in.reply) == abi.HeaderSize {
		return nil, nil
	}
	return in.reply, nil
}

// receive reads the data socket until it ends.
func (in *instance) receive() {
	defer in.wg.Done()
	r := frame.NewReader(in.conn, sdk.MaxEffectBytes)
	for {
		b, err := r.Next()
		if err == nil {
			err = in.take(b)
		} else if errors.Is(err, frame.ErrTooLong) {
			err = fmt.Errorf("%w: %w", module.ErrProtocol, err)
		}
		if err != nil {
			in.cause = err
			break
		}
	}
	// A program without a data socket is of no use, whatever it thinks.
	in.conn.Close()
	close(in.gone)
}

// take handles one frame: an answer, or a Post batch.
func (in *instance) take(b []byte) error {
	h, effects, err := abi.Parse(b, sdk.MaxEffectBytes)
	if err != nil {
		return fmt.Errorf("%w: %w", module.ErrProtocol, err)
	}
	if h.Seq != 0 {
		if !in.awaiting.CompareAndSwap(h.Seq, 0) {
			return fmt.Errorf("%w: it answered batch %d, which it was not asked", module.ErrProtocol, h.Seq)
		}
		in.reply = append(in.reply[:0], b...)
		in.arrived <- struct{}{}
		return nil
	}
	for {
		e, ok := effects.NextEffect()
		if !ok {
			break
		}
		if e.Kind != sdk.OpPost {
			return fmt.Errorf("%w: effect %v in a batch with sequence number 0, which may hold only Post", module.ErrProtocol, e.Kind)
		}
	}
	if err := effects.Err(); err != nil {
		return fmt.Errorf("%w: %w", module.ErrProtocol, err)
	}
	if in.spec.Post != nil {
		in.spec.Post(b)
	}
	return nil
}

// reap waits for the end of the program. A child that kept the data socket open
// must not hide it: what was sent before is read, then the socket is over.
func (in *instance) reap() {
	defer in.wg.Done()
	<-in.run.exited
	in.conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
}

// death says why the instance is gone, in terms of module's errors.
func (in *instance) death() error {
	name := in.spec.Name
	switch {
	case in.closed.Load():
		return fmt.Errorf("%w: %s was closed", module.ErrGone, name)
	case in.hung.Load():
		return fmt.Errorf("%w: %s did not answer a batch within %v and was killed", module.ErrFuel, name, in.opts.HangTimeout)
	case errors.Is(in.cause, module.ErrProtocol):
		return fmt.Errorf("module %s: %w", name, in.cause)
	}
	how := in.run.how(100 * time.Millisecond)
	if how == "" {
		how = "it closed its data socket"
	}
	return fmt.Errorf("%w: %s: %s", module.ErrGone, name, how)
}

// Close implements module.Instance. The program is told by the end of its data
// socket; one that does not go in time is killed. One that cannot be killed is left
// behind with what belongs to it, and the error says so.
func (in *instance) Close() error {
	in.closing.Do(func() {
		in.closed.Store(true)
		done := make(chan struct{})
		go func() {
			defer close(done)
			in.finish()
		}()
		limit := time.NewTimer(in.opts.StopTimeout + in.opts.KillTimeout)
		defer limit.Stop()
		select {
		case <-done:
		case <-limit.C:
			in.stuck = fmt.Errorf("%s (process %s) was killed and is still there after %v: the system holds it, most often for a disk that does not answer",
				in.spec.Name, in.pid, in.opts.KillTimeout)
		}
	})
	return in.stuck
}

// finish ends the program and frees what belongs to it, however long that takes.
func (in *instance) finish() {
	if in.conn != nil {
		in.watchdog.Stop()
		in.conn.Close()
		in.run.stop(in.opts.StopTimeout)
	}
	if in.client != nil {
		in.run.kill()
		in.client.Kill() // the program is dead: this frees what go-plugin holds
		in.run.free()
	}
	in.wg.Wait()
	in.logs.flush()
	if in.prog != nil {
		in.giveBack()
	}
	in.dir.remove()
}

// cleanEnv is what a program may see of the host's environment: what it needs to
// find interpreters, speak a language and check certificates. No secrets.
func cleanEnv() []string {
	var env []string
	for _, key := range [...]string{"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "SystemRoot"} {
		if v, ok := os.LookupEnv(key); ok {
			env = append(env, key+"="+v)
		}
	}
	return env
}
