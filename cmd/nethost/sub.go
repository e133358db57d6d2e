package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"nethost/sdk"
	"nethost/sdk/channel"
	"nethost/sdk/client"
	"nethost/sdk/name"
)

func subCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "sub PATTERN", Short: "print the events of channels",
		Long: `Prints the events of all channels that a pattern stands for, whichever nodes publish
them, until Ctrl-C. "*" stands for one part of a name, "**" at the end for all the rest.

  nethost sub sensors/temp
  nethost sub 'sensors/**' --json
  nethost sub jobs --group workers --max 10 --raw`, Args: args(cobra.ExactArgs(1))}
	f := cmd.Flags()
	asJSON := f.Bool("json", false, "print one JSON object a line")
	raw := f.Bool("raw", false, "print the data alone, with a line feed behind each event")
	count := f.Bool("count", false, "print how many came, at the end")
	var o client.SubscribeOptions
	f.StringVar(&o.Group, "group", "", "be a member of a queue group: each event goes to one of them")
	f.Uint64Var(&o.Max, "max", 0, "end after so many events (default: never)")
	within := f.Duration("within", 0, "end after this long; with --max it is a failure when fewer came")
	f.BoolVar(&o.Parents, "parents", false, "print which event each is an effect of, where its publisher says it")
	f.IntVar(&o.Ring, "ring", 0, "events that wait when they are not taken as fast as they come (default 4096)")
	tok := f.String("token", "", "token that permits it, or @FILE with one")
	cmd.MarkFlagsMutuallyExclusive("json", "raw", "count")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		cfg, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		if err := name.CheckPattern(a[0]); err != nil {
			return usageError{err}
		}
		if *within < 0 {
			return usageError{fmt.Errorf("--within %v: want a duration above 0", *within)}
		}
		if o.Token, err = tokenText(*tok); err != nil {
			return err
		}
		o.WaitS = within.Seconds()
		out, errOut := cmd.OutOrStdout(), cmd.ErrOrStderr()
		o.Notice = func(n channel.Notice) { showNotice(errOut, &n) }
		show := showEvent
		switch {
		case *asJSON:
			show = func(w io.Writer, e *channel.Event) error { return json.NewEncoder(w).Encode(channel.LineOf(e)) }
		case *raw:
			show = func(w io.Writer, e *channel.Event) error { _, err := w.Write(append(e.Data, '\n')); return err }
		case *count:
			show = func(io.Writer, *channel.Event) error { return nil }
		}
		n, missed, began := uint64(0), uint64(0), time.Now()
		for e, serr := range client.New(cfg.Socket).Subscribe(cmd.Context(), a[0], o) {
			if err = serr; err != nil {
				break
			}
			n, missed = n+1, missed+e.Missed
			if err = show(out, &e); err != nil {
				break
			}
		}
		if *count {
			fmt.Fprintf(out, "%d\n", n)
			fmt.Fprintf(errOut, "%d missed, %.1f s\n", missed, time.Since(began).Seconds())
		}
		if err == nil && n < o.Max && cmd.Context().Err() == nil {
			err = fmt.Errorf("%w: %d of %d events came within %v", errWaited, n, o.Max, *within)
		}
		return err
	}
	return cmd
}

func showEvent(w io.Writer, e *channel.Event) error {
	if e.Missed > 0 {
		if _, err := fmt.Fprintf(w, "%s %s: %d missed\n", e.Channel, e.Publisher.Short(), e.Missed); err != nil {
			return err
		}
	}
	cause := ""
	if e.Parent != nil {
		cause = fmt.Sprintf(" <- %s %s #%d", e.Parent.Channel, e.Parent.Publisher.Short(), e.Parent.Seq)
	}
	l := channel.LineOf(e)
	text := fmt.Sprintf("(%d bytes that are no text)", len(e.Data))
	if l.Text != nil {
		text = *l.Text
	}
	_, err := fmt.Fprintf(w, "%s %s #%d%s  %s\n", e.Channel, e.Publisher.Short(), e.Seq, cause, text)
	return err
}

// showNotice tells on standard error what is worth it.
func showNotice(w io.Writer, n *channel.Notice) {
	who := n.Publisher
	if len(who) == sdk.NodeIDTextLen {
		who = who[:8]
	}
	switch n.Notice {
	case "refused":
		fmt.Fprintf(w, "nethost: refused by %s: %s\n", who, n.Text)
	case "lost":
		fmt.Fprintf(w, "nethost: %s; trying again\n", n.Text)
	}
}
