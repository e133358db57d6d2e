package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"nethost/sdk"
	"nethost/sdk/client"
	v1 "nethost/sdk/client/nethostv1"
)

func peerCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "peer", Short: "what single nodes may use of this one", RunE: group, Args: cobra.ArbitraryArgs}
	block := ruleVerb("block NODE", "neither serve nor relay a node, from now on", 1, func(node string, _ []string) (*v1.ChangeRulesRequest, error) {
		return &v1.ChangeRulesRequest{Change: &v1.ChangeRulesRequest_Block{Block: node}}, nil
	})
	unblock := ruleVerb("unblock NODE", "take that back", 1, func(node string, _ []string) (*v1.ChangeRulesRequest, error) {
		return &v1.ChangeRulesRequest{Change: &v1.ChangeRulesRequest_Unblock{Unblock: node}}, nil
	})
	limit := ruleVerb("limit NODE RATE", `bound what is relayed for, and taken from, a node: bytes a second, or "none"`, 2, func(node string, a []string) (*v1.ChangeRulesRequest, error) {
		var rate uint64
		if a[0] != "none" {
			var err error
			if rate, err = parseRate(a[0]); err != nil || rate == 0 {
				return nil, usageError{fmt.Errorf("RATE %q: want bytes a second, at least 1KB, such as 10MiB, or none", a[0])}
			}
		}
		return &v1.ChangeRulesRequest{Change: &v1.ChangeRulesRequest_Limit_{Limit: &v1.ChangeRulesRequest_Limit{Node: node, Rate: rate}}}, nil
	})
	ls := &cobra.Command{Use: "ls", Short: "the rules in force", Args: args(cobra.NoArgs)}
	asJSON := ls.Flags().Bool("json", false, "print JSON")
	ls.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		r, err := client.New(c.Socket).Rules(cmd.Context())
		if errors.Is(err, client.ErrNotRunning) {
			var rules ruleFile
			if rules, err = readRules(c.Data); err == nil {
				r = rulesOf(rules.policy(c.Policy), c.Policy)
			}
		}
		if err != nil {
			return err
		}
		if *asJSON {
			return printProto(cmd, r)
		}
		showRules(cmd.OutOrStdout(), r)
		return nil
	}
	cmd.AddCommand(block, unblock, limit, ls)
	return cmd
}

// ruleVerb is a command that changes the rule of one node.
func ruleVerb(use, short string, n int, change func(node string, a []string) (*v1.ChangeRulesRequest, error)) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: args(cobra.ExactArgs(n))}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		c, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		node, err := findRuled(cmd, c, a[0])
		if err != nil {
			return err
		}
		m, err := change(node, a[1:])
		if err != nil {
			return err
		}
		return changeRules(cmd, c, m, *asJSON)
	}
	return cmd
}

