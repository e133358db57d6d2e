package main

import (
	"context"
	"fmt"
	"time"

	"nethost/host/kernel"
	"nethost/host/sim/measure"
)

// benchSwarm measures how a mesh heals and what observing it costs.
func benchSwarm(ctx context.Context, env *benchEnv) error {
	for _, f := range []func(context.Context, *benchEnv) error{swarmGaps, swarmLine, swarmStarved, swarmScale} {
		if err := f(ctx, env); err != nil {
			return err
		}
	}
	return nil
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// swarmGaps breaks the relay on the path of a flow of 1000 messages a second.
func swarmGaps(ctx context.Context, env *benchEnv) error {
	for _, c := range []struct {
		name    string
		profile kernel.Profile
		fault   measure.Fault
		ring    bool
		target  float64 // ms
	}{
		{"diamond, silent death of the relay, default", kernel.ProfileDefault, measure.Silent, false, 80},
		{"diamond, silent death of the relay, fast", kernel.ProfileFast, measure.Silent, false, 60},
		{"diamond, grey relay, default", kernel.ProfileDefault, measure.Grey, false, 500},
		{"ring of 8, silent death of the next hop, default", kernel.ProfileDefault, measure.Silent, true, 0},
		{"ring of 8, grey next hop, default", kernel.ProfileDefault, measure.Grey, true, 500},
	} {
		if err := ctx.Err(); err != nil {
			return err
		}
		var r measure.GapResult
		var err error
		if c.ring {
			r, err = measure.Ring(1, 8, c.profile, c.fault)
		} else {
			r, err = measure.Diamond(1, c.profile, c.fault)
		}
		if err != nil {
			return err
		}
		env.value("simulated: "+c.name+": longest gap", millis(r.Longest), "ms", c.target)
		env.value("simulated: "+c.name+": messages lost", float64(r.Lost), "messages", 0)
	}
	return nil
}

func swarmLine(ctx context.Context, env *benchEnv) error {
	d, err := measure.Line(50, 1)
	if err != nil {
		return err
	}
	if d == 0 {
		return fmt.Errorf("the line of 50 nodes never came together")
	}
	env.value("simulated: line of 50 nodes, cold start to all pairs reachable", d.Seconds(), "s", 2)
	return nil
}

// swarmStarved is the replica of the experiment of the Lifeguard paper.
func swarmStarved(ctx context.Context, env *benchEnv) error {
	for _, n := range []int{1, 4, 8} {
		for _, blind := range []bool{false, true} {
			if err := ctx.Err(); err != nil {
				return err
			}
			r, err := measure.Starved(measure.StarvedConfig{Starved: n, Blind: blind, Seed: 1})
			if err != nil {
				return err
			}
			health := "own health on"
			target := func(row string, v float64) {
				env.value(row, v, "verdicts", 0.5) // none
			}
			if blind {
				health = "own health off"
				target = func(row string, v float64) { env.value(row, v, "verdicts", 0) }
			}
			name := fmt.Sprintf("simulated: 20 nodes, %d starved, %s: ", n, health)
			target(name+"false dead", float64(r.FalseDead))
			env.value(name+"false suspect", float64(r.FalseSuspect), "verdicts", 0)
			env.value(name+"detection, median", millis(r.Percentile(0.5)), "ms", 0)
			env.value(name+"detection, 99th percentile", millis(r.Percentile(0.99)), "ms", 0)
		}
	}
	return nil
}

// swarmScale measures what observing the mesh costs in steady state.
func swarmScale(ctx context.Context, env *benchEnv) error {
	for _, n := range []int{10, 100, 1000} {
		if err := ctx.Err(); err != nil {
			return err
		}
		if n > env.nodes {
			continue
		}
		r, err := measure.Scale(n, 6, 1, 1)
		if err != nil {
			return err
		}
		target := 0.0
		if n == 1000 {
			target = 20
		}
		name := fmt.Sprintf("simulated: %d nodes of degree 6, steady: ", n)
		env.value(name+"control traffic a node", r.Steady.Bytes/1000, "KB/s", target)
		env.value(name+"the node that sends most", r.Steady.MostBytes/1000, "KB/s", 0)
		env.value(name+"control packets a node", r.Steady.Packets, "1/s", 0)
		env.value(fmt.Sprintf("simulated: %d nodes of degree 6, cold start to all pairs reachable", n), r.Reachable.Seconds(), "s", 0)
	}
	return nil
}
