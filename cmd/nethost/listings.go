package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"nethost/sdk/client"
	v1 "nethost/sdk/client/nethostv1"
)

// listing is a verb that asks the node one question and shows the answer.
type listing struct {
	use, short string
	ask        func(ctx context.Context, c *client.Client) (proto.Message, error)
	show       func(w io.Writer, m proto.Message)
	ready      func(m proto.Message, n int) bool               // for --wait N; nil: the answer itself
	wait       string                                          // what --wait waits for
	json       func(cmd *cobra.Command, m proto.Message) error // nil: the message as it is
}

func (l listing) command() *cobra.Command {
	cmd := &cobra.Command{Use: l.use, Short: l.short, Args: args(cobra.NoArgs)}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	wait := cmd.Flags().Uint("wait", 0, "wait until "+l.wait)
	within := cmd.Flags().Duration("within", 10*time.Second, "how long --wait waits")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		c, ctx := client.New(cfg.Socket), cmd.Context()
		m, err := l.ask(ctx, c)
		if cmd.Flags().Changed("wait") {
			if werr := poll(ctx, *within, l.wait, func() bool {
				m, err = l.ask(ctx, c)
				return err == nil && (l.ready == nil || l.ready(m, int(*wait)))
			}); werr != nil {
				if err != nil {
					werr = fmt.Errorf("%w: %s", werr, err) // the code is that of the wait
				}
				return werr
			}
		}
		if err != nil {
			return err
		}
		if *asJSON {
			if l.json != nil {
				return l.json(cmd, m)
			}
			return printProto(cmd, m)
		}
		l.show(cmd.OutOrStdout(), m)
		return nil
	}
	return cmd
}

// printProto writes a message as one indented JSON document.
func printProto(cmd *cobra.Command, m proto.Message) error {
	b, err := protojson.MarshalOptions{Multiline: true, EmitUnpopulated: true, UseProtoNames: true}.Marshal(m)
	if err == nil {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", b)
	}
	return err
}

// table prints rows under a head, columns aligned.
func table(w io.Writer, head string, rows [][]string) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, strings.ReplaceAll(head, " ", "\t"))
	for _, r := range rows {
		for i, cell := range r {
			if cell == "" {
				r[i] = "-"
			}
		}
		fmt.Fprintln(tw, strings.Join(r, "\t"))
	}
	tw.Flush()
}

func short(id string) string { return id[:min(8, len(id))] }

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

func milliseconds(ms float64) string {
	if ms == 0 {
		return ""
	}
	return fmt.Sprintf("%.2fms", ms)
}

// size writes a number of bytes for people.
func size(n uint64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1fGiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1fMiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1fKiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%dB", n)
}

func statusCommand() *cobra.Command {
	var modules *v1.ModulesResponse // as they were just before
	return listing{use: "status", short: "who this node is and how it is", wait: "the node answers",
		ask: func(ctx context.Context, c *client.Client) (proto.Message, error) {
			var err error
			if modules, err = c.Modules(ctx); err != nil {
				return nil, err
			}
			return c.Status(ctx)
		},
		show: func(w io.Writer, m proto.Message) {
			s := m.(*v1.StatusResponse)
			if s.GetSwarm().GetTwin() {
				fmt.Fprintln(w, twinText)
			}
			if s.KillSwitch {
				fmt.Fprintln(w, "KILL-SWITCH ON: this node relays and serves nothing; `nethost kill-switch off` ends that")
			}
			tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
			row := func(k string, v any) { fmt.Fprintf(tw, "%s\t%v\n", k, v) }
			row("node", s.Node)
			row("version", s.Version)
			row("listen", s.Listen)
			row("uptime", seconds(s.UptimeS))
			row("incarnation", s.Incarnation)
			row("relay", map[bool]string{true: "yes", false: "no"}[s.Relay])
			if s.OpenNetwork {
				row("network", "OPEN: the network key is published, anybody may join")
			}
			if x := s.Swarm; x != nil {
				row("liveness", livenessText(x))
			}
			row("peers", s.Peers)
			row("routes", s.Routes)
			row("modules", fmt.Sprintf("%d ready of %d", s.ModulesReady, s.Modules))
			for _, x := range modules.Modules {
				state := x.State
				if x.LastError != "" && x.State != "ready" {
					state += ": " + x.LastError
				}
				row("module "+x.Name, state)
			}
			row("packets", fmt.Sprintf("%d in, %d out", s.PacketsIn, s.PacketsOut))
			if l := s.Link; l != nil {
				row("link", linkText(l))
				if l.Overflows > 0 {
					row("overflows", fmt.Sprintf("%d datagrams came faster than they were read", l.Overflows))
				}
			}
			row("forwarded", fmt.Sprintf("%d packets, %s", s.Forwarded, size(s.ForwardedBytes)))
			row("delivered", fmt.Sprintf("%d messages", s.Delivered))
			for _, d := range s.Dials {
				if d.Error != "" {
					row("dial "+d.Addr, d.Error)
				}
			}
			for _, k := range sortedNames(s.Drops) {
				row("dropped "+k, s.Drops[k])
			}
			tw.Flush()
		}}.command()
}

