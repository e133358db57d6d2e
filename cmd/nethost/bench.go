package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// measurement is one line of `nethost bench`. Ratio is Value over BaselineValue,
// both measured in this run on this machine. Target bounds the ratio when there
// is a baseline, else the value; 0 means that none is set.
type measurement struct {
	Bench         string  `json:"bench"`
	Metric        string  `json:"metric"`
	Value         float64 `json:"value"`
	Unit          string  `json:"unit"`
	Baseline      string  `json:"baseline"`
	BaselineValue float64 `json:"baseline_value"`
	Ratio         float64 `json:"ratio"`
	Target        float64 `json:"target"`
	AtLeast       bool    `json:"at_least,omitempty"` // Target is a lower bound
	Pass          bool    `json:"pass"`
}

// bench is one named set of measurements.
type bench struct {
	name, short string
	run         func(ctx context.Context, env *benchEnv) error
}

// benchEnv is what a bench runs in.
type benchEnv struct {
	exe, plugins string
	dir          string // temporary
	name         string // of the bench that runs
	soak         time.Duration
	nodes        int // of the largest simulated mesh
	emit         func(measurement)
}

// benches lists them all: later protocols add theirs here.
func benches() []bench {
	return []bench{{"core", "carriers, round trips, forwarding and sealing", benchCore},
		{"transport", "relaying at the speed of the kernel, against raw sockets", benchTransport},
		{"soak", "a million random datagrams a second for as long as --for says", benchSoak},
		{"modules", "fuel, runaway guests, starts of modules", benchModules},
		{"modules-reload", "hot reload under load, a thousand reloads, restart of a killed plugin", benchModulesReload},
		{"swarm", "how a mesh heals, and what observing it costs", benchSwarm},
		{"swarm-live", "relays that are processes die, freeze and lie; verdicts under busy loops", benchSwarmLive},
		{"swarm-join", "join by invite: command to first answer", benchSwarmJoin},
		{"channels", "capability queries, tags over hops, checks of tokens", benchChannels}}
}

// value adds a figure that stands for itself. target 0: none.
func (e *benchEnv) value(metric string, v float64, unit string, target float64) {
	e.emit(measurement{Bench: e.name, Metric: metric, Value: v, Unit: unit, Target: target, Pass: target == 0 || v <= target})
}

// ratio adds a figure beside its baseline of the same run.
func (e *benchEnv) ratio(metric string, v float64, unit, baseline string, base, target float64) {
	r := v / base
	e.emit(measurement{Bench: e.name, Metric: metric, Value: v, Unit: unit, Baseline: baseline, BaselineValue: base,
		Ratio: r, Target: target, Pass: target == 0 || r <= target})
}

func benchCommand() *cobra.Command {
	var names []string
	for _, b := range benches() {
		names = append(names, b.name)
	}
	cmd := &cobra.Command{
		Use:   "bench NAME",
		Short: "measure this build on this machine",
		Long: `Measures, with the baseline of each ratio in the same run: machines differ and
are noisy, ratios less so. NAME is one of: ` + strings.Join(names, ", ") + `, all.
A name stands also for those that begin with it: swarm for swarm-live and swarm-join.

With --json, one object a line. A target that was missed shows as MISSED and does
not change the exit code.`,
		Args:      args(cobra.ExactArgs(1)),
		ValidArgs: append(names, "all"),
	}
	asJSON := cmd.Flags().Bool("json", false, "print one JSON object a line")
	plugins := cmd.Flags().String("plugins", "", "built packages (default: plugins beside this binary)")
	soak := cmd.Flags().Duration("for", 10*time.Second, "how long soak takes, and each case of busy loops in swarm-live")
	nodes := cmd.Flags().Int("nodes", 100, "largest mesh that is simulated by swarm: 10, 100 or 1000 (which takes an hour)")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		if a[0] != "all" && !slices.Contains(names, a[0]) {
			return usageError{fmt.Errorf("no bench %q: there is %s and all", a[0], strings.Join(names, ", "))}
		}
		exe, err := os.Executable()
		if err != nil {
			return err
		}
		env := &benchEnv{exe: exe, plugins: *plugins, soak: max(*soak, time.Second), nodes: *nodes}
		if env.plugins == "" {
			env.plugins = filepath.Join(filepath.Dir(exe), "plugins")
		}
		if env.dir, err = os.MkdirTemp("", "nhbench"); err != nil {
			return err
		}
		defer os.RemoveAll(env.dir)
		env.emit = printer(cmd.OutOrStdout(), *asJSON)
		for _, b := range benches() {
			if a[0] == "all" || a[0] == b.name || strings.HasPrefix(b.name, a[0]+"-") {
				env.name = b.name
				if err := b.run(cmd.Context(), env); err != nil {
					return fmt.Errorf("bench %s: %w", b.name, err)
				}
			}
		}
		return nil
	}
	cmd.AddCommand(benchPeerCommand())
	return cmd
}

// printer shows measurements as they come.
func printer(w io.Writer, asJSON bool) func(measurement) {
	if asJSON {
		enc := json.NewEncoder(w)
		return func(m measurement) { enc.Encode(m) }
	}
	tw := tabwriter.NewWriter(w, 64, 8, 2, ' ', 0)
	return func(m measurement) {
		verdict, bound := "", "<="
		if m.AtLeast {
			bound = ">="
		}
		switch {
		case m.Target == 0:
		case m.Pass:
			verdict = fmt.Sprintf("ok (%s %g)", bound, m.Target)
		default:
			verdict = fmt.Sprintf("MISSED (%s %g)", bound, m.Target)
		}
		base := ""
		if m.Baseline != "" {
			base = fmt.Sprintf("%.2fx of %s (%.4g)", m.Ratio, m.Baseline, m.BaselineValue)
		}
		fmt.Fprintf(tw, "%s\t%.4g %s\t%s\t%s\n", m.Metric, m.Value, m.Unit, base, verdict)
		tw.Flush()
	}
}

// reaches adds a figure that is to be at least so many times its baseline.
func (e *benchEnv) reaches(metric string, v float64, unit, baseline string, base, target float64) {
	r := v / base
	e.emit(measurement{Bench: e.name, Metric: metric, Value: v, Unit: unit, Baseline: baseline, BaselineValue: base,
		Ratio: r, Target: target, AtLeast: true, Pass: target == 0 || r >= target})
}

// median of figures, which it sorts.
func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}
