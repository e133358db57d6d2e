package kernel

import (
	"bytes"
	"crypto/rand"
	"net/netip"
	"testing"
	"time"

	"nethost/host/identity"
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
	var sent []Datagram
	for _, d := range r.out[i].Datagrams {
		sent = append(sent, Datagram{d.To, bytes.Clone(d.Bytes)})
	}
	for _, j := range append([]*Job(nil), r.out[i].Jobs...) {
		j.Run()
		r.step(i, Input{Kind: InJob, Job: j})
	}
	for _, d := range sent {
		for to := range r.k {
			if r.addr[to] == d.To {
				r.step(to, Input{Kind: InDatagram, Datagram: d.Bytes, From: r.addr[i]})
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
	for _, d := range r.out[0].Datagrams {
		if n == 0 && d.To == r.addr[1] && len(d.Bytes) > len(effect[0].Payload) {
			n = copy(buf, d.Bytes)
		} else {
			r.more = append(r.more, datagramFrom{0, d.To, bytes.Clone(d.Bytes)})
		}
	}
	return buf[:n]
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
	for _, d := range p.out[1].Datagrams {
		if &d.Bytes[0] != &pkt[0] { // not the packet itself, which is rewritten in place
			p.more = append(p.more, datagramFrom{1, d.To, bytes.Clone(d.Bytes)})
		}
	}
}

func (p *path) receive(pkt []byte) {
	p.in = Input{Kind: InDatagram, Datagram: pkt, From: p.addr[1]}
	p.k[2].Step(p.now, &p.in, &p.out[2])
	p.delivered += len(p.out[2].Deliveries)
}

// answers carries what B sent back to R and from there to A.
func (p *path) answers() {
	for _, d := range p.out[2].Datagrams {
		p.in = Input{Kind: InDatagram, Datagram: d.Bytes, From: p.addr[2]}
		p.k[1].Step(p.now, &p.in, &p.out[1])
		for _, e := range p.out[1].Datagrams {
			if e.To != p.addr[0] {
				p.more = append(p.more, datagramFrom{1, e.To, bytes.Clone(e.Bytes)})
				continue
			}
			p.in = Input{Kind: InDatagram, Datagram: e.Bytes, From: p.addr[1]}
			p.k[0].Step(p.now, &p.in, &p.out[0])
			for _, f := range p.out[0].Datagrams {
				p.more = append(p.more, datagramFrom{0, f.To, bytes.Clone(f.Bytes)})
			}
		}
	}
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
	if p.delivered < 3900 {
		t.Errorf("%d messages were delivered", p.delivered)
	}
}

func BenchmarkForward(b *testing.B) {
	p := newPath(b)
	const train = 16 // well within the congestion window
	var bufs [train][2048]byte
	var pkts [train][]byte
	before, sent := p.k[1].Counters().Forwarded, 0
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; done += train {
		b.StopTimer()
		for i := range bufs {
			pkts[i] = p.message(p.effect, &p.in, bufs[i][:])
		}
		b.StartTimer()
		for i := range pkts {
			p.forward(pkts[i])
		}
		b.StopTimer()
		sent += train
		if n := p.k[1].Counters().Forwarded - before; n != uint64(sent) {
			b.Fatalf("%d of %d packets were forwarded", n, sent)
		}
		for i := range pkts {
			p.receive(pkts[i])
			p.answers()
		}
		sent = 0
		before = p.k[1].Counters().Forwarded
		b.StartTimer()
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
