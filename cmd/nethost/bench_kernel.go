package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"nethost/host/identity"
	"nethost/host/kernel"
	"nethost/host/wire"
	"nethost/registry"
	"nethost/sdk"
)

// memNode is a kernel with a mailbox of datagrams, for measuring in memory.
type memNode struct {
	k    *kernel.Kernel
	addr netip.AddrPort
	out  kernel.Output
}

// memNet is three kernels in a row, A - R - B, without sockets.
type memNet struct {
	nodes []*memNode
	now   time.Duration
	peer  sdk.Peer // B as A's module knows it
}

// benchKernel measures the packet path in memory: seal and send at A, forward at
// R, open and deliver at B.
func benchKernel(_ context.Context, env *benchEnv) error {
	m, err := newMemNet()
	if err != nil {
		return err
	}
	for _, size := range []int{64, 1024} {
		f, err := m.measure(size)
		if err != nil {
			return err
		}
		goal, zero := 0.0, 1e-3 // what the runtime does beside us shows as some in a hundred thousand; a test wants exactly none
		if size == 64 {
			goal = 60
		}
		env.value(fmt.Sprintf("forward %d B in memory, in trains of %d", size, train), f[1].ns, "ns/packet", goal)
		env.value(fmt.Sprintf("forward %d B in memory, alone", size), f[3].ns, "ns/packet", 0)
		for i, name := range []string{"seal and send", "forward", "receive, open and deliver"} {
			if i != 1 {
				env.value(fmt.Sprintf("%s, %d B in memory", name, size), f[i].ns, "ns/packet", 0)
			}
			env.value(fmt.Sprintf("%s, %d B, allocations", name, size), f[i].allocs, "allocs/packet", zero)
		}
	}
	return nil
}

func newMemNet() (*memNet, error) {
	m := &memNet{now: time.Second}
	network, err := randomNetworkKey()
	if err != nil {
		return nil, err
	}
	v := sdk.Version{Major: 1}
	table := registry.NewTable().With(registry.Entry{Line: registry.Line{ID: 7, Version: v, MinPeer: v}})
	for i := range 3 {
		var seeds [2][32]byte
		rand.Read(seeds[0][:])
		rand.Read(seeds[1][:])
		key := identity.NewKey(seeds[0])
		cfg := kernel.Config{Key: key, Static: identity.NewStatic(key, seeds[1], 1), NetworkKey: network, Entropy: rand.Reader}
		if i != 1 {
			cfg.Table = table
		}
		k, err := kernel.New(cfg, m.now)
		if err != nil {
			return nil, err
		}
		m.nodes = append(m.nodes, &memNode{k: k, addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 1)})
	}
	a, r, b := m.nodes[0], m.nodes[1], m.nodes[2]
	for _, n := range []*memNode{a, b} {
		m.step(n, kernel.Input{Kind: kernel.InModuleUp})
		m.step(n, kernel.Input{Kind: kernel.InDial, From: r.addr})
	}
	m.step(a, kernel.Input{Kind: kernel.InAppOpen, App: 1, Node: b.k.Self(), ID: 7})
	for range 2000 {
		m.now += time.Millisecond
		for _, n := range m.nodes {
			m.step(n, kernel.Input{Kind: kernel.InTick})
		}
		for _, p := range a.k.Peers(m.now) {
			if p.Node == b.k.Self() && p.Agreed {
				m.peer = p.Handle
				return m, nil
			}
		}
	}
	return nil, errors.New("A and B did not agree through R")
}

// step runs one input and, at once, everything that follows from it.
func (m *memNet) step(n *memNode, in kernel.Input) {
	n.k.Step(m.now, &in, &n.out)
	var sent []wire.Train
	for _, d := range n.out.Datagrams {
		d.Bytes = bytes.Clone(d.Bytes)
		sent = append(sent, d)
	}
	jobs := append([]*kernel.Job(nil), n.out.Jobs...)
	for _, j := range jobs {
		j.Run()
		m.step(n, kernel.Input{Kind: kernel.InJob, Job: j})
	}
	for _, d := range sent {
		for _, to := range m.nodes {
			if to.addr == d.Addr {
				m.step(to, kernel.Input{Kind: kernel.InTrains, Trains: []wire.Train{{Addr: n.addr, Bytes: d.Bytes, Segment: d.Segment}}})
			}
		}
	}
}

