package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nethost/sdk/client"
	v1 "nethost/sdk/client/nethostv1"
)

// moduleControlCommands are the verbs of `nethost module` that talk to a node.
func moduleControlCommands() []*cobra.Command {
	return []*cobra.Command{moduleReloadCommand(), moduleEnableCommand(), moduleDisableCommand(), moduleLogsCommand(), moduleTopCommand(), moduleShowCommand()}
}

// errNotTaken is what reload ends with when a module is not what its package says.
var errNotTaken = errors.New("not every module is what the plugin directory says")

func moduleReloadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "reload [NAME]", Short: "make the running modules what the plugin directory says, without a pause", Args: args(cobra.MaximumNArgs(1)),
		Long: `Reads the plugin directory of the running node. New packages are started, changed
ones take over from the version that runs, those that are gone finish. The version
that runs goes on until the new one has started, and for the streams it has until
they end; it is cut after 30 seconds. What cannot start leaves everything as it is.

With NAME, that module is loaded anew even if nothing changed, also when it was
disabled.`,
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		cfg, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		r, err := client.New(cfg.Socket).ReloadModules(cmd.Context(), strings.Join(a, ""))
		if err != nil {
			return err
		}
		failed := len(r.Rejected) > 0
		for _, c := range r.Changes {
			failed = failed || c.What == "failed"
		}
		if *asJSON {
			err = printProto(cmd, r)
		} else {
			var rows [][]string
			for _, c := range r.Changes {
				rows = append(rows, []string{c.Name, c.What, c.From, c.To, c.Error})
			}
			table(cmd.OutOrStdout(), "NAME WHAT FROM TO ERROR", rows)
			for _, s := range r.Rejected {
				fmt.Fprintf(cmd.OutOrStdout(), "refused %s\n", s)
			}
		}
		if err == nil && failed {
			err = errNotTaken
		}
		return err
	}
	return cmd
}

// moduleVerb is a verb that takes a module's name and says nothing on success.
func moduleVerb(use, short string, do func(ctx context.Context, c *client.Client, name string) error) *cobra.Command {
	cmd := &cobra.Command{Use: use + " NAME", Short: short, Args: args(cobra.ExactArgs(1))}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		cfg, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		if err := do(cmd.Context(), client.New(cfg.Socket), a[0]); err != nil || !*asJSON {
			return err
		}
		return printJSON(cmd.OutOrStdout(), map[string]string{"module": a[0], "done": use})
	}
	return cmd
}

func moduleEnableCommand() *cobra.Command {
	return moduleVerb("enable", "start a module that is in quarantine, failed or was disabled",
		func(ctx context.Context, c *client.Client, name string) error { return c.Enable(ctx, name) })
}

func moduleDisableCommand() *cobra.Command {
	return moduleVerb("disable", "make a module finish and keep it down until enable, also when the node starts again",
		func(ctx context.Context, c *client.Client, name string) error { return c.Disable(ctx, name) })
}

func moduleLogsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "logs NAME", Short: "the last lines of a module, and of its host about it", Args: args(cobra.ExactArgs(1))}
	follow := cmd.Flags().BoolP("follow", "f", false, "go on with those to come")
	asJSON := cmd.Flags().Bool("json", false, "print one JSON object a line")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		cfg, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		enc := json.NewEncoder(cmd.OutOrStdout())
		return client.New(cfg.Socket).ModuleLogs(cmd.Context(), a[0], *follow, func(l *v1.LogLine) error {
			at := time.Unix(0, l.UnixNs)
			if *asJSON {
				return enc.Encode(map[string]any{"seq": l.Seq, "at": at.UTC().Format(time.RFC3339Nano), "level": l.Level, "text": l.Text})
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s  %-5s %s\n", at.Format("15:04:05.000"), l.Level, l.Text)
			return err
		})
	}
	return cmd
}

func moduleTopCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "top", Short: "what each module costs: processor, memory, mailbox, drops, restarts", Args: args(cobra.NoArgs),
		Long: `Asks twice, --every apart, and shows what each module did in between; with --every 0
it asks once and shows the time since the node started. --follow goes on.

BUSY is the share of the time that it spent in its batches, by the clock. CPU/S is the
processor time it used in a second: by fuel for guests, by the system's count for
programs, - where its carrier does not meter it. DEBT is what it is over its soft budget
now: no batch of it starts before as much time has passed. MAILBOX is how many events
wait, and how many messages may; DROPPED the messages that found it full.`,
	}
	every := cmd.Flags().Duration("every", time.Second, "time between two looks")
	follow := cmd.Flags().BoolP("follow", "f", false, "show it again and again")
	asJSON := cmd.Flags().Bool("json", false, "print the node's figures as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		c := client.New(cfg.Socket)
		before := &v1.TopResponse{}
		for looks := 0; ; looks++ {
			now, err := c.Top(cmd.Context())
			if err != nil {
				return err
			}
			if looks > 0 || *every <= 0 || *asJSON {
				if *asJSON {
					err = printProto(cmd, now)
				} else {
					showTop(cmd.OutOrStdout(), before, now)
				}
				if err != nil || !*follow {
					return err
				}
			}
			before = now
			select {
			case <-cmd.Context().Done():
				return cmd.Context().Err()
			case <-time.After(max(*every, 50*time.Millisecond)):
			}
		}
	}
	return cmd
}

func showTop(w io.Writer, before, now *v1.TopResponse) {
	was := map[string]*v1.ModuleLoad{}
	for _, m := range before.Modules {
		was[m.Name+"\x00"+m.Release] = m
	}
	span := now.UptimeS - before.UptimeS
	var rows [][]string
	var notes []string
	for _, m := range now.Modules {
		b := was[m.Name+"\x00"+m.Release]
		if b == nil || b.BusyS > m.BusyS { // it is new, or another instance
			b = &v1.ModuleLoad{}
		}
		memory := ""
		if m.Memory > 0 {
			memory = size(m.Memory)
		}
		rows = append(rows, []string{m.Name, m.Release, m.State, fmt.Sprintf("%.1f%%", 100*(m.BusyS-b.BusyS)/span), cpuRate(b, m, span), debt(m), memory,
			fmt.Sprintf("%.0f", float64(m.Events-min(b.Events, m.Events))/span), fmt.Sprintf("%d/%d", m.Mailbox, m.MailboxMax),
			fmt.Sprint(m.Dropped), fmt.Sprint(m.Poisoned), fmt.Sprint(m.Restarts), fmt.Sprint(m.Finishing)})
		if m.Waiting != "" {
			notes = append(notes, fmt.Sprintf("%s: version %s needs approval, it asks for %s", m.Name, m.Waiting, strings.Join(m.Widens, ", ")))
		}
		if m.UpgradeError != "" {
			notes = append(notes, m.UpgradeError)
		}
	}
	table(w, "NAME RELEASE STATE BUSY CPU/S DEBT MEMORY EVENTS/S MAILBOX DROPPED POISON RESTARTS FINISHING", rows)
	for _, n := range notes {
		fmt.Fprintln(w, n)
	}
}

// cpuRate is the processor time that a module used in a second.
func cpuRate(before, now *v1.ModuleLoad, span float64) string {
	if !now.CpuKnown {
		return "-"
	}
	us := float64(now.CpuUs-min(before.CpuUs, now.CpuUs)) / span
	return time.Duration(us * float64(time.Microsecond)).Round(time.Microsecond).String()
}

func debt(m *v1.ModuleLoad) string {
	if !m.CpuKnown {
		return "-"
	}
	return (time.Duration(m.DebtUs) * time.Microsecond).String()
}

func drainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "drain", Short: "let the modules finish, say goodbye to the neighbours, and end the node", Args: args(cobra.NoArgs),
		Long: `New streams are refused with DRAINING. The node ends with 0 when every module has
said that it is done and its streams are closed, or after --within, when the rest
is cut. SIGTERM does the same within 2 seconds.`,
	}
	within := cmd.Flags().Duration("within", 30*time.Second, "cut what is not done by then")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		cut, err := client.New(cfg.Socket).Drain(cmd.Context(), *within)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), map[string]any{"cut": append([]string{}, cut...)})
		}
		for _, name := range cut {
			fmt.Fprintf(cmd.OutOrStdout(), "module %s did not finish in time and was cut\n", name)
		}
		return nil
	}
	return cmd
}
