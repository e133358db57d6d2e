package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nethost/host/dirwatch"
	"nethost/host/module"
	"nethost/host/module/wasm"
	"nethost/sdk"
	"nethost/sdk/client"
)

const (
	// devQuiet is how long a project must be left alone before it is built: a save
	// may be several files.
	devQuiet = 200 * time.Millisecond
	// devReady is how long the two nodes may take to agree about the module.
	devReady = 15 * time.Second
	// devAnswer is how long a call may take.
	devAnswer = 10 * time.Second
)

func moduleDevCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dev [DIR]",
		Short: "run the project between two nodes, anew after every save, and show all it sees and does",
		Long: `Builds the project in DIR (default: here), runs it on two nodes, A and B, that are in
this process and connected over loopback, and prints a line for each event the module
gets (<-) and each effect it writes (->) on either: seconds since the start, node, kind,
far end, stream, method, length and first bytes. The event Flush, which ends every
batch, is left out.

When a file of the project or of one of its folders is saved, it is built again and
takes over on both nodes without a pause; its state stays. What does not build or start
is shown, and the version before goes on. The module is given every grant that its
module.toml asks for. State and nodes are gone when the command ends.

--call calls the module of B from A, at the start and after every reload. Lines on
standard input do the same:

  call METHOD [TEXT]    METHOD is a name, - for the default one, or 0xF124.NAME for
                        another subprotocol of the module
  reload                build and take over even if nothing changed
  quit                  end, as Ctrl-C does`,
		Args: args(cobra.MaximumNArgs(1)),
	}
	f := cmd.Flags()
	once := f.Bool("once", false, "build, start, make the call, and end: with 0 if all went well")
	method := f.String("call", "", "method of B's module to call from A, - for the default one")
	text := f.String("text", "", "what to send with --call")
	asJSON := f.Bool("json", false, "print JSON, one line for each event and effect and whatever else happens")
	f.StringArray("set", nil, "value of a key of the module's [config], as KEY=VALUE; may be repeated")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		dir := strings.Join(a, "")
		if dir == "" {
			dir = "."
		}
		given, err := setValues(cmd)
		if err != nil {
			return err
		}
		if *method == "" && f.Changed("text") {
			return usageError{errors.New("--text goes with --call METHOD, - for the default one")}
		}
		d, err := openDev(dir, given, newDevPrinter(cmd.OutOrStdout(), cmd.ErrOrStderr(), *asJSON))
		if err != nil {
			return err
		}
		if d.once = *once; *method != "" {
			d.calls = append(d.calls, devCall{*method, *text})
		}
		return d.run(cmd.Context(), cmd.InOrStdin())
	}
	return cmd
}

// devCall is a call of B's module from A.
type devCall struct{ method, text string }

// dev is a project, and the nodes that run it.
type dev struct {
	dir   string
	tmp   string
	set   map[string]any
	calls []devCall // after every reload
	out   *devPrinter
	a, b  *devNode
	once  bool

	guests *wasm.Carrier
	builds int // so far
	last   devBuild
}

// openDev makes the two nodes, without a module.
func openDev(dir string, set map[string]any, out *devPrinter) (*dev, error) {
	if _, err := os.Stat(filepath.Join(dir, module.ManifestName)); err != nil {
		return nil, fmt.Errorf("%w: a module's folder has a module.toml; `nethost module new` writes one", err)
	}
	tmp, err := os.MkdirTemp("", "nethost-dev-")
	if err != nil {
		return nil, err
	}
	d := &dev{dir: dir, tmp: tmp, set: set, out: out}
	if d.guests, err = wasm.New(filepath.Join(tmp, "cache")); err == nil {
		d.a, d.b, err = openDevNodes(tmp, d.guests, out)
	}
	if err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *dev) close() {
	if d.guests != nil {
		_ = d.guests.Close()
	}
	_ = os.RemoveAll(d.tmp)
}

// run works until ctx ends, or with once until the calls are made.
func (d *dev) run(ctx context.Context, in io.Reader) error {
	defer d.close()
	ctx, cancel := context.WithCancel(ctx)
	failed := make(chan error, 2)
	for _, n := range []*devNode{d.a, d.b} {
		go func() { failed <- n.serve(ctx) }()
	}
	defer func() {
		cancel()
		<-d.a.done
		<-d.b.done
	}()
	if d.once {
		return endOf(ctx, d.renew(ctx, false))
	}
	saved, lines := make(chan struct{}, 1), make(chan string)
	go d.watch(ctx, saved) // before the first build, so that no save is missed
	_ = d.renew(ctx, false)
	go readLines(ctx, in, lines)
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return endOf(ctx, err)
		case <-saved:
			_ = d.renew(ctx, false) // it was shown
		case line := <-lines:
			if d.command(ctx, line) {
				return nil
			}
		}
	}
}

// endOf is what the command ends with: an interrupt is its usual end.
func endOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// watch puts a token into saved when the project changed.
func (d *dev) watch(ctx context.Context, saved chan<- struct{}) {
	err := dirwatch.Watch(ctx, d.dir, devQuiet, func() {
		select {
		case saved <- struct{}{}:
		default: // there is one already
		}
	})
	if err != nil {
		d.out.note("watch-failed", "", fmt.Sprintf("changes are not noticed: type reload after a save: %v", err))
	}
}

// readLines hands over what is typed. At the end of the input it ends: nobody types,
// and the nodes go on.
func readLines(ctx context.Context, in io.Reader, lines chan<- string) {
	for s := bufio.NewScanner(in); s.Scan(); {
		select {
		case lines <- s.Text():
		case <-ctx.Done():
			return
		}
	}
}

// command does what a line says; true ends.
func (d *dev) command(ctx context.Context, line string) (quit bool) {
	verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	switch verb {
	case "":
	case "quit", "exit":
		return true
	case "reload":
		_ = d.renew(ctx, true)
	case "call":
		method, text, _ := strings.Cut(strings.TrimSpace(rest), " ")
		if method == "" {
			method = "-"
		}
		_ = d.call(ctx, devCall{method, text})
	default:
		d.out.note("unknown-line", "", fmt.Sprintf("%q: want call METHOD [TEXT], reload or quit", line))
	}
	return false
}

// renew reloads, and makes the calls when another version serves now.
func (d *dev) renew(ctx context.Context, force bool) error {
	changed, err := d.reload(ctx, force)
	if err != nil || !changed {
		return err
	}
	var first error
	for _, c := range d.calls {
		if err := d.call(ctx, c); first == nil {
			first = err
		}
	}
	return first
}

// call makes a call from A to B and shows what came of it.
func (d *dev) call(ctx context.Context, c devCall) error {
	began := time.Now()
	answer, err := d.ask(ctx, c)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	d.out.answer(c, answer, err, time.Since(began))
	return err
}

func (d *dev) ask(ctx context.Context, c devCall) ([]byte, error) {
	if !d.last.serves {
		return nil, errors.New("no version of the module serves yet")
	}
	id, method, err := d.last.target(c.method)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, devAnswer)
	defer cancel()
	answer, err := d.a.call(ctx, d.b.Self(), id, method, []byte(c.text))
	if errors.Is(err, context.DeadlineExceeded) {
		err = &client.Error{Code: sdk.DeadlineExceeded, Text: fmt.Sprintf("no answer within %v: does the module end its side of the stream (FIN)?", devAnswer)}
	}
	return answer, err
}
