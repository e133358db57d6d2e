package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"sort"
	"time"
)

// handshakes is the first half of B7.
func handshakes(p *Peer, nw wire) func(context.Context, *env) (metrics, error) {
	return func(ctx context.Context, e *env) (metrics, error) {
		l, err := newLine(ctx, p, 0, apart, nw, nil)
		if err != nil {
			return nil, err
		}
		defer l.close()
		w, lat, err := l.during(order{Op: "dial", N: 4}, e.warm, e.length)
		if err != nil {
			return nil, err
		}
		if w.trips == 0 {
			return nil, errors.New("no session came up")
		}
		return metrics{"sessions/s": w.trips, "p50 us": lat.P50, "p99 us": lat.P99, "server CPU us": w.cpuOf[1] / w.trips,
			"client CPU us": w.cpuOf[0] / w.trips}, nil
	}
}

// floodRate is what B7 asks for, datagrams a second.
const floodRate = 200e3

// underFlood is the second half of B7: goodput of one session alone, while the flood
// goes to a socket that nobody reads (what the sender of the flood costs on the same
// two cores), and while it goes to the sink.
func underFlood(p *Peer, nw wire) func(context.Context, *env) (metrics, error) {
	return func(ctx context.Context, e *env) (metrics, error) {
		l, err := newLine(ctx, p, 0, apart, nw, nil)
		if err != nil {
			return nil, err
		}
		defer l.close()
		first, err := l.source().do(order{Op: "capture"}, 10*time.Second)
		if err != nil {
			return nil, fmt.Errorf("no first message was captured: %w", err)
		}
		unread, err := listenUDP(netip.AddrPortFrom(nw.addrs[0], 0))
		if err != nil {
			return nil, err
		}
		defer unread.Close()
		flooder, err := spawn(ctx, p, "")
		if err != nil {
			return nil, err
		}
		defer flooder.end()
		file := filepath.Join(l.dir, "flood")
		sent, err := mapCounters(file)
		if err != nil {
			return nil, err
		}
		m := metrics{"first message B": float64(len(first.Template))}
		for _, f := range []struct {
			name, to string
			vary     bool
		}{{"alone", "", false}, {"elsewhere", unread.LocalAddr().String(), false}, {"forged", l.specs[0].Listen[1].String(), true},
			{"replayed", l.specs[0].Listen[1].String(), false}} {
			if f.to != "" {
				if _, err := flooder.do(order{Op: "flood", Counters: file, To: f.to, Rate: floodRate, Template: first.Template, Vary: f.vary}, 10*time.Second); err != nil {
					return nil, err
				}
			}
			before, at := sent.Sent.Load(), time.Now()
			w, _, err := l.during(order{Op: "stream", Size: 64 << 10}, e.warm, e.length)
			if err != nil {
				return nil, fmt.Errorf("flood %s: %w", f.name, err)
			}
			if f.to != "" {
				m["flood/s "+f.name] = float64(sent.Sent.Load()-before) / time.Since(at).Seconds()
				if _, err := flooder.do(order{Op: "halt"}, 10*time.Second); err != nil {
					return nil, err
				}
			}
			m["MB/s "+f.name] = w.bytes / 1e6
		}
		if base := m["MB/s elsewhere"]; base > 0 {
			m["forged ratio"], m["replayed ratio"] = m["MB/s forged"]/base, m["MB/s replayed"]/base
		}
		return m, nil
	}
}

// narrow is B9: 1 MiB over a path that silently drops long packets.
func narrow(p *Peer, nw wire, mtu int, late bool) func(context.Context, *env) (metrics, error) {
	narrowed := *p
	narrowed.Env = append(slices.Clone(p.Env), narrowEnv)
	return func(ctx context.Context, e *env) (metrics, error) {
		p := &narrowed
		clean, _, err := transfers(ctx, p, nw, 0, false)
		if err != nil {
			return nil, fmt.Errorf("without a limit: %w", err)
		}
		took, dropped, err := transfers(ctx, p, nw, mtu, late)
		if err != nil {
			return nil, err
		}
		return metrics{"clean ms": clean * 1e3, "narrow ms": took * 1e3, "ratio": took / clean, "packets dropped": float64(dropped)}, nil
	}
}

// transfers gives the median time of five transfers; late sets the limit only once
// a transfer without it is through, and then gives the first one after.
func transfers(ctx context.Context, p *Peer, nw wire, mtu int, late bool) (seconds float64, dropped uint64, err error) {
	px, err := newProxy(1)
	if err != nil {
		return 0, 0, err
	}
	defer px.close()
	if !late {
		px.maxSize.Store(int64(mtu))
	}
	l, err := newLine(ctx, p, 0, together, nw, px.via)
	if err != nil {
		return 0, 0, err
	}
	defer l.close()
	n := 5
	if late {
		if _, err := l.source().do(order{Op: "transfer", N: 1 << 20}, 20*time.Second); err != nil {
			return 0, 0, err
		}
		px.maxSize.Store(int64(mtu))
		n = 1
	}
	var all []float64
	for range n {
		r, err := l.source().do(order{Op: "transfer", N: 1 << 20}, 20*time.Second)
		if err != nil {
			return 0, px.dropped.Load(), err
		}
		all = append(all, r.Seconds)
	}
	sort.Float64s(all)
	return all[len(all)/2], px.dropped.Load(), nil
}

