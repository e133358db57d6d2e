package main

import (
	"fmt"
	"io"
	"sort"
)

// find gives the result of a cell, nil when it was not asked for.
func (r *runner) find(workload, caseName, peer string, place placement, net string) *result {
	for _, c := range r.cells {
		if c.Workload == workload && c.Case == caseName && c.Peer.Name == peer && c.Place == place && c.Net.name == net {
			return r.results[c.key()]
		}
	}
	return nil
}

// ratio is a metric of two cells, round by round: the median, and the extremes.
func ratio(a, b *result, name string) (mid, lo, hi float64, ok bool) {
	if a == nil || b == nil {
		return 0, 0, 0, false
	}
	var v []float64
	for i := range min(len(a.rounds), len(b.rounds)) {
		x, okA := a.rounds[i][name]
		y, okB := b.rounds[i][name]
		if okA && okB && y > 0 {
			v = append(v, x/y)
		}
	}
	if len(v) == 0 {
		return 0, 0, 0, false
	}
	sort.Float64s(v)
	return v[len(v)/2], v[0], v[len(v)-1], true
}

// targets is the table of what the project set itself.
func (r *runner) targets(w io.Writer) {
	fmt.Fprint(w, "\n## Targets\n\nRatios are taken within a round; the median counts. Targets against raw sockets (relay against a bare GSO reflector, allocations) ",
		"are measured by `nethost bench transport` and by tests, not here.\n\n| what | target | reached | pass |\n|---|---|---:|---|\n")
	line := func(what string, atLeast bool, goal float64, v, lo, hi float64, ok bool) {
		sign, pass := "<=", v <= goal
		if atLeast {
			sign, pass = ">=", v >= goal
		}
		switch {
		case !ok:
			fmt.Fprintf(w, "| %s | %s %g | not measured | - |\n", what, sign, goal)
		default:
			fmt.Fprintf(w, "| %s | %s %g | %s [%s..%s] | %s |\n", what, sign, goal, figure(v), figure(lo), figure(hi), map[bool]string{true: "yes", false: "**no**"}[pass])
		}
	}
	against := func(what string, atLeast bool, goal float64, a, b *result, metric string) {
		v, lo, hi, ok := ratio(a, b, metric)
		line(what, atLeast, goal, v, lo, hi, ok)
	}
	value := func(what string, atLeast bool, goal float64, a *result, metric string) {
		if a == nil {
			line(what, atLeast, goal, 0, 0, 0, false)
			return
		}
		v, lo, hi, ok := a.median(metric)
		line(what, atLeast, goal, v, lo, hi, ok)
	}
	const lo = "loopback"
	for _, place := range []placement{together, apart} {
		us := r.find("B1", "3 relays, 1024 B", "nethost", place, lo)
		against(fmt.Sprintf("B1: 3 relays, 1 KiB unreliable, messages/s to NATS TLS leaf chain of 3 (%s)", place), true, 2, us,
			r.find("B1", "3 relays, 1024 B", "NATS TLS", place, lo), "msg/s")
		value(fmt.Sprintf("B1: the same, loss %% (%s)", place), false, .1, us, "loss %")
	}
	against("B1: own chain, messages/s with GSO to the same without (the target is for one relay in memory of the kernel)", true, 6,
		r.find("B1", "3 relays, 1024 B", "nethost", together, lo), r.find("B1", "3 relays, 1024 B", "nethost, gso off", together, lo), "msg/s")
	for _, size := range []struct {
		text string
		goal float64
	}{{"stream, 1024 B writes", 3}, {"stream, 262144 B writes", 1.2}} {
		against("B2: "+size.text+", bytes/s to a quic-go stream (P)", true, size.goal, r.find("B2", size.text, "nethost stream", together, lo),
			r.find("B2", size.text, "quic-go stream", together, lo), "MB/s")
	}
	for _, place := range []placement{together, apart} {
		against(fmt.Sprintf("B3: 1 relay, p50 to libp2p circuit v2 (%s)", place), false, .5, r.find("B3", "1 relays", "nethost stream", place, lo),
			r.find("B3", "1 relays", "libp2p", place, lo), "p50 us")
	}
	against("B3: direct, p50 to plain UDP echo (P)", false, 2, r.find("B3", "0 relays", "nethost stream", together, lo), r.find("B3", "0 relays", "plain UDP", together, lo), "p50 us")
	against("B3: direct, p50 to plain UDP echo (X)", false, 1.3, r.find("B3", "0 relays", "nethost stream", apart, lo), r.find("B3", "0 relays", "plain UDP", apart, lo), "p50 us")
	flood := r.find("B7", "200 k/s spoofed first messages", "nethost stream", apart, lo)
	value("B7: goodput under forged first messages to the same flood elsewhere", true, .85, flood, "forged ratio")
	value("B7: the same, replayed", true, .85, flood, "replayed ratio")
	value("B9: 1 MiB over a path of 1280, time to clean", false, 1.2, r.find("B9", "1 MiB, path of 1280 from the start", "nethost stream", together, lo), "ratio")
	value("B9: 1 MiB after the path shrank to 1280, time to clean", false, 1.2, r.find("B9", "1 MiB, path shrinks to 1280", "nethost stream", together, lo), "ratio")
	idle := r.find("B10", "idle sessions", "nethost stream", apart, lo)
	value("B10: RSS with one session, MiB (a process with all peers linked in: see the column without a node)", false, 25, idle, "RSS MiB, 1")
	value("B10: KiB a session", false, 8, idle, "KiB/session")
	value("B10: peak of a relay under 3x load above steady, MiB", false, 16, r.find("B10", "relays under 3x load", "nethost", apart, lo), "growth MiB")
	value("B11: reliable goodput under loss and reordering to clean", true, .8, r.find("B11", "stream, 64 KiB writes", "nethost stream", together, lo), "ratio")
}