// twinText is loud, because traffic goes now here, now there.
const twinText = "TWO NODES WITH ONE IDENTITY: another node runs under this node's key; stop one of them, and give it an identity of its own (nethost init)"

// livenessText says how soon a neighbour is given up.
func livenessText(x *v1.Swarm) string {
	s := fmt.Sprintf("%s: dead after %.0fms", x.Profile, x.DeadAfterMs)
	if x.HealthFactor > 1 {
		s += fmt.Sprintf(", times %d because this node is not well itself", x.HealthFactor)
	}
	if x.Suspects > 0 {
		s += fmt.Sprintf("; %d of %d neighbours suspect", x.Suspects, x.Neighbors)
	}
	return s
}

// linkText says how datagrams pass the system, and how many at a time.
func linkText(l *v1.Link) string {
	s := l.Mode
	if l.ReadCalls > 0 && l.WriteCalls > 0 {
		s += fmt.Sprintf(", %.1f datagrams a read, %.1f a write", float64(l.DatagramsIn)/float64(l.ReadCalls), float64(l.DatagramsOut)/float64(l.WriteCalls))
	}
	if l.Note != "" {
		s += ": " + l.Note
	}
	return s
}

func peersCommand() *cobra.Command {
	l := &peersListing{}
	return listing{use: "peers", short: "the nodes with a session, and how well they are reached", wait: "there are that many peers",
		ask: l.ask, show: l.show, json: l.json,
		ready: func(m proto.Message, n int) bool { return len(m.(*v1.PeersResponse).Peers) >= n }}.command()
}

func routesCommand() *cobra.Command {
	return listing{use: "routes", short: "the destinations known, and through whom", wait: "there are that many routes",
		ask:   func(ctx context.Context, c *client.Client) (proto.Message, error) { return c.Routes(ctx) },
		ready: func(m proto.Message, n int) bool { return len(m.(*v1.RoutesResponse).Routes) >= n },
		show: func(w io.Writer, m proto.Message) {
			var rows [][]string
			for _, r := range m.(*v1.RoutesResponse).Routes {
				var alts []string
				for _, a := range r.Alternates {
					alts = append(alts, short(a))
				}
				rows = append(rows, []string{short(r.Node), short(r.Via), fmt.Sprint(r.Hops), fmt.Sprintf("%dus", r.MetricUs),
					fmt.Sprint(r.Mtu), strings.Join(alts, ","), seconds(r.AgeS), r.Why})
			}
			table(w, "NODE VIA HOPS METRIC MTU ALTERNATES AGE WHY", rows)
		}}.command()
}

func sessionsCommand() *cobra.Command {
	return listing{use: "sessions", short: "what was agreed with each peer, or why not", wait: "that many sessions are agreed",
		ask: func(ctx context.Context, c *client.Client) (proto.Message, error) { return c.Sessions(ctx) },
		ready: func(m proto.Message, n int) bool {
			agreed := 0
			for _, s := range m.(*v1.SessionsResponse).Sessions {
				if s.Agreed {
					agreed++
				}
			}
			return agreed >= n
		},
		show: func(w io.Writer, m proto.Message) {
			var rows [][]string
			for _, s := range m.(*v1.SessionsResponse).Sessions {
				if len(s.Ids) == 0 {
					rows = append(rows, []string{short(s.Node), "", "", "", "", "", "", map[bool]string{true: "neither side has modules", false: "manifests have not met"}[s.Agreed]})
				}
				for _, a := range s.Ids {
					rows = append(rows, []string{short(s.Node), a.Id, a.Module, a.Carrier, a.Ours, a.Theirs, a.Effective, a.Why})
				}
			}
			table(w, "NODE ID MODULE CARRIER OURS THEIRS EFFECTIVE WHY-NOT", rows)
		}}.command()
}

func modulesCommand() *cobra.Command {
	return listing{use: "modules", short: "the modules of this node, those refused included", wait: "that many modules are ready",
		ask: func(ctx context.Context, c *client.Client) (proto.Message, error) { return c.Modules(ctx) },
		ready: func(m proto.Message, n int) bool {
			ready := 0
			for _, x := range m.(*v1.ModulesResponse).Modules {
				if x.State == "ready" {
					ready++
				}
			}
			return ready >= n
		},
		show: func(w io.Writer, m proto.Message) {
			r := m.(*v1.ModulesResponse)
			var rows [][]string
			for _, x := range r.Modules {
				rows = append(rows, []string{x.Name, x.Release, x.Carrier, strings.Join(x.Ids, ","), x.State, fmt.Sprint(x.Restarts),
					fmt.Sprint(x.Events), fmt.Sprint(x.Denied), fmt.Sprint(x.Dropped), strings.Join(x.Grants, ","), shortPublisher(x.Publisher), x.LastError})
			}
			table(w, "NAME RELEASE CARRIER IDS STATE RESTARTS EVENTS DENIED DROPPED GRANTS PUBLISHER LAST-ERROR", rows)
			for _, x := range r.Rejected {
				where := x.File
				if x.Line > 0 {
					where = fmt.Sprintf("%s:%d", x.File, x.Line)
				}
				fmt.Fprintf(w, "refused %s: %s\n", where, x.Reason)
			}
		}}.command()
}

func sortedNames(m map[string]uint64) []string {
	var names []string
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}