// idleMemory is the first half of B10.
func idleMemory(p *Peer, nw wire) func(context.Context, *env) (metrics, error) {
	return func(ctx context.Context, e *env) (metrics, error) {
		l, err := newLine(ctx, p, 0, apart, nw, nil)
		if err != nil {
			return nil, err
		}
		defer l.close()
		empty, err := spawn(ctx, p, "")
		if err != nil {
			return nil, err
		}
		defer empty.end()
		bare, err := settled(empty)
		if err != nil {
			return nil, err
		}
		m := metrics{"RSS MiB, no node": bare / 1024}
		var first, kib float64
		sessions := 1
		for _, want := range []int{1, 100, 1000} {
			r, err := l.source().do(order{Op: "idle", N: want - sessions}, 2*idleLimit)
			if err != nil {
				return nil, err
			}
			sessions = 1 + r.Sessions
			if kib, err = settled(l.sink()); err != nil {
				return nil, err
			}
			if want == 1 {
				first = kib
				m["RSS MiB, 1"] = kib / 1024
			} else if sessions == 100 {
				m["RSS MiB, 100"] = kib / 1024
			}
		}
		if sessions == 1 {
			return m, errors.New("no second session came up")
		}
		m["sessions at most"], m["RSS MiB, at most"] = float64(sessions), kib/1024
		m["KiB/session"] = (kib - first) / float64(sessions-1)
		return m, nil
	}
}

// settled is the RSS of a process after it gave back what it does not need, in KiB.
func settled(p *process) (float64, error) {
	time.Sleep(300 * time.Millisecond)
	if _, err := p.do(order{Op: "trim"}, 20*time.Second); err != nil {
		return 0, err
	}
	r, err := p.do(order{Op: "usage"}, 10*time.Second)
	return r.RSS, err
}

// overload is the second half of B10: how far the peak RSS of the relays of B1 grows
// when the source offers three times what the line carries.
func overload(p *Peer, nw wire) func(context.Context, *env) (metrics, error) {
	return func(ctx context.Context, e *env) (metrics, error) {
		l, err := newLine(ctx, p, 3, apart, nw, nil)
		if err != nil {
			return nil, err
		}
		defer l.close()
		run := func(o order) (w window, peaks []float64, err error) {
			if err := l.all(order{Op: "trim"}); err != nil {
				return w, nil, err
			}
			if w, _, err = l.during(o, e.warm, 2*e.length); err != nil {
				return w, nil, err
			}
			s, err := l.snap()
			return w, s.peak, err
		}
		// Twice, so that the heaps have their size before the comparison.
		if _, _, err := run(order{Op: "messages", Size: 1024, Window: uint64(e.window)}); err != nil {
			return nil, err
		}
		w, steady, err := run(order{Op: "messages", Size: 1024, Window: uint64(e.window)})
		if err != nil {
			return nil, err
		}
		if w.received == 0 {
			return nil, errors.New("nothing arrived")
		}
		o, over, err := run(order{Op: "messages", Size: 1024, Rate: 3 * w.received})
		if err != nil {
			return nil, err
		}
		m := metrics{"offered/s": o.sent, "delivered/s": o.received}
		for i := 1; i < 4; i++ {
			m["steady peak MiB"] = max(m["steady peak MiB"], steady[i]/1024)
			m["overload peak MiB"] = max(m["overload peak MiB"], over[i]/1024)
			m["growth MiB"] = max(m["growth MiB"], (over[i]-steady[i])/1024)
		}
		return m, nil
	}
}

// impairment of B11, each way.
const (
	lossShare = .01
	lateShare = .05
	lateBy    = 5 * time.Millisecond
)

// lossy is one line through the proxy.
func lossy(ctx context.Context, p *Peer, nw wire) (*proxy, *line, error) {
	px, err := newProxy(7)
	if err != nil {
		return nil, nil, err
	}
	px.loss, px.late, px.delay = lossShare, lateShare, lateBy
	l, err := newLine(ctx, p, 0, together, nw, px.via)
	if err != nil {
		px.close()
		return nil, nil, err
	}
	return px, l, nil
}

func lossyStream(p *Peer, nw wire) func(context.Context, *env) (metrics, error) {
	return func(ctx context.Context, e *env) (metrics, error) {
		px, l, err := lossy(ctx, p, nw)
		if err != nil {
			return nil, err
		}
		defer px.close()
		defer l.close()
		m := metrics{}
		for _, name := range []string{"clean", "impaired"} {
			px.impair.Store(name == "impaired")
			w, _, err := l.during(order{Op: "stream", Size: 64 << 10}, e.warm, 2*e.length)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			m["MB/s "+name] = w.bytes / 1e6
		}
		if m["MB/s clean"] == 0 {
			return nil, errors.New("nothing arrived")
		}
		m["ratio"] = m["MB/s impaired"] / m["MB/s clean"]
		return m, nil
	}
}

func lossyMessages(p *Peer, nw wire) func(context.Context, *env) (metrics, error) {
	return func(ctx context.Context, e *env) (metrics, error) {
		px, l, err := lossy(ctx, p, nw)
		if err != nil {
			return nil, err
		}
		defer px.close()
		defer l.close()
		px.impair.Store(true)
		w, _, err := l.during(order{Op: "messages", Size: 1024, Rate: 10e3}, e.warm, 2*e.length)
		if err != nil {
			return nil, err
		}
		return metrics{"msg/s": w.received, "loss %": l.loss(0, 0), "ratio": w.received / w.sent}, nil
	}
}
