package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"nethost/sdk"
	"nethost/sdk/client"
	"nethost/sdk/name"
)

// chanPolicy is a policy in an answer of the module channels.
type chanPolicy struct {
	Pattern    string   `json:"pattern"`
	Reliable   bool     `json:"reliable"`
	Retain     int      `json:"retain"`
	RetainS    float64  `json:"retain_s"`
	Rate       float64  `json:"rate"`
	Priority   int      `json:"priority"`
	Slow       string   `json:"slow"`
	Ring       int      `json:"ring"`
	Access     string   `json:"access"`
	Visibility string   `json:"visibility"`
	Roots      []string `json:"roots"`
}

type chanLine struct {
	Channel     string     `json:"channel"`
	Seq         uint64     `json:"seq"`
	Publishers  int        `json:"publishers"`
	Subscribers int        `json:"subscribers"`
	Retained    int        `json:"retained"`
	Policy      chanPolicy `json:"policy"`
}

func channelCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "channel", Short: "channels of this node and of the mesh", Args: cobra.ArbitraryArgs, RunE: group,
		Long: `Lists channels, shows who takes part, and sets what holds for them at this node: as
their publisher and as their subscriber.

  nethost channel policy 'sensors/**' --retain 100 --rate 1000
  nethost channel policy secrets --access token --root NODE
  nethost pub NAME, nethost sub PATTERN   take part`}
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(channelList(), channelShow(), channelRoster(), channelPolicy())
	return cmd
}

func columns(w io.Writer, show func(io.Writer)) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	show(tw)
	return tw.Flush()
}

func channelList() *cobra.Command {
	cmd := &cobra.Command{Use: "ls", Short: "channels that are published here, and on other nodes", Args: args(cobra.NoArgs)}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		c := client.New(cfg.Socket)
		b, err := c.Call(cmd.Context(), client.Target{Module: "channels.ls"}, nil)
		if err != nil {
			return err
		}
		var l struct {
			Channels      []chanLine        `json:"channels"`
			Subscriptions []json.RawMessage `json:"subscriptions"`
			Publishers    []json.RawMessage `json:"publishers"`
			Remote        []remoteChannel   `json:"remote"`
		}
		if err := json.Unmarshal(b, &l); err != nil {
			return err
		}
		if l.Remote, err = remoteChannels(cmd, c); err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), l)
		}
		return columns(cmd.OutOrStdout(), func(w io.Writer) {
			fmt.Fprintln(w, "CHANNEL\tNODE\tEVENTS\tSUBSCRIBERS\tPOLICY")
			for _, t := range l.Channels {
				fmt.Fprintf(w, "%s\tself\t%d\t%d\t%s\n", t.Channel, t.Seq, t.Subscribers, t.Policy.short())
			}
			for _, r := range l.Remote {
				fmt.Fprintf(w, "%s\t%s\t-\t-\t-\n", r.Channel, r.Node[:8])
			}
		})
	}
	return cmd
}

// remoteChannel is what another node announces. A channel that ends with "/**"
// stands for more than the node has room to announce.
type remoteChannel struct {
	Channel string `json:"channel"`
	Node    string `json:"node"`
}

func remoteChannels(cmd *cobra.Command, c *client.Client) ([]remoteChannel, error) {
	out := []remoteChannel{}
	b, err := c.Call(cmd.Context(), client.Target{Module: "capability.find"}, []byte(`{"query":"chan:*"}`))
	var e *client.Error
	if errors.As(err, &e) && e.Code == sdk.NotFound {
		return out, nil // without capability nothing is known of others
	}
	if err != nil {
		return nil, err
	}
	var a capAnswer
	if err := json.Unmarshal(b, &a); err != nil {
		return nil, err
	}
	for _, n := range a.Nodes {
		for _, t := range n.Tags {
			ch, ok := strings.CutPrefix(t, "chan:")
			if n.Self || !ok {
				continue
			}
			if head, below := strings.CutSuffix(ch, "=below"); below {
				ch = strings.TrimPrefix(head+"/**", "/")
			}
			out = append(out, remoteChannel{ch, n.Node})
		}
	}
	slices.SortFunc(out, func(a, b remoteChannel) int { return strings.Compare(a.Channel+a.Node, b.Channel+b.Node) })
	return out, nil
}

// short says how a policy differs from the usual one.
func (p *chanPolicy) short() string {
	var s []string
	add := func(is bool, format string, a ...any) {
		if is {
			s = append(s, fmt.Sprintf(format, a...))
		}
	}
	add(!p.Reliable, "unreliable")
	add(p.Retain > 0, "retain %d", p.Retain)
	add(p.RetainS > 0, "retain %gs", p.RetainS)
	add(p.Rate > 0, "rate %g/s", p.Rate)
	add(p.Priority > 0, "priority %d", p.Priority)
	add(p.Slow != "drop", "slow %s", p.Slow)
	add(p.Access == "token", "token of %d roots", len(p.Roots))
	add(p.Visibility != "global", "%s", p.Visibility)
	if s == nil {
		return "open, reliable"
	}
	return strings.Join(s, ", ")
}

