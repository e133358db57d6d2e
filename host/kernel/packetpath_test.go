package kernel

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"nethost/host/identity"
	"nethost/host/wire"
	"nethost/registry"
	"nethost/sdk"
)

// row is three kernels in memory, A - R - B, with a message module on A and B.
type row struct {
	k    [3]*Kernel
	addr [3]netip.AddrPort
	out  [3]Output
	now  time.Duration
	peer sdk.Peer // B as A's module knows it
	more []datagramFrom
}

func newRow(t testing.TB) *row {
	t.Helper()
	r := &row{now: time.Second}
	v := sdk.Version{Major: 1}
	table := registry.NewTable().With(registry.Entry{Line: registry.Line{ID: 7, Version: v, MinPeer: v}})
	for i := range r.k {
		key := identity.NewKey([32]byte{byte(i + 1)})
		cfg := Config{Key: key, Static: identity.NewStatic(key, [32]byte{byte(i + 9)}, 1), NetworkKey: identity.NetworkKey{5}, Entropy: rand.Reader}
		if i != 1 {
			cfg.Table = table
		}
		k, err := New(cfg, r.now)
		if err != nil {
			t.Fatal(err)
		}
		r.k[i], r.addr[i] = k, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 1)
	}
	for _, i := range []int{0, 2} {
		r.step(i, Input{Kind: InModuleUp})
		r.step(i, Input{Kind: InDial, From: r.addr[1]})
	}
	r.step(0, Input{Kind: InAppOpen, App: 1, Node: r.k[2].Self(), ID: 7})
	for range 2000 {
		r.now += time.Millisecond
		for i := range r.k {
			r.step(i, Input{Kind: InTick})
		}
		for _, p := range r.k[0].Peers(r.now) {
			if p.Node == r.k[2].Self() && p.Agreed {
				r.peer = p.Handle
				return r
			}
		}
	}
	t.Fatal("A and B did not agree through R")
	return nil
}

// step runs one input and, at once, everything that follows from it.
func (r *row) step(i int, in Input) {
	r.k[i].Step(r.now, &in, &r.out[i])
	var sent []wire.Train
	for _, d := range r.out[i].Datagrams {
		d.Bytes = bytes.Clone(d.Bytes)
		sent = append(sent, d)
	}
	for _, j := range append([]*Job(nil), r.out[i].Jobs...) {
		j.Run()
		r.step(i, Input{Kind: InJob, Job: j})
	}
	for _, d := range sent {
		for to := range r.k {
			if r.addr[to] == d.Addr {
				d.Addr = r.addr[i]
				r.step(to, Input{Kind: InTrains, Trains: []wire.Train{d}})
				break
			}
		}
	}
}

// message lets A send a message and gives the packet on its way to R.
func (r *row) message(effect []sdk.Effect, in *Input, buf []byte) []byte {
	r.now += time.Microsecond // so that no key grows old while we measure
	*in = Input{Kind: InEffects, Effects: effect}
	r.k[0].Step(r.now, in, &r.out[0])
	n := 0
	each(&r.out[0], func(to netip.AddrPort, b []byte) {
		if n == 0 && to == r.addr[1] && len(b) > len(effect[0].Payload) {
			n = copy(buf, b)
		} else {
			r.more = append(r.more, datagramFrom{0, to, bytes.Clone(b)})
		}
	})
	return buf[:n]
}

// each visits the datagrams of an output one by one.
func each(out *Output, visit func(to netip.AddrPort, b []byte)) {
	for _, d := range out.Datagrams {
		for more := true; more; {
			var b []byte
			b, more = d.Cut()
			visit(d.Addr, b)
		}
	}
}

// datagramFrom is a packet beside the measured ones: a probe, a wave.
type datagramFrom struct {
	from int
	to   netip.AddrPort
	b    []byte
}

// settle carries packets beside the measured ones.
func (r *row) settle() {
	more := r.more
	r.more = r.more[:0]
	for _, d := range more {
		for to := range r.k {
			if r.addr[to] == d.to {
				r.step(to, Input{Kind: InDatagram, Datagram: d.b, From: r.addr[d.from]})
			}
		}
	}
}

// path carries one message all the way; what B answers is given to R and A, so
// that acknowledgements flow.
type path struct {
	*row
	effect    []sdk.Effect
	in        Input
	buf       [2048]byte
	delivered int
}

func (p *path) forward(pkt []byte) {
	p.in = Input{Kind: InDatagram, Datagram: pkt, From: p.addr[0]}
	p.k[1].Step(p.now, &p.in, &p.out[1])
	each(&p.out[1], func(to netip.AddrPort, b []byte) {
		if &b[0] != &pkt[0] { // not the packet itself, which is rewritten in place
			p.more = append(p.more, datagramFrom{1, to, bytes.Clone(b)})
		}
	})
}