// cost is what one packet takes.
type cost struct{ ns, allocs float64 }

// timed runs f over a train of packets and adds up time and allocations.
type timed struct {
	total  time.Duration
	allocs uint64
}

func (t *timed) run(f func()) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	f()
	t.total += time.Since(began)
	runtime.ReadMemStats(&after)
	t.allocs += after.Mallocs - before.Mallocs
}

// train is how many packets travel together, as they do on a busy link.
const train = 16

// measure sends messages A -> R -> B and measures each station: seal and send,
// forward in trains, open and deliver, and forward one by one. A's time includes a
// copy of the packets, because its buffer lives until the next step.
func (m *memNet) measure(size int) ([4]cost, error) {
	const rounds, warm = 1600, 400
	a, r, b := m.nodes[0], m.nodes[1], m.nodes[2]
	effect := []sdk.Effect{{Kind: sdk.OpSend, Peer: m.peer, ID: 7, Payload: make([]byte, size)}}
	var stations [4]timed
	var in kernel.Input
	memory := make([]byte, 0, 64<<10)
	on := make([]wire.Train, 0, train)
	acks := make([]wire.Train, 0, 64)
	delivered := 0
	for round := range warm + rounds {
		if round == warm {
			stations, delivered = [4]timed{}, 0
		}
		m.now += 200 * time.Microsecond
		stations[0].run(func() {
			memory, on = memory[:0], on[:0]
			for range train { // together, small ones would share a packet
				in = kernel.Input{Kind: kernel.InEffects, Effects: effect}
				a.k.Step(m.now, &in, &a.out)
				for _, d := range a.out.Datagrams {
					if d.Addr == r.addr && len(d.Bytes) > size {
						memory = append(memory, d.Bytes...)
						pkt := memory[len(memory)-len(d.Bytes):]
						if n := len(on); n == 0 || !on[n-1].Join(pkt) {
							on = append(on, wire.Train{Addr: a.addr, Bytes: pkt})
						}
					}
				}
			}
		})
		if round%2 == 0 {
			stations[1].run(func() {
				in = kernel.Input{Kind: kernel.InTrains, Trains: on}
				r.k.Step(m.now, &in, &r.out) // rewrites the packets in place
			})
		} else {
			stations[3].run(func() {
				for _, d := range on {
					for more := true; more; {
						in = kernel.Input{Kind: kernel.InDatagram, From: a.addr}
						in.Datagram, more = d.Cut()
						r.k.Step(m.now, &in, &r.out)
					}
				}
			})
		}
		for i := range on {
			on[i].Addr = r.addr
		}
		stations[2].run(func() {
			in = kernel.Input{Kind: kernel.InTrains, Trains: on}
			b.k.Step(m.now, &in, &b.out)
			delivered += len(b.out.Deliveries)
		})
		acks = acks[:0]
		for _, d := range b.out.Datagrams {
			acks = append(acks, wire.Train{Addr: d.Addr, Bytes: bytes.Clone(d.Bytes), Segment: d.Segment})
		}
		m.back(b, acks)
	}
	if delivered < rounds*train*99/100 {
		return [4]cost{}, fmt.Errorf("of %d messages %d arrived", rounds*train, delivered)
	}
	var out [4]cost
	for i, s := range stations {
		n := float64(rounds * train)
		if i%2 == 1 { // every other round
			n /= 2
		}
		out[i] = cost{float64(s.total.Nanoseconds()) / n, float64(s.allocs) / n}
	}
	return out, nil
}

// back lets acknowledgements of B reach A through R.
func (m *memNet) back(b *memNode, acks []wire.Train) {
	for _, d := range acks {
		for _, to := range m.nodes {
			if to.addr == d.Addr {
				d.Addr = b.addr
				m.step(to, kernel.Input{Kind: kernel.InTrains, Trains: []wire.Train{d}})
				break
			}
		}
	}
}
