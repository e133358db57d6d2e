package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"nethost/sdk"
	"nethost/sdk/client"
)

func callCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "call MODULE[.METHOD]",
		Short: "stream standard input to a module and its answer to standard output",
		Long: `Opens a stream to a module, here or on another node, sends it what --text says
or what comes on standard input, and prints what it answers. Both directions run
at once; any size passes in constant memory.

  nethost call echo --text hello
  nethost call --peer 7f3kq2xa hostinfo --text ''
  nethost call --peer 7f3kq2xa echo < FILE > OUT

MODULE is a module's name on this node, or an id such as 0x1001. --peer takes a
NodeID or the beginning of one that is known here.`,
		Args: args(cobra.ExactArgs(1)),
	}
	f := cmd.Flags()
	peer := f.String("peer", "", "node to call (default: this one)")
	text := f.String("text", "", "what to send instead of standard input")
	meta := f.String("meta", "", "call metadata, for the module alone")
	timeout := f.Duration("timeout", 0, "give up after this long (default: never)")
	progress := f.Bool("progress", false, "show progress on stderr even when it is no terminal")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		cfg, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		if *timeout < 0 {
			return usageError{fmt.Errorf("--timeout %v: want a duration above 0", *timeout)}
		}
		if id, _, _ := strings.Cut(a[0], "."); strings.HasPrefix(id, "0x") {
			if _, err := sdk.ParseID(id); err != nil {
				return usageError{err}
			}
		}
		c := client.New(cfg.Socket)
		node, err := findNode(cmd, c, *peer)
		if err != nil {
			return err
		}
		in := cmd.InOrStdin()
		if f.Changed("text") {
			in = strings.NewReader(*text)
		} else if file, ok := in.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
			in = strings.NewReader("") // nobody types a request by hand
		}
		s, err := c.Stream(cmd.Context(), client.Target{Node: node, Module: a[0], Meta: []byte(*meta), Timeout: *timeout})
		if err != nil {
			return err
		}
		defer s.Close()
		sent, received := &meter{}, &meter{}
		if *progress || isTerminal(cmd.ErrOrStderr()) && !isTerminal(cmd.OutOrStdout()) {
			stop := showProgress(cmd.ErrOrStderr(), sent, received)
			defer stop()
		}
		out := &lastByte{w: cmd.OutOrStdout()}
		err = pump(s, in, out, sent, received)
		if out.n > 0 && out.last != '\n' && isTerminal(cmd.OutOrStdout()) {
			fmt.Fprintln(cmd.OutOrStdout()) // so that the prompt stands on a line of its own
		}
		return err
	}
	return cmd
}

// lastByte remembers what was written last.
type lastByte struct {
	w    io.Writer
	n    int64
	last byte
}

func (l *lastByte) Write(p []byte) (int, error) {
	n, err := l.w.Write(p)
	if n > 0 {
		l.n, l.last = l.n+int64(n), p[n-1]
	}
	return n, err
}

// pump copies both ways until the far end is done.
func pump(s *client.Stream, in io.Reader, out io.Writer, sent, received *meter) error {
	readErr := make(chan error, 1)
	go func() {
		_, err := io.CopyBuffer(s, io.TeeReader(in, sent), make([]byte, 64<<10))
		if err != nil && !errors.Is(err, io.EOF) {
			readErr <- err
			s.Close()
			return
		}
		readErr <- nil
		_ = s.CloseWrite() // what went wrong, if anything, Read tells
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := s.Read(buf)
		if n > 0 {
			if _, werr := out.Write(buf[:n]); werr != nil {
				return werr
			}
			received.Write(buf[:n])
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			select {
			case rerr := <-readErr:
				if rerr != nil {
					return rerr
				}
			default:
			}
			return err
		}
	}
}

// findNode turns what the user typed into a whole NodeID: a NodeID, or the
// beginning of one that this node knows. "" stays "".
func findNode(cmd *cobra.Command, c *client.Client, s string) (string, error) {
	if s == "" || len(s) == sdk.NodeIDTextLen {
		if s != "" {
			if _, err := sdk.ParseNodeID(s); err != nil {
				return "", usageError{fmt.Errorf("--peer: %w", err)}
			}
		}
		return s, nil
	}
	known := map[string]bool{}
	status, err := c.Status(cmd.Context())
	if err != nil {
		return "", err
	}
	known[status.Node] = true
	peers, err := c.Peers(cmd.Context())
	if err != nil {
		return "", err
	}
	for _, p := range peers.Peers {
		known[p.Node] = true
	}
	routes, err := c.Routes(cmd.Context())
	if err != nil {
		return "", err
	}
	for _, r := range routes.Routes {
		known[r.Node] = true
	}
	var found []string
	for _, id := range slices.Sorted(maps.Keys(known)) {
		if strings.HasPrefix(id, s) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", fmt.Errorf("%w: no node known here begins with %q: `nethost routes` lists them, or give the whole NodeID", errNoNode, s)
	}
	return "", usageError{fmt.Errorf("--peer %s fits %d nodes: %s: give more of it", s, len(found), strings.Join(found, ", "))}
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