func channelShow() *cobra.Command {
	cmd := &cobra.Command{Use: "show NAME", Short: "a channel that is published here", Args: args(cobra.ExactArgs(1))}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		return ask(cmd, *asJSON, "channels.show", map[string]string{"channel": a[0]}, func(w io.Writer, b []byte) error {
			var t chanLine
			if err := json.Unmarshal(b, &t); err != nil {
				return err
			}
			_, err := fmt.Fprintf(w, "channel      %s\nevents       %d, %d retained\npublishers   %d here\nsubscribers  %d\npolicy       %s (of %q)\n",
				t.Channel, t.Seq, t.Retained, t.Publishers, t.Subscribers, t.Policy.short(), t.Policy.Pattern)
			return err
		})
	}
	return cmd
}

func channelRoster() *cobra.Command {
	cmd := &cobra.Command{Use: "roster [PATTERN]", Short: "who gets the events of channels that are published here", Args: args(cobra.MaximumNArgs(1))}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		return ask(cmd, *asJSON, "channels.roster", map[string]string{"channel": strings.Join(a, "")}, func(w io.Writer, b []byte) error {
			var r struct {
				Members []struct {
					Channel, Node string
					Local         bool
					Groups        []string
					All, Waiting  int
					Dropped       uint64
					Token, Held   bool
				}
			}
			if err := json.Unmarshal(b, &r); err != nil {
				return err
			}
			return columns(w, func(w io.Writer) {
				fmt.Fprintln(w, "CHANNEL\tNODE\tGETS\tWAITING\tDROPPED\tBY")
				for _, m := range r.Members {
					node, gets, by := m.Node[:8], strings.Join(m.Groups, " "), "open"
					if m.Local {
						node = "self"
					}
					if m.All > 0 {
						gets = strings.TrimSpace("all " + gets)
					}
					if m.Token {
						by = "token"
					}
					if m.Held {
						by = "token, held"
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\n", m.Channel, node, gets, m.Waiting, m.Dropped, by)
				}
			})
		})
	}
	return cmd
}

func channelPolicy() *cobra.Command {
	cmd := &cobra.Command{Use: "policy [PATTERN]", Short: "show what holds for channels at this node, or change it",
		Long: `Without flags shows the policy of a pattern, or all of them. With flags changes it, at
once; what no flag names stays as it is. The most specific pattern holds, alone. It
holds for what this node publishes and for what it takes from others: with
--access token the events of a publisher without a token of one of the roots are
refused here as well.`, Args: args(cobra.MaximumNArgs(1))}
	f := cmd.Flags()
	asJSON := f.Bool("json", false, "print JSON")
	remove := f.Bool("rm", false, "take the policy of this pattern away")
	f.Bool("reliable", true, "in order and without loss on the way; =false: one message each")
	f.Int("retain", 0, "keep the last so many events for who joins late")
	f.Float64("retain-s", 0, "keep the events of the last so many seconds for who joins late")
	f.Float64("rate", 0, "at most so many events a second; publishers wait (0: no bound)")
	f.Int("priority", 0, "0 to 7: what waits for one node goes in this order")
	f.String("slow", "drop", "a subscriber that does not keep up: drop its oldest events, disconnect it, or have publishers wait")
	f.Int("ring", 4096, "events that wait for a node")
	f.String("access", "open", "open, or token")
	f.StringSlice("root", nil, "NodeID whose tokens are good; may be given 64 times")
	f.String("visibility", "global", "global, or local: no other node hears of it")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		pattern := strings.Join(a, "")
		if pattern != "" {
			if err := name.CheckPattern(pattern); err != nil {
				return usageError{err}
			}
		}
		changes := map[string]any{}
		for _, key := range []string{"reliable", "retain", "retain-s", "rate", "priority", "slow", "ring", "access", "visibility"} {
			if f.Changed(key) {
				changes[strings.ReplaceAll(key, "-", "_")] = json.RawMessage(jsonOf(f.Lookup(key).Value.String()))
			}
		}
		if f.Changed("root") {
			roots, _ := f.GetStringSlice("root")
			changes["roots"] = roots
		}
		method, req := "channels.policy", map[string]any{"channel": pattern}
		switch {
		case pattern == "" && (*remove || len(changes) > 0):
			return usageError{errors.New("which channels? name a pattern: `nethost channel policy PATTERN`")}
		case *remove && len(changes) > 0:
			return usageError{errors.New("--rm takes a policy away: no other flag goes with it")}
		case *remove:
			method = "channels.policy-rm"
		case len(changes) > 0:
			method, req["policy"] = "channels.policy-set", changes
		}
		return ask(cmd, *asJSON, method, req, func(w io.Writer, b []byte) error {
			var l struct{ Policies []chanPolicy }
			if err := json.Unmarshal(b, &l); err != nil {
				return err
			}
			return columns(w, func(w io.Writer) {
				for _, p := range l.Policies {
					fmt.Fprintf(w, "%s\t%s\n", p.Pattern, p.short())
				}
			})
		})
	}
	return cmd
}

// jsonOf gives a flag's value as JSON: numbers and truth values as they are.
func jsonOf(s string) []byte {
	if json.Valid([]byte(s)) {
		return []byte(s)
	}
	b, _ := json.Marshal(s)
	return b
}
