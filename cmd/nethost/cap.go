package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nethost/sdk"
	"nethost/sdk/client"
)

// capNode is a node in an answer of the module capability.
type capNode struct {
	Node        string       `json:"node"`
	Self        bool         `json:"self"`
	CostUS      *uint64      `json:"cost_us"`
	Load        *float64     `json:"load_pct"`
	Score       *float64     `json:"score"`
	Tags        []string     `json:"tags"`
	Reachable   bool         `json:"reachable"`
	Incarnation uint64       `json:"incarnation"`
	Counter     uint64       `json:"counter"`
	AgeS        float64      `json:"age_s"`
	LifetimeS   float64      `json:"lifetime_s"`
	Bytes       int          `json:"bytes"`
	Operator    []string     `json:"operator_tags"`
	Findings    []capFinding `json:"findings"`
}

type capFinding struct{ Tag, Problem string }

// capAnswer holds the fields of every answer.
type capAnswer struct {
	Nodes    []capNode    `json:"nodes"`
	Total    int          `json:"total"`
	Tags     []string     `json:"tags"`
	Node     string       `json:"node"`
	Checked  int          `json:"checked"`
	Findings []capFinding `json:"findings"`
}

func capCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "cap", Short: "what the nodes of the mesh are and have", Args: cobra.ArbitraryArgs, RunE: group,
		Long: `Every node announces what it is (processors, memory, disk, system, modules) and what
its operator calls it, and every node can find the others by that. This needs the
module capability, which ` + "`nethost init`" + ` turns on.

  nethost cap find 'hardware.gpu and hardware.vram_gb>=40 and prod' --nearest
  nethost cap tag add prod region:us`}
	cmd.SuggestionsMinimumDistance = 2
	tag := &cobra.Command{Use: "tag", Short: "the operator's tags of this node", Args: cobra.ArbitraryArgs, RunE: group}
	tag.AddCommand(capTag("add", "give this node tags"), capTag("rm", "take tags of this node away"))
	cmd.AddCommand(capList(), capShow(), capFind(), capWatch(), tag, capCheck(), capExplain())
	return cmd
}

// ask calls a method of the node's capability module and shows the answer: as it
// came with --json, else by show.
func ask(cmd *cobra.Command, asJSON bool, method string, req any, show func(w io.Writer, answer []byte) error) error {
	cfg, err := loadConfig(cmd)
	if err != nil {
		return err
	}
	var in []byte
	if req != nil {
		if in, err = json.Marshal(req); err != nil {
			return err
		}
	}
	b, err := client.New(cfg.Socket).Call(cmd.Context(), client.Target{Module: method}, in)
	if err != nil {
		return err
	}
	if asJSON {
		var v any
		if err := json.Unmarshal(b, &v); err != nil {
			return err
		}
		return printJSON(cmd.OutOrStdout(), v)
	}
	return show(cmd.OutOrStdout(), b)
}

func showAnswer(show func(w io.Writer, a *capAnswer)) func(io.Writer, []byte) error {
	return func(w io.Writer, b []byte) error {
		var a capAnswer
		if err := json.Unmarshal(b, &a); err != nil {
			return err
		}
		tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		show(tw, &a)
		return tw.Flush()
	}
}

func showNodes(w io.Writer, a *capAnswer) {
	fmt.Fprintln(w, "NODE\tCOST\tLOAD\tTAGS")
	for _, n := range a.Nodes {
		cost, load := "-", "-"
		switch {
		case n.Self:
			cost = "self"
		case n.CostUS != nil:
			cost = fmt.Sprintf("%.1f ms", float64(*n.CostUS)/1000)
		}
		if n.Load != nil {
			load = fmt.Sprintf("%g %%", *n.Load)
		}
		extra := ""
		if n.Score != nil {
			extra = fmt.Sprintf("score %g: ", *n.Score)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s%s\n", n.Node[:8], cost, load, extra, strings.Join(n.Tags, " "))
	}
	if a.Total > len(a.Nodes) {
		fmt.Fprintf(w, "%d of %d\n", len(a.Nodes), a.Total)
	}
}

func capList() *cobra.Command {
	cmd := &cobra.Command{Use: "ls", Short: "list the nodes that announced themselves", Args: args(cobra.NoArgs)}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return ask(cmd, *asJSON, "capability.ls", nil, showAnswer(showNodes))
	}
	return cmd
}

