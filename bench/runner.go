package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// runner repeats all cells, interleaved.
type runner struct {
	o      options
	env    env
	cells  []*cell
	groups [][]*cell // of one workload on one network: what is compared runs close together
	began  time.Time
	log    io.Writer
	json   io.Writer
	closes []func()

	results map[string]*result // by key of the cell
	skipped []string           // what could not run, and why
	micro   []microLine
	load    string
}

// result is what came of one cell over all rounds.
type result struct {
	cell   *cell
	rounds []metrics // nil where it failed
	faults []string
}

func newRunner(ctx context.Context, o options) (*runner, error) {
	r := &runner{o: o, began: time.Now(), log: os.Stderr, results: map[string]*result{}, load: loadAverage(),
		env: env{warm: o.warm, length: o.length, window: o.window, root: o.root}}
	for _, s := range strings.Split(o.rates, ",") {
		rate, err := strconv.ParseFloat(s, 64)
		if err != nil || rate <= 0 {
			return nil, fmt.Errorf("-rates: %q is no rate", s)
		}
		r.env.rates = append(r.env.rates, rate)
	}
	switch o.json {
	case "":
	case "-":
		r.json = os.Stdout
	default:
		f, err := os.OpenFile(o.json, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return nil, err
		}
		r.json = f
		r.closes = append(r.closes, func() { f.Close() })
	}
	for _, name := range strings.Split(o.nets, ",") {
		nw := loopbackNet()
		if name == "veth" {
			var err error
			var undo func()
			if nw, undo, err = vethNet(ctx); err != nil {
				r.skip("everything over veth: " + err.Error())
				continue
			}
			r.closes = append(r.closes, undo)
		} else if name != "loopback" {
			return nil, fmt.Errorf("-net: no network %q: there is loopback and veth", name)
		}
		r.choose(cells(nw))
	}
	return r, nil
}

func (r *runner) skip(why string) {
	r.skipped = append(r.skipped, why)
	fmt.Fprintln(r.log, "skipped:", why)
}

// choose takes the cells that the flags ask for.
func (r *runner) choose(all []*cell) {
	index := map[string]int{}
	for _, c := range all {
		if r.o.only != "" && !slices.Contains(strings.Split(r.o.only, ","), c.Workload) || !r.wanted(c.Peer.Name) {
			continue
		}
		g := c.Workload + c.Net.name
		if _, ok := index[g]; !ok {
			index[g] = len(r.groups)
			r.groups = append(r.groups, nil)
		}
		r.groups[index[g]] = append(r.groups[index[g]], c)
		r.cells = append(r.cells, c)
		r.results[c.key()] = &result{cell: c}
	}
}

func (r *runner) wanted(peer string) bool {
	if r.o.peers == "" {
		return true
	}
	for _, p := range strings.Split(r.o.peers, ",") {
		if strings.HasPrefix(peer, strings.TrimSpace(p)) {
			return true
		}
	}
	return false
}

func (r *runner) close() {
	for _, f := range slices.Backward(r.closes) {
		f()
	}
}

// run measures everything, round by round.
func (r *runner) run(ctx context.Context) error {
	dice := rand.New(rand.NewPCG(r.o.seed, 1))
	n, total := 0, 0
	for _, c := range r.cells {
		if total++; !c.Once {
			total += r.o.rounds - 1
		}
	}
	for round := range r.o.rounds {
		for _, group := range r.groups {
			order := slices.Clone(group)
			dice.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
			for _, c := range order {
				if c.Once && round > 0 {
					continue
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				if time.Since(r.began) > r.o.limit {
					r.skip(fmt.Sprintf("what remained after %v (-limit), from round %d, %s on", r.o.limit, round+1, c.key()))
					return r.runMicro(ctx)
				}
				n++
				r.measure(ctx, c, round, n, total)
			}
		}
	}
	return r.runMicro(ctx)
}

// measure runs one cell once.
func (r *runner) measure(ctx context.Context, c *cell, round, n, total int) {
	began := time.Now()
	m, err := c.run(ctx, &r.env)
	res := r.results[c.key()]
	fmt.Fprintf(r.log, "%3d/%d %-4s %-28s %-24s %s %-8s %4.1fs ", n, total, c.Workload, c.Case, c.Peer.Name, c.Place, c.Net.name, time.Since(began).Seconds())
	for len(res.rounds) < round {
		res.rounds = append(res.rounds, nil)
	}
	if err != nil {
		res.rounds = append(res.rounds, nil)
		res.faults = append(res.faults, err.Error())
		fmt.Fprintln(r.log, "FAILED:", err)
	} else {
		res.rounds = append(res.rounds, m)
		fmt.Fprintln(r.log, m)
	}
	if r.json == nil {
		return
	}
	line := map[string]any{"round": round, "workload": c.Workload, "case": c.Case, "peer": c.Peer.Name, "place": c.Place, "net": c.Net.name, "metrics": m}
	if err != nil {
		line["error"] = err.Error()
	}
	_ = json.NewEncoder(r.json).Encode(line)
}

// String gives the figures in a stable order.
func (m metrics) String() string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, " %s=%s", strings.ReplaceAll(name, " ", "_"), figure(m[name]))
	}
	return b.String()
}

// ran is how often the cell was measured.
func (res *result) ran() int {
	n := 0
	for _, m := range res.rounds {
		if m != nil {
			n++
		}
	}
	return n
}

// median of one metric over the rounds, with the smallest and largest.
func (res *result) median(name string) (mid, lo, hi float64, ok bool) {
	var v []float64
	for _, m := range res.rounds {
		if x, has := m[name]; has {
			v = append(v, x)
		}
	}
	if len(v) == 0 {
		return 0, 0, 0, false
	}
	sort.Float64s(v)
	mid = v[len(v)/2]
	if len(v)%2 == 0 {
		mid = (mid + v[len(v)/2-1]) / 2
	}
	return mid, v[0], v[len(v)-1], true
}

// figure writes a number with three or four digits that mean something.
func figure(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 1e6:
		return fmt.Sprintf("%.2f M", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.1f k", v/1e3)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
