package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	goplugrunner "github.com/hashicorp/go-plugin/runner"

	"nethost/host/module"
	"nethost/sdk/plugin"
)

// Options of the carrier. The zero value works.
type Options struct {
	// Dir is where the private directories of running programs are made;
	// default: the system's directory for temporary files. At most 64 bytes,
	// because a unix socket's path has room for about 100.
	Dir string
	// StartTimeout bounds launch and handshake; default 10 s.
	StartTimeout time.Duration
	// StopTimeout is how long a program may take to exit once its data socket
	// ended, before it is killed; default 1 s.
	StopTimeout time.Duration
	// KillTimeout is how long a killed program may take to vanish: one that waits
	// for a broken disk cannot be killed. Close fails then; default 5 s.
	KillTimeout time.Duration
	// HangTimeout is how long a program may take to answer one batch, in real
	// time, before it is killed; default 10 s. A process is scheduled by the
	// system, so the budget of a batch (Limits.CPUMax) would kill healthy ones
	// on a busy machine.
	HangTimeout time.Duration
}

// Carrier opens modules as processes.
type Carrier struct {
	opts     Options
	programs programs
}

var _ module.Carrier = (*Carrier)(nil)

// New returns a carrier. It removes what hosts that were killed left behind.
func New(o Options) *Carrier {
	if o.Dir == "" {
		o.Dir = os.TempDir()
	}
	if o.StartTimeout <= 0 {
		o.StartTimeout = 10 * time.Second
	}
	if o.StopTimeout <= 0 {
		o.StopTimeout = time.Second
	}
	if o.KillTimeout <= 0 {
		o.KillTimeout = 5 * time.Second
	}
	if o.HangTimeout <= 0 {
		o.HangTimeout = 10 * time.Second
	}
	sweep(o.Dir)
	return &Carrier{opts: o}
}

// Open implements module.Carrier.
func (c *Carrier) Open(ctx context.Context, s module.Spec) (module.Instance, error) {
	in, err := c.open(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", s.Name, err)
	}
	return in, nil
}

func (c *Carrier) open(ctx context.Context, s module.Spec) (_ *instance, err error) {
	if err := checkLimits(s.Process); err != nil {
		return nil, err
	}
	dir, err := newPrivateDir(c.opts.Dir)
	if err != nil {
		return nil, err
	}
	in := newInstance(s, c.opts, dir)
	defer func() {
		if err != nil {
			in.Close()
			in.logs.flush()
			if last := in.logs.lastLine(); last != "" {
				err = fmt.Errorf("%w; the last thing it printed: %s", err, last)
			}
		}
	}()
	if in.prog, in.giveBack, err = c.programs.open(s.Artifact, s.Digest, dir.path); err != nil {
		return nil, err
	}
	socket := filepath.Join(dir.path, "data")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("cannot make its data socket: %w", err)
	}
	defer listener.Close()

	ctx, cancel := context.WithTimeoutCause(ctx, c.opts.StartTimeout, fmt.Errorf("it was not ready within %v", c.opts.StartTimeout))
	defer cancel()
	in.launch(socket)
	stop := context.AfterFunc(ctx, in.run.kill)
	defer stop()
	if err := in.handshake(ctx); err != nil {
		return nil, err
	}
	// It connects before it announces itself, so nothing is waited for here
	// unless it is broken.
	listener.SetDeadline(time.Now().Add(time.Second))
	conn, err := listener.AcceptUnix()
	if err != nil {
		return nil, fmt.Errorf("%s did not connect to the data socket it was given in %s: %w", s.Artifact, plugin.EnvDataSocket, err)
	}
	in.connect(conn)
	return in, nil
}

// launch prepares go-plugin's client and our runner; handshake starts them.
func (in *instance) launch(socket string) {
	env := append(cleanEnv(), plugin.EnvDataSocket+"="+socket, plugin.EnvModuleDir+"="+absolute(in.spec.Dir),
		goplugin.EnvUnixSocketDir+"="+in.dir.path, "TMPDIR="+in.dir.work)
	in.run = newRunner(in.prog, in.spec.Artifact, in.dir.work, in.logs.stdout)
	in.run.limits = in.spec.Process
	in.client = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  plugin.Handshake(),
		VersionedPlugins: map[int]goplugin.PluginSet{plugin.ProtocolVersion: {plugin.Dispense: &control{}}},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, _ string) (goplugrunner.Runner, error) {
			return in.run, in.run.prepare(append(cmd.Env, env...)) // ours win
		},
		SkipHostEnv:      true,
		StartTimeout:     2 * in.opts.StartTimeout, // ours comes first, with a better text
		Logger:           hclog.NewNullLogger(),
		Stderr:           in.logs.stderr,
		SyncStdout:       in.logs.syncStdout,
		SyncStderr:       in.logs.syncStderr,
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: in.dir.path},
	})
}

// handshake starts the program and checks that it is what module.toml says.
func (in *instance) handshake(ctx context.Context) error {
	rpc, err := in.client.Client()
	if err != nil {
		if why := in.run.fault(); why != nil {
			return why
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s was stopped before it was ready: %w", in.spec.Artifact, context.Cause(ctx))
		}
		// go-plugin kills what it cannot talk to: that end says nothing.
		if how := in.run.how(100 * time.Millisecond); how != "" && how != "signal: killed" {
			return fmt.Errorf("%s ended before it was ready (%s)", in.spec.Artifact, how)
		}
		return fmt.Errorf("%s did not start: %w", in.spec.Artifact, err)
	}
	raw, err := rpc.Dispense(plugin.Dispense)
	if err != nil {
		return fmt.Errorf("%s: %w", in.spec.Artifact, err)
	}
	d, err := raw.(*control).describe(ctx)
	if errors.Is(err, errNoDescribe) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s does not describe itself: %w", in.spec.Artifact, err)
	}
	return checkDescription(d, in.spec)
}