func capShow() *cobra.Command {
	cmd := &cobra.Command{Use: "show [NODE]", Short: "all that is known of a node (default: this one)", Args: args(cobra.MaximumNArgs(1))}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		return ask(cmd, *asJSON, "capability.show", map[string]string{"node": strings.Join(a, "")}, func(w io.Writer, b []byte) error {
			var n capNode
			if err := json.Unmarshal(b, &n); err != nil {
				return err
			}
			fmt.Fprintf(w, "node       %s\nreachable  %v\nversion    %d.%d, %.0f s old, holds for %.0f s\nsize       %d bytes\n", n.Node, n.Reachable,
				n.Incarnation, n.Counter, n.AgeS, n.LifetimeS, n.Bytes)
			for _, t := range n.Tags {
				fmt.Fprintf(w, "  %s\n", t)
			}
			if len(n.Operator) > 0 {
				fmt.Fprintf(w, "of the operator: %s\n", strings.Join(n.Operator, " "))
			}
			for _, f := range n.Findings {
				fmt.Fprintf(w, "doubtful: %s: %s\n", f.Tag, f.Problem)
			}
			return nil
		})
	}
	return cmd
}

func capFind() *cobra.Command {
	cmd := &cobra.Command{Use: "find QUERY", Short: "find nodes by what they are",
		Long: `Finds the nodes that fit a query:

  prod                        the tag is there
  hardware.cores>=8           numbers and versions: = != < <= > >=
  software.kernel>=6.8
  hardware.gpu="RTX 4090"     a value with spaces
  region:*   hardware.gpu=RTX*    by the beginning
  a and (b or not c)

The order is that of the NodeIDs, or what one of the flags says.`, Args: args(cobra.ExactArgs(1))}
	f := cmd.Flags()
	asJSON := f.Bool("json", false, "print JSON")
	nearest := f.Bool("nearest", false, "nearest first, by the cost of the path")
	least := f.Bool("least-loaded", false, "least loaded first")
	score := f.String("score", "", "highest score first: KEY:WEIGHT,KEY:WEIGHT")
	limit := f.Int("limit", 0, "at most so many (default: all)")
	wait := f.Int("wait", 0, "wait until exactly so many fit")
	within := f.Duration("within", 10*time.Second, "how long --wait waits")
	cmd.MarkFlagsMutuallyExclusive("nearest", "least-loaded", "score")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		sort := ""
		switch {
		case *nearest:
			sort = "nearest"
		case *least:
			sort = "load"
		case *score != "":
			sort = "score"
		}
		req := map[string]any{"query": a[0], "sort": sort, "weights": *score, "limit": *limit}
		if f.Changed("wait") {
			if err := awaitFound(cmd, req, *wait, *within); err != nil {
				return err
			}
		}
		return ask(cmd, *asJSON, "capability.find", req, showAnswer(showNodes))
	}
	return cmd
}

// awaitFound asks until as many nodes fit as are waited for. A node that is not up
// yet is waited for as well, a query that is none is not.
func awaitFound(cmd *cobra.Command, req any, n int, within time.Duration) error {
	cfg, err := loadConfig(cmd)
	if err != nil {
		return err
	}
	in, err := json.Marshal(req)
	if err != nil {
		return err
	}
	c, total := client.New(cfg.Socket), -1
	var last error
	err = poll(cmd.Context(), within, fmt.Sprintf("%d nodes fit", n), func() bool {
		b, err := c.Call(cmd.Context(), client.Target{Module: "capability.find"}, in)
		var a capAnswer
		if err == nil {
			err = json.Unmarshal(b, &a)
		}
		total, last = a.Total, err
		var e *client.Error
		return err == nil && total == n || errors.As(err, &e) && e.Code == sdk.InvalidArgument
	})
	switch {
	case err != nil && last != nil:
		return fmt.Errorf("%w: %s", err, last)
	case err != nil:
		return fmt.Errorf("%w: %d do", err, total)
	}
	return last
}

