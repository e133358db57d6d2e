package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
)

// hostile adds the workloads beyond plain traffic.
func hostile(add func(cell), p *Peer, nw wire) {
	if p.GSO != "" || p.Name == "plain UDP" {
		return
	}
	if p.Streams || p.Name == "NATS TLS" {
		add(cell{Workload: "B7", Case: "new sessions", Peer: p, Place: apart, run: handshakes(p, nw)})
		add(cell{Workload: "B10", Case: "idle sessions", Peer: p, Place: apart, Once: true, run: idleMemory(p, nw)})
	}
	if p.Relays == 3 && p.Messages {
		add(cell{Workload: "B10", Case: "relays under 3x load", Peer: p, Place: apart, Once: true, run: overload(p, nw)})
	}
	if !p.UDP {
		return
	}
	if p.Streams {
		add(cell{Workload: "B7", Case: "200 k/s spoofed first messages", Peer: p, Place: apart, run: underFlood(p, nw)})
		for _, mtu := range []int{1280, 1124} {
			for _, late := range []bool{false, true} {
				name := fmt.Sprintf("1 MiB, path of %d from the start", mtu)
				if late {
					name = fmt.Sprintf("1 MiB, path shrinks to %d", mtu)
				}
				add(cell{Workload: "B9", Case: name, Peer: p, Place: together, Once: true, run: narrow(p, nw, mtu, late)})
			}
		}
		add(cell{Workload: "B11", Case: "stream, 64 KiB writes", Peer: p, Place: together, run: lossyStream(p, nw)})
	} else {
		add(cell{Workload: "B11", Case: "messages at 10 000/s", Peer: p, Place: together, run: lossyMessages(p, nw)})
	}
}

// dial opens sessions and drops them, N at a time, until halt. A session is there
// when an echo of 64 bytes came back.
func (w *worker) dial(o *order) error {
	ctx, cancel := context.WithCancel(w.ctx)
	return w.begin(cancel, func() error {
		errs := make(chan error, o.N)
		var wg sync.WaitGroup
		for i := range o.N {
			wg.Go(func() {
				for n := i; ctx.Err() == nil; n += o.N {
					began := monotonic()
					node, err := w.session(ctx, n+1)
					if err != nil {
						if ctx.Err() == nil {
							errs <- err
						}
						return
					}
					w.meter.Sample(monotonic() - began)
					w.meter.Trips.Add(1)
					node.Close()
				}
			})
		}
		wg.Wait()
		close(errs)
		return <-errs
	})
}

// session starts another source node with an identity of its own and waits for an
// echo.
func (w *worker) session(ctx context.Context, salt int) (Node, error) {
	s := w.specs[0]
	s.Salt = salt
	s.Listen = slices.Clone(s.Listen)
	s.Listen[0] = netip.AddrPortFrom(s.Listen[0].Addr(), 0)
	n, err := w.peer.Start(ctx, s, w.meter)
	if err != nil {
		return nil, err
	}
	one, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := echoOnce(one, n); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// idleLimit is how long idle tries to open more sessions.
const idleLimit = 30 * time.Second

// idle opens N more sessions, as far as it can, and keeps them.
func (w *worker) idle(n int, r *reply) error {
	began := time.Now()
	for range n {
		if time.Since(began) > idleLimit {
			break
		}
		s, err := w.session(w.ctx, len(w.idlers)+1)
		if err != nil {
			break // how many there are says it
		}
		w.idlers = append(w.idlers, s)
	}
	r.Sessions = len(w.idlers)
	return nil
}

// captureFirst gives the first datagram that a new client sends.
func captureFirst(ctx context.Context, p *Peer, s Spec) ([]byte, error) {
	c, err := listenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	s.Dial, s.Listen = slices.Clone(s.Dial), slices.Clone(s.Listen)
	s.Dial[1] = c.LocalAddr().(*net.UDPAddr).AddrPort()
	s.Listen[0] = netip.AddrPortFrom(s.Listen[0].Addr(), 0)
	s.Salt = 1 << 20
	n, err := p.Start(ctx, s, &Meter{Counters: &Counters{}})
	if err != nil {
		return nil, err
	}
	defer n.Close()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	go func() { _ = echoOnce(ctx, n) }()
	b := make([]byte, 2048)
	_ = c.SetReadDeadline(time.Now().Add(3 * time.Second))
	k, _, err := c.ReadFromUDPAddrPort(b)
	return b[:k], err
}

// floodSources is from how many addresses a flood comes.
const floodSources = 64

// flood sends a first message of a session at a rate, from many addresses.
func (w *worker) flood(o *order) error {
	c, err := mapCounters(o.Counters)
	if err != nil {
		return err
	}
	to, err := netip.ParseAddrPort(o.To)
	if err != nil {
		return err
	}
	p, err := newPacer(c, 1, o.Rate)
	if err != nil {
		return err
	}
	var conns []*ipv4.PacketConn
	var sockets []io.Closer
	for i := range floodSources {
		u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 1, byte(i/8+1), byte(i%8+1))})
		if err != nil {
			return err
		}
		sockets = append(sockets, u)
		conns = append(conns, ipv4.NewPacketConn(u))
	}
	return w.begin(p.Stop, func() error {
		for _, s := range sockets {
			defer s.Close()
		}
		dice := rand.New(rand.NewPCG(1, 2))
		msgs := make([]ipv4.Message, 32)
		for i := range msgs {
			msgs[i] = ipv4.Message{Buffers: [][]byte{slices.Clone(o.Template)}, Addr: net.UDPAddrFromAddrPort(to)}
		}
		for turn := 0; ; turn++ {
			n := p.Take(len(msgs))
			if n == 0 {
				return nil
			}
			for i := range n {
				if b := msgs[i].Buffers[0]; o.Vary {
					copy(b, o.Template)
					for range 4 { // behind the header fields that both protocols look at first
						b[30+dice.IntN(len(b)-30)] ^= byte(1 + dice.IntN(255))
					}
				}
				p.seq++
			}
			c.Sent.Store(p.seq)
			for rest := msgs[:n]; len(rest) > 0; {
				k, err := conns[turn%len(conns)].WriteBatch(rest, 0)
				if err != nil && !errors.Is(err, net.ErrClosed) {
					break // a full queue at the target's socket is the target's affair
				}
				rest = rest[max(k, 1):]
			}
		}
	})
}
