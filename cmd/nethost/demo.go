package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func demoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "the main job: three nodes, three carriers, one relay that understands nothing",
		Long: `Starts A, B and two relays as processes on this machine. A and B know only the
relays. A talks to B's modules on three carriers through a relay that has no
module, then streams a real file through it and back while the relay is killed.

Everything it starts is stopped, everything it writes is in a temporary folder
that is removed. The last line is "demo ok" and the exit code 0, or neither.`,
		Args: args(cobra.NoArgs),
	}
	plugins := cmd.Flags().String("plugins", "", "built packages (default: plugins beside this binary)")
	file := cmd.Flags().String("file", "", "file to stream (default: a tar of Go's own source)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		exe, err := os.Executable()
		if err != nil {
			return err
		}
		if *plugins == "" {
			*plugins = filepath.Join(filepath.Dir(exe), "plugins")
		}
		if _, err := os.Stat(*plugins); err != nil {
			return fmt.Errorf("%s: no built packages there: run `make build` first, or name them with --plugins", *plugins)
		}
		// A short path: the sockets of the nodes must fit 107 bytes.
		dir, err := os.MkdirTemp("", "nhdemo")
		if err != nil {
			return err
		}
		d := &demo{exe: exe, dir: dir, plugins: *plugins, file: *file, out: cmd.OutOrStdout(), colour: isTerminal(cmd.OutOrStdout()), start: time.Now()}
		defer os.RemoveAll(dir)
		defer d.stopAll()
		if err := d.run(cmd.Context()); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		d.stopAll()
		fmt.Fprintln(d.out, "demo ok")
		return nil
	}
	return cmd
}

// demo runs nodes as a user would: through the binary, its flags and its output.
type demo struct {
	exe, dir, plugins, file string
	out                     io.Writer
	colour                  bool
	start                   time.Time
	env                     []string // added to that of the nodes
	nodes                   []*demoNode
}

// demoNode is one nethost process.
type demoNode struct {
	name, data, id, addr string
	cmd                  *exec.Cmd
	done                 chan struct{} // closed when the process ended
	log                  *os.File
}

func (d *demo) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	d.title("four nodes: A and B with modules, R and S as relays without any")
	for _, name := range []string{"R", "S", "A", "B"} {
		if err := d.make(ctx, name); err != nil {
			return err
		}
	}
	r, s, a, b := d.nodes[0], d.nodes[1], d.nodes[2], d.nodes[3]
	for _, n := range []*demoNode{r, s} {
		if err := d.launch(ctx, n, 0, 0); err != nil {
			return err
		}
		d.say("%s  %s  relay on %s, no modules", n.name, n.id[:8], n.addr)
	}
	relays := []string{"--peers", r.id + "@" + r.addr, "--peers", s.id + "@" + s.addr}
	grants := "[grants.counter]\nstate = \"1MiB\"\n"
	if err := d.configure(a, grants); err != nil {
		return err
	}
	if err := d.launch(ctx, a, 3, 2, append(relays, "--plugins", d.plugins)...); err != nil {
		return err
	}
	d.say("A  %s  knows R and S, not B", a.id[:8])
	for _, carrier := range []string{"process", "wasm", "builtin"} {
		if err := d.carrier(ctx, a, b, carrier, grants, relays); err != nil {
			return fmt.Errorf("echo as %s: %w", carrier, err)
		}
	}
	if err := d.vendors(ctx, a, b); err != nil {
		return err
	}
	return d.mainJob(ctx, a, b)
}

// carrier runs B with echo behind one carrier and lets A talk to it.
func (d *demo) carrier(ctx context.Context, a, b *demoNode, carrier, grants string, relays []string) error {
	d.title("echo on B as " + carrier + ": the same source, subprotocols/builtin/echo")
	d.stop(b)
	dir, extra := d.plugins, ""
	switch carrier {
	case "builtin":
		extra = "\n[module.echo]\ncarrier = \"builtin\"\n"
	case "process":
		var err error
		if dir, err = d.pluginsWithProcessEcho(); err != nil {
			return err
		}
	}
	if err := d.configure(b, grants+extra); err != nil {
		return err
	}
	if err := d.launch(ctx, b, 3, 2, append(relays, "--plugins", dir)...); err != nil {
		return err
	}
	text := "hello through a relay that cannot read, " + carrier
	answer, err := d.nethost(ctx, a, "call", "--peer", b.id, "--timeout", "20s", "echo", "--text", text)
	if err != nil {
		return err
	}
	if answer != text {
		return fmt.Errorf("B answered %q, want %q", answer, text)
	}
	d.say("A> call echo: %q", answer)
	for _, at := range []*demoNode{a, b} {
		table, err := d.nethost(ctx, at, "sessions")
		if err != nil {
			return err
		}
		other := map[*demoNode]*demoNode{a: b, b: a}[at]
		d.say("negotiated, as %s sees it:", at.name)
		d.lines(keepLines(table, other.id[:8]))
	}
	return nil
}

// vendors calls the two modules that exist on one carrier only.
func (d *demo) vendors(ctx context.Context, a, b *demoNode) error {
	d.title("vendor protocols: counter (0x1001) exists only as wasm, hostinfo (0x1002) only as a process")
	for _, step := range [][]string{{"counter.add", "40"}, {"counter.add", "2"}, {"hostinfo", ""}} {
		answer, err := d.nethost(ctx, a, "call", "--peer", b.id, "--timeout", "20s", step[0], "--text", step[1])
		if err != nil {
			return fmt.Errorf("%s: %w", step[0], err)
		}
		d.say("A> call %s %s: %s", step[0], step[1], strings.TrimSpace(answer))
	}
	return nil
}

// pluginsWithProcessEcho makes a plugin directory in which echo is the program.
func (d *demo) pluginsWithProcessEcho() (string, error) {
	dir := filepath.Join(d.dir, "plugins")
	for name, from := range map[string]string{"counter": d.plugins, "hostinfo": d.plugins, "echo": d.plugins + "-process"} {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(from, name))); err != nil {
			return "", err
		}
	}
	return dir, nil
}

func (d *demo) title(s string) {
	if d.colour {
		s = "\x1b[1m" + s + "\x1b[0m"
	}
	fmt.Fprintf(d.out, "\n[%5.1fs] %s\n", time.Since(d.start).Seconds(), s)
}

func (d *demo) say(format string, a ...any) { fmt.Fprintf(d.out, "         "+format+"\n", a...) }

func (d *demo) lines(s string) {
	for line := range strings.Lines(s) {
		d.say("  %s", strings.TrimRight(line, "\n"))
	}
}

// keepLines keeps the head of a table and the rows that begin with prefix.
func keepLines(table, prefix string) string {
	var b strings.Builder
	for line := range strings.Lines(table) {
		if b.Len() == 0 || strings.HasPrefix(line, prefix) {
			b.WriteString(line)
		}
	}
	return b.String()
}