// findRuled finds a NodeID as findNode does, or among those that rules name.
func findRuled(cmd *cobra.Command, c *Config, s string) (string, error) {
	rules, err := readRules(c.Data)
	if err != nil {
		return "", err
	}
	var found []string
	for _, id := range append(slices.Clone(rules.Block), slices.Sorted(maps.Keys(rules.Limits))...) {
		if len(s) >= 4 && strings.HasPrefix(id, s) && !slices.Contains(found, id) {
			found = append(found, id)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	id, err := findNode(cmd, client.New(c.Socket), s)
	if errors.Is(err, client.ErrNotRunning) {
		err = fmt.Errorf("%w; without it a whole NodeID is needed", err)
	}
	if id == "" && err == nil {
		err = usageError{errors.New("NODE is empty: want a NodeID")}
	}
	return id, err
}

// changeRules has the node change a rule, or changes the file when none runs.
func changeRules(cmd *cobra.Command, c *Config, m *v1.ChangeRulesRequest, asJSON bool) error {
	r, err := client.New(c.Socket).ChangeRules(cmd.Context(), m)
	if errors.Is(err, client.ErrNotRunning) {
		r, err = changeFile(c, m)
		if err == nil {
			fmt.Fprintln(cmd.ErrOrStderr(), "nethost: no node runs here: the rule counts when it starts")
		}
	}
	if err != nil {
		return err
	}
	if asJSON {
		return printProto(cmd, r)
	}
	showRules(cmd.OutOrStdout(), r)
	return nil
}

func changeFile(c *Config, m *v1.ChangeRulesRequest) (*v1.RulesResponse, error) {
	key, err := readNodeKey(c.Data)
	if err != nil {
		return nil, err
	}
	rules, err := readRules(c.Data)
	if err != nil {
		return nil, err
	}
	if rules, err = rules.change(m, c.Policy, key.ID()); err != nil {
		return nil, err
	}
	return rulesOf(rules.policy(c.Policy), c.Policy), rules.write(c.Data)
}

func showRules(w io.Writer, r *v1.RulesResponse) {
	if r.KillSwitch {
		fmt.Fprintln(w, "KILL-SWITCH ON: nothing is relayed or served")
	}
	bound := func(n uint64) string {
		if n == 0 {
			return "no bound"
		}
		return size(n) + "/s"
	}
	fmt.Fprintf(w, "relay %s, quota %s, each neighbour %s, each peer %s\n", map[bool]string{true: "on", false: "off"}[r.Relay],
		bound(r.RelayQuota), bound(r.NeighborRate), bound(r.PeerRate))
	if len(r.Reject) > 0 {
		fmt.Fprintf(w, "reject %s\n", strings.Join(r.Reject, ", "))
	}
	if len(r.Redirect) > 0 {
		fmt.Fprintf(w, "redirect %s\n", strings.Join(r.Redirect, ", "))
	}
	var rows [][]string
	for _, n := range r.Nodes {
		rate := ""
		if n.Rate > 0 {
			rate = size(n.Rate) + "/s"
		}
		rows = append(rows, []string{n.Node, n.Rule, rate, strings.ReplaceAll(n.From, " ", " ")})
	}
	if len(rows) > 0 {
		table(w, "NODE RULE RATE FROM", rows)
	}
}

func killSwitchCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "kill-switch on|off", Short: "stop relaying and serving at once, or begin again",
		Long: `On: this node relays and serves nothing any more, from this moment and after a
restart. Its sessions stay, its own modules and applications go on, and the local
API answers.`,
		Args: args(cobra.ExactArgs(1)), ValidArgs: []string{"on", "off"}}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		on, err := onOff(a[0])
		if err != nil {
			return err
		}
		c, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		return changeRules(cmd, c, &v1.ChangeRulesRequest{Change: &v1.ChangeRulesRequest_KillSwitch{KillSwitch: on}}, *asJSON)
	}
	return cmd
}

func relayCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "relay [on|off|default]", Short: "whether, and how much, to relay for others",
		Long: `Changes what this node relays, from this moment and after a restart. "default"
goes back to what the configuration says.`,
		Args: args(cobra.MaximumNArgs(1)), ValidArgs: []string{"on", "off", "default"}}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	quota := cmd.Flags().String("quota", "", `bytes a second for all together, such as 10MiB, or "none"`)
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		rule := &v1.ChangeRulesRequest_RelayRule{}
		switch {
		case len(a) == 0 && *quota == "":
			return usageError{errors.New("want on, off, default or --quota: `nethost peer ls` shows what is in force")}
		case len(a) == 1 && a[0] == "default":
			rule.Forget = true
		case len(a) == 1:
			on, err := onOff(a[0])
			if err != nil {
				return err
			}
			rule.On = &on
		}
		if *quota != "" {
			var n uint64
			if *quota != "none" {
				var err error
				if n, err = parseRate(*quota); err != nil {
					return usageError{fmt.Errorf("--quota %w", err)}
				}
			}
			rule.Quota = &n
		}
		c, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		return changeRules(cmd, c, &v1.ChangeRulesRequest{Change: &v1.ChangeRulesRequest_Relay{Relay: rule}}, *asJSON)
	}
	return cmd
}

func onOff(s string) (bool, error) {
	if s != "on" && s != "off" {
		return false, usageError{fmt.Errorf("%q: want on or off", s)}
	}
	return s == "on", nil
}

func traceCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "trace NODE", Short: "the way to a node, hop by hop, as each node on it tells",
		Long: `Asks this node for its next hop towards NODE, then that one, and so on. Each line
is one node: the round trip from here to it, then what it says of the link to the
next one, why it chose it, and what else it could use at once. A node may refuse to
tell (autonomy.trace), or be of a release that does not know the question.`,
		Args: args(cobra.ExactArgs(1))}
	asJSON := cmd.Flags().Bool("json", false, "print one JSON object a line")
	timeout := cmd.Flags().Duration("timeout", 2*time.Second, "how long to wait for each node")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		cfg, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		c := client.New(cfg.Socket)
		node, err := findNode(cmd, c, a[0])
		if err != nil {
			return err
		}
		if node == "" {
			return usageError{errors.New("NODE is empty: want a NodeID")}
		}
		var last *v1.TraceHop
		n, w := 0, cmd.OutOrStdout()
		err = c.Trace(cmd.Context(), &v1.TraceRequest{Node: node, TimeoutS: timeout.Seconds()}, func(h *v1.TraceHop) error {
			last = h
			if *asJSON {
				b, err := protojson.MarshalOptions{EmitUnpopulated: true, UseProtoNames: true}.Marshal(h)
				if err == nil {
					_, err = fmt.Fprintf(w, "%s\n", b)
				}
				return err
			}
			_, err := fmt.Fprintf(w, "%2d  %s  %s\n", n, short(h.Node), hopText(h))
			n++
			return err
		})
		switch {
		case err != nil:
			return err
		case last == nil || last.Node == node && last.Verdict == "arrived":
			return nil
		}
		return &client.Error{Code: sdk.NoRoute, Text: fmt.Sprintf("the way ends at %s: %s", short(last.Node), last.Verdict)}
	}
	return cmd
}

// hopText says in one line what a node told.
func hopText(h *v1.TraceHop) string {
	s := fmt.Sprintf("%7.2fms  ", h.RttMs)
	if !h.Answered {
		s = "        -  "
	}
	if h.Next == "" {
		return s + h.Verdict
	}
	s += fmt.Sprintf("to %s: %.2fms, %.1f%% lost, metric %dus, %d hops; %s", short(h.Next), h.LinkRttMs, 100*h.Loss, h.MetricUs, h.Hops, h.Why)
	for i, a := range h.Alternates {
		s += map[bool]string{true: "; or ", false: ", "}[i == 0] + fmt.Sprintf("%s (%dus)", short(a.Node), a.MetricUs)
	}
	return s
}

// errUnwell is what the doctor ends with when it found something.
var errUnwell = errors.New("something is wrong: see the findings")

func doctorCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "doctor [NODE]", Short: "what is wrong, in plain words, and what cures it",
		Long: `Looks at this node, its peers, modules and what happened in the last five minutes,
or tries to reach one node. Ends with 0 when all is well, else with 1.`,
		Args: args(cobra.MaximumNArgs(1))}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		cfg, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		c, node := client.New(cfg.Socket), ""
		if len(a) == 1 {
			if node, err = findNode(cmd, c, a[0]); err != nil {
				return err
			}
		}
		r, err := c.Doctor(cmd.Context(), node)
		if err != nil {
			return err
		}
		if *asJSON {
			err = printProto(cmd, r)
		} else {
			showFindings(cmd.OutOrStdout(), r)
		}
		if err == nil && slices.ContainsFunc(r.Findings, func(f *v1.Finding) bool { return !f.Note }) {
			err = errUnwell
		}
		return err
	}
	return cmd
}

func showFindings(w io.Writer, r *v1.DoctorResponse) {
	for _, f := range r.Fine {
		fmt.Fprintf(w, "ok    %s\n", f)
	}
	for _, f := range r.Findings {
		fmt.Fprintf(w, "%-5s %s: %s\n      cure: %s\n", map[bool]string{true: "note", false: "WRONG"}[f.Note], f.Code, f.Text, f.Cure)
	}
}

func reloadCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "reload", Short: "have the node read its configuration again",
		Long: `Puts in force what can be under a node that runs (relay, peers, log.level,
[autonomy], the network keys), and names what needs a restart. A faulty
configuration changes nothing. SIGHUP does the same.`,
		Args: args(cobra.NoArgs)}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		socket, err := reloadSocket(cmd)
		if err != nil {
			return err
		}
		r, err := client.New(socket).Reload(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			err = printProto(cmd, r)
		} else {
			w := cmd.OutOrStdout()
			for _, k := range r.Changed {
				fmt.Fprintf(w, "changed %s\n", k)
			}
			for _, k := range r.Restart {
				fmt.Fprintf(w, "needs a restart: %s\n", k)
			}
			if len(r.Changed)+len(r.Restart)+len(r.Faults) == 0 {
				fmt.Fprintln(w, "nothing changed")
			}
		}
		if len(r.Faults) > 0 {
			return usageError{fmt.Errorf("configuration: nothing changed, the old one goes on: %s", strings.Join(r.Faults, "\n"))}
		}
		return err
	}
	return cmd
}