func capWatch() *cobra.Command {
	cmd := &cobra.Command{Use: "watch [QUERY]", Short: "show the nodes that fit, and every change, until interrupted", Args: args(cobra.MaximumNArgs(1))}
	asJSON := cmd.Flags().Bool("json", false, "print one JSON object a line")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		cfg, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		s, err := client.New(cfg.Socket).Stream(cmd.Context(), client.Target{Module: "capability.watch"})
		if err != nil {
			return err
		}
		defer s.Close()
		req, err := json.Marshal(map[string]string{"query": strings.Join(a, "")})
		if err != nil {
			return err
		}
		if _, err := s.Write(req); err == nil {
			err = s.CloseWrite()
			if err != nil {
				return err
			}
		} // else Read tells why
		if *asJSON {
			_, err := io.Copy(cmd.OutOrStdout(), s)
			return err
		}
		for d := json.NewDecoder(s); ; {
			var e struct {
				Change, Node string
				Tags         []string
			}
			if err := d.Decode(&e); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if e.Change == "ready" {
				fmt.Fprintln(cmd.ErrOrStderr(), "nethost: these are all; changes follow")
				continue
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%-6s %.8s  %s\n", e.Change, e.Node, strings.Join(e.Tags, " "))
		}
	}
	return cmd
}

func capTag(verb, short string) *cobra.Command {
	cmd := &cobra.Command{Use: verb + " TAG...", Short: short, Args: args(cobra.MinimumNArgs(1))}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		return ask(cmd, *asJSON, "capability.tag-"+verb, map[string]any{"tags": a}, showAnswer(func(w io.Writer, a *capAnswer) {
			for _, t := range a.Tags {
				fmt.Fprintln(w, t)
			}
		}))
	}
	return cmd
}

func capCheck() *cobra.Command {
	cmd := &cobra.Command{Use: "check [NODE]", Short: "compare a node's tags, or --tag, with the table of known keys", Args: args(cobra.MaximumNArgs(1)),
		Long: `Tells which tags of the axes hardware, software, devices and storage are unknown, or
have a value of another type or unit than others expect. Known keys:

` + knownKeysHelp}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	tags := cmd.Flags().StringSlice("tag", nil, "check this tag instead of a node's")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		bad := 0
		err := ask(cmd, *asJSON, "capability.check", map[string]any{"node": strings.Join(a, ""), "tags": *tags}, showAnswer(func(w io.Writer, a *capAnswer) {
			for _, f := range a.Findings {
				fmt.Fprintf(w, "%s\t%s\n", f.Tag, f.Problem)
			}
			bad = len(a.Findings)
			if bad == 0 {
				fmt.Fprintf(w, "%d tags are fine\n", a.Checked)
			}
		}))
		if err == nil && bad > 0 {
			err = fmt.Errorf("%d tags are doubtful", bad)
		}
		return err
	}
	return cmd
}

const knownKeysHelp = `  devices.camera devices.serial devices.usb (numbers)
  hardware.cores hardware.gpus hardware.load_pct hardware.memory_gb hardware.vram_gb (numbers)
  hardware.cpu hardware.gpu (text), hardware.virtual (no value)
  software.arch software.os (as Go names them), software.relay (yes, no)
  software.cuda software.kernel software.module.NAME software.nethost (versions)
  storage.free_gb storage.total_gb (numbers), storage.kind (hdd, nvme, ssd)`

func capExplain() *cobra.Command {
	cmd := &cobra.Command{Use: "explain QUERY [NODE]", Short: "how a query is answered, and why a node fits or not", Args: args(cobra.RangeArgs(1, 2))}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		return ask(cmd, *asJSON, "capability.explain", map[string]string{"query": a[0], "node": strings.Join(a[1:], "")}, func(w io.Writer, b []byte) error {
			var e struct {
				Query, Node  string
				Plan, Terms  []string
				Found, Nodes int
				Fits         *bool
			}
			if err := json.Unmarshal(b, &e); err != nil {
				return err
			}
			fmt.Fprintf(w, "%s\n", strings.Join(e.Plan, "\n"))
			fmt.Fprintf(w, "%d of %d nodes fit\n", e.Found, e.Nodes)
			if e.Fits != nil {
				fmt.Fprintf(w, "%.8s fits: %v\n  %s\n", e.Node, *e.Fits, strings.Join(e.Terms, "\n  "))
			}
			return nil
		})
	}
	return cmd
}
