// Command nethost runs a node of the mesh and talks to one.
//
// One file per verb. run.go is the only file of the project that sees every
// room of the house; config.go and layers.go are the only door to koanf.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"nethost/host/invite"
	"nethost/sdk"
	"nethost/sdk/client"
)

// Exit codes, also told by `nethost help exit-codes`.
const (
	exitOK      = 0
	exitFailed  = 1 // something went wrong
	exitUsage   = 2 // wrong flags or configuration
	exitNoRoute = 3 // the node was not found or not reached
	exitRefused = 4 // the node or module refused
	exitTimeout = 5 // the time ran out
	exitNotHere = 6 // no nethost is running here
)

const exitCodesHelp = `nethost ends with one of these codes:

  0  done
  1  failed: the message on stderr says what and how to mend it
  2  wrong flags, arguments or configuration
  3  the node was not found, or no path to it exists
  4  the node or its module refused: not agreed, not granted, overloaded
  5  the time ran out
  6  no nethost is running here`

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is main without the process around it.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := rootCommand()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = errInterrupted
	}
	if err != nil {
		fmt.Fprintf(errOut, "nethost: %v\n", err)
	}
	return exitCode(err)
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "nethost",
		Short: "an encrypted-mesh host that runs protocols as modules",
		Long: `nethost is a small encrypted-mesh host: transport, routing, failure detection
and opaque forwarding. Every protocol above that is a module from a plugin
directory. Relays forward what they have never heard of and cannot read.

  nethost init            make an identity, a network key and a config
  nethost run             run a node
  nethost call echo       talk to a module`,
		SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args:              cobra.ArbitraryArgs,
	}
	root.SuggestionsMinimumDistance = 2
	root.RunE = group
	addConfigFlags(root.PersistentFlags())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w: see `%s --help`", err, cmd.CommandPath())}
	})
	root.AddCommand(initCommand(), runCommand(), demoCommand(), statusCommand(), peersCommand(), routesCommand(),
		sessionsCommand(), modulesCommand(), callCommand(), watchCommand(), benchCommand(), impairCommand(), moduleCommand(), versionCommand(),
		&cobra.Command{Use: "exit-codes", Short: "what the exit codes mean", Long: exitCodesHelp})
	root.AddCommand(peerCommand(), killSwitchCommand(), relayCommand(), networkCommand())
	root.AddCommand(traceCommand(), doctorCommand(), reloadCommand(), configCommand())
	root.AddCommand(inviteCommand(), joinCommand())
	root.AddCommand(capCommand())
	root.AddCommand(tokenCommand())
	root.AddCommand(drainCommand())
	root.AddCommand(pubCommand(), subCommand(), channelCommand())
	return root
}

// group is what a command does that has verbs and is none itself.
func group(cmd *cobra.Command, a []string) error {
	if len(a) == 0 {
		return cmd.Help()
	}
	hint := ""
	if near := cmd.SuggestionsFor(a[0]); len(near) > 0 {
		hint = ": did you mean " + strings.Join(near, " or ") + "?"
	}
	return usageError{fmt.Errorf("no verb %q%s: `%s --help` lists them", a[0], hint, cmd.CommandPath())}
}

// usageError is a mistake in flags, arguments or configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// args wraps an argument check so that its failure counts as a usage error.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, a []string) error {
		if err := check(cmd, a); err != nil {
			return usageError{fmt.Errorf("%w: see `%s --help`", err, cmd.CommandPath())}
		}
		return nil
	}
}

func exitCode(err error) int {
	var usage usageError
	var refused refusedError
	var e *client.Error
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &refused):
		return exitRefused
	case errors.Is(err, client.ErrNotRunning):
		return exitNotHere
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, errWaited):
		return exitTimeout
	case errors.Is(err, invite.ErrRefused):
		return exitRefused
	case errors.Is(err, errNoNode), errors.Is(err, invite.ErrNoAnswer):
		return exitNoRoute
	case errors.As(err, &e):
		switch e.Code {
		case sdk.NoRoute, sdk.PeerGone, sdk.HandshakeFailed:
			return exitNoRoute
		case sdk.DeadlineExceeded:
			return exitTimeout
		case sdk.UnsupportedID, sdk.PermissionDenied, sdk.Overloaded, sdk.Unimplemented, sdk.Draining:
			return exitRefused
		}
	}
	return exitFailed
}

var (
	errWaited      = errors.New("gave up waiting")
	errNoNode      = errors.New("no such node")
	errInterrupted = errors.New("interrupted")
)

// printJSON writes v as one indented JSON document.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// poll calls try every 20 ms until it reports true, or the wait is over.
func poll(ctx context.Context, wait time.Duration, what string, try func() bool) error {
	deadline := time.After(wait)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !try() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline:
			return fmt.Errorf("%w until %s after %v", errWaited, what, wait)
		case <-tick.C:
		}
	}
	return nil
}
