package main

import (
	"context"
	"fmt"
	"time"
)

// metrics are the figures of one run of one cell, by name with unit.
type metrics map[string]float64

// cell is one measurement: it is repeated every round.
type cell struct {
	Workload string // "B1"
	Case     string // "3 relays, 1 KiB"
	Peer     *Peer
	Place    placement
	Net      wire
	Once     bool // only in the first round
	run      func(ctx context.Context, e *env) (metrics, error)
}

func (c *cell) key() string {
	return fmt.Sprintf("%s|%s|%s|%s|%s", c.Workload, c.Case, c.Peer.Name, c.Place, c.Net.name)
}

// env is what all cells share.
type env struct {
	warm, length time.Duration
	rates        []float64
	window       int
	root         string // of the nethost module
}

// oneWay is B1 and the message half of B2: closed loop with a window, then, when
// the line has relays, open loop at 90 % of that rate.
func oneWay(p *Peer, relays, size int, place placement, nw wire) func(context.Context, *env) (metrics, error) {
	return func(ctx context.Context, e *env) (metrics, error) {
		l, err := newLine(ctx, p, relays, place, nw, nil)
		if err != nil {
			return nil, err
		}
		defer l.close()
		win := uint64(max(8, min(e.window, 4<<20/size)))
		w, _, err := l.during(order{Op: "messages", Size: size, Window: win}, e.warm, e.length)
		if err != nil {
			return nil, err
		}
		if w.received == 0 {
			return nil, fmt.Errorf("nothing arrived of %.0f messages", float64(l.counters.Sent.Load()))
		}
		m := metrics{"msg/s": w.received, "MB/s": w.bytes / 1e6, "CPU us/msg": w.cpu / w.received, "loss %": l.loss(0, 0), "peak MiB": w.peak / 1024}
		if relays == 0 {
			return m, nil
		}
		if err := l.all(order{Op: "timing", N: 1}); err != nil {
			return nil, err
		}
		sent, received := l.counters.Sent.Load(), l.counters.Received.Load()
		_, lat, err := l.during(order{Op: "messages", Size: size, Rate: .9 * w.received}, e.warm, e.length)
		if err != nil {
			return nil, err
		}
		m["p50 us"], m["p99 us"], m["p99.9 us"] = lat.P50, lat.P99, lat.P999
		m["open loss %"] = l.loss(sent, received)
		return m, nil
	}
}

// loss waits until nothing arrives any more and gives the share of messages that
// did not, in percent.
func (l *line) loss(sent, received uint64) float64 {
	for last := uint64(0); ; {
		n := l.counters.Received.Load()
		if n == last || n >= l.counters.Sent.Load() {
			break
		}
		last = n
		time.Sleep(50 * time.Millisecond)
	}
	total := float64(l.counters.Sent.Load() - sent)
	return max(0, 100*(1-float64(l.counters.Received.Load()-received)/max(1, total)))
}

// streaming is the stream half of B2: writes of one size, as fast as they are taken.
func streaming(p *Peer, size int, place placement, nw wire) func(context.Context, *env) (metrics, error) {
	return func(ctx context.Context, e *env) (metrics, error) {
		l, err := newLine(ctx, p, 0, place, nw, nil)
		if err != nil {
			return nil, err
		}
		defer l.close()
		w, _, err := l.during(order{Op: "stream", Size: size}, e.warm, e.length)
		if err != nil {
			return nil, err
		}
		if w.bytes == 0 {
			return nil, fmt.Errorf("nothing arrived")
		}
		return metrics{"msg/s": w.bytes / float64(size), "MB/s": w.bytes / 1e6, "CPU us/KiB": w.cpu / (w.bytes / 1024), "peak MiB": w.peak / 1024}, nil
	}
}

// trips is B3: one request at a time, then at the fixed rates.
func trips(p *Peer, relays int, unary bool, rates bool, place placement, nw wire) func(context.Context, *env) (metrics, error) {
	return func(ctx context.Context, e *env) (metrics, error) {
		l, err := newLine(ctx, p, relays, place, nw, nil)
		if err != nil {
			return nil, err
		}
		defer l.close()
		op := "echo"
		if unary {
			op = "unary"
		}
		w, lat, err := l.during(order{Op: op, Size: 1024}, e.warm, e.length)
		if err != nil {
			return nil, err
		}
		if lat.N == 0 {
			return nil, fmt.Errorf("no round trip completed")
		}
		m := metrics{"trips/s": w.trips, "p50 us": lat.P50, "p99 us": lat.P99, "p99.9 us": lat.P999, "CPU us/trip": w.cpu / w.trips}
		if !rates || unary {
			return m, nil
		}
		for _, r := range e.rates {
			_, lat, err := l.during(order{Op: "echo", Size: 1024, Rate: r}, e.warm, e.length)
			if err != nil {
				return nil, fmt.Errorf("at %g a second: %w", r, err)
			}
			m[fmt.Sprintf("p50 us at %g/s", r)], m[fmt.Sprintf("p99 us at %g/s", r)] = lat.P50, lat.P99
		}
		return m, nil
	}
}

// cells are all measurements over one network.
func cells(nw wire) []*cell {
	var out []*cell
	add := func(c cell) {
		c.Net = nw
		out = append(out, &c)
	}
	lo := nw.name == "loopback"
	places := []placement{apart} // two namespaces are two processes
	if lo {
		places = []placement{together, apart}
	}
	for _, p := range peers() {
		for _, place := range places {
			for _, size := range []int{1024, 128} {
				if relays := p.Relays; relays > 0 && p.Messages && (size == 1024 || place == places[0]) {
					add(cell{Workload: map[int]string{1024: "B1", 128: "B1s"}[size], Case: fmt.Sprintf("%d relays, %d B", relays, size), Peer: p,
						Place: place, run: oneWay(p, relays, size, place, nw)})
				}
			}
			if place == places[0] {
				direct(add, p, place, nw)
			}
			roundTrips(add, p, place, nw, lo)
		}
		if lo {
			hostile(add, p, nw)
		}
	}
	return out
}

// direct is B2.
func direct(add func(cell), p *Peer, place placement, nw wire) {
	if p.Streams {
		for _, size := range []int{1024, 256 << 10} {
			add(cell{Workload: "B2", Case: fmt.Sprintf("stream, %d B writes", size), Peer: p, Place: place, run: streaming(p, size, place, nw)})
		}
	} else if p.Messages {
		add(cell{Workload: "B2", Case: "messages, 1024 B", Peer: p, Place: place, run: oneWay(p, 0, 1024, place, nw)})
	}
}

// roundTrips is B3. The unreliable variants of a stack echo over the same stream as
// the reliable ones, and GSO plays no part in a single request.
func roundTrips(add func(cell), p *Peer, place placement, nw wire, rates bool) {
	if p.GSO != "" || p.Name == "nethost" || p.Name == "quic-go datagram" {
		return
	}
	rates = rates && place == together
	for _, relays := range []int{0, 1, 3} {
		if relays > p.Relays || relays == 1 && nw.name != "loopback" {
			continue
		}
		add(cell{Workload: "B3", Case: fmt.Sprintf("%d relays", relays), Peer: p, Place: place, run: trips(p, relays, false, rates, place, nw)})
	}
	if p.Unary {
		add(cell{Workload: "B3", Case: "0 relays, unary call", Peer: p, Place: place, run: trips(p, 0, true, false, place, nw)})
	}
}