func (p *path) receive(pkt []byte) {
	p.in = Input{Kind: InDatagram, Datagram: pkt, From: p.addr[1]}
	p.k[2].Step(p.now, &p.in, &p.out[2])
	p.delivered += len(p.out[2].Deliveries)
}

// answers carries what B sent back to R and from there to A.
func (p *path) answers() {
	each(&p.out[2], func(_ netip.AddrPort, b []byte) {
		p.in = Input{Kind: InDatagram, Datagram: b, From: p.addr[2]}
		p.k[1].Step(p.now, &p.in, &p.out[1])
		each(&p.out[1], func(to netip.AddrPort, b []byte) {
			if to != p.addr[0] {
				p.more = append(p.more, datagramFrom{1, to, bytes.Clone(b)})
				return
			}
			p.in = Input{Kind: InDatagram, Datagram: b, From: p.addr[1]}
			p.k[0].Step(p.now, &p.in, &p.out[0])
			each(&p.out[0], func(to netip.AddrPort, b []byte) {
				p.more = append(p.more, datagramFrom{0, to, bytes.Clone(b)})
			})
		})
	})
	p.settle()
}

func newPath(t testing.TB) *path {
	p := &path{row: newRow(t)}
	p.effect = []sdk.Effect{{Kind: sdk.OpSend, Peer: p.peer, ID: 7, Payload: make([]byte, 1024)}}
	for range 2000 { // warm up: pools, rings and the congestion window
		p.whole()
	}
	return p
}

func (p *path) whole() {
	pkt := p.message(p.effect, &p.in, p.buf[:])
	p.forward(pkt)
	p.receive(pkt)
	p.answers()
}

// TestPacketPathAllocates: nothing, at any station.
func TestPacketPathAllocates(t *testing.T) {
	p := newPath(t)
	if n := testing.AllocsPerRun(2000, p.whole); n != 0 {
		t.Errorf("a message from A through R to B, and its acknowledgement, allocate %v times", n)
	}
	// A train of equal packets is relayed as one, without a copy.
	memory := make([]byte, 0, 8192)
	for range 4 {
		at := len(memory)
		memory = memory[:at+len(p.message(p.effect, &p.in, memory[at:at+2048]))]
	}
	p.in = Input{Kind: InTrains, Trains: []wire.Train{{Addr: p.addr[0], Bytes: memory, Segment: len(memory) / 4}}}
	p.k[1].Step(p.now, &p.in, &p.out[1])
	if d := p.out[1].Datagrams; len(d) == 0 || d[0].Count() != 4 || &d[0].Bytes[0] != &memory[0] {
		t.Errorf("a train of four left as %d", len(d))
	}
	if p.delivered < 3900 {
		t.Errorf("%d messages were delivered", p.delivered)
	}
}

// BenchmarkForward is a packet alone, and packets as they come from a busy link: in
// trains of one size, side by side. The relay cannot tell what is in them.
func BenchmarkForward(b *testing.B) {
	for _, train := range []int{1, 16, 58} {
		b.Run(fmt.Sprintf("train of %d", train), func(b *testing.B) {
			p := newPath(b)
			const size, lot = 1100, 4096
			link, dest := p.k[0].peers[p.k[1].self].cur, p.k[2].rid
			memory := make([]byte, lot*size)
			var in []Input
			b.ReportAllocs()
			b.ResetTimer()
			for done := 0; done < b.N; done += len(in) * train {
				b.StopTimer()
				in = in[:0]
				for at := 0; at+train*size <= len(memory); at += train * size {
					for i := range train {
						pkt := memory[at+i*size : at+(i+1)*size]
						wire.AppendHop(pkt[:0], wire.Hop{Version: wire.Version, Type: wire.TypeForward, TTL: 9, Dest: dest})
						link.SignHop(pkt)
					}
					in = append(in, Input{Kind: InTrains, Trains: []wire.Train{{Addr: p.addr[0], Bytes: memory[at : at+train*size], Segment: size}}})
				}
				before := p.k[1].Counters().Forwarded
				b.StartTimer()
				for i := range in {
					p.k[1].Step(p.now, &in[i], &p.out[1])
				}
				b.StopTimer()
				if n := p.k[1].Counters().Forwarded - before; n != uint64(len(in)*train) || p.out[1].Datagrams[0].Count() != train {
					b.Fatalf("%d of %d packets were forwarded, the last %d together", n, len(in)*train, p.out[1].Datagrams[0].Count())
				}
				b.StartTimer()
			}
		})
	}
}

func BenchmarkSend(b *testing.B) {
	p := newPath(b)
	b.ReportAllocs()
	for b.Loop() {
		pkt := p.message(p.effect, &p.in, p.buf[:])
		b.StopTimer()
		p.forward(pkt)
		p.receive(pkt)
		p.answers()
		b.StartTimer()
	}
}
