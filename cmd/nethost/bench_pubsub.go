package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"nethost/host"
	"nethost/host/identity"
	"nethost/host/link"
	"nethost/host/module"
	"nethost/host/module/inproc"
	"nethost/host/module/wasm"
	"nethost/sdk/channel"
	"nethost/subprotocols/builtin"
	"nethost/subprotocols/builtin/channels"
)

const (
	pubRounds = 3000
	fanNodes  = 20
	fanBursts = 200
	fanBurst  = 16
)

// benchPubSub measures events between hosts that are embedded in this process.
func benchPubSub(ctx context.Context, e *benchEnv) error {
	guests, err := wasm.New("")
	if err != nil {
		return err
	}
	defer guests.Close()
	opts := module.Options{Core: coreModules, Builtin: builtin.All(), Unsigned: true, Grants: builtinGrants()}
	own := builtinSpec("channels", opts)
	var guest *module.Spec
	specs, _, err := module.Load(e.plugins, opts)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for i := range specs {
		if specs[i].Name == "channels" {
			guest = &specs[i]
		}
	}
	p50, err := pubSubTrip(ctx, own, guests)
	if err != nil {
		return err
	}
	e.value("publish to deliver, 2 embedded hosts, 64 B, builtin, p50", p50.Seconds()*1e6, "us", 0)
	if guest == nil {
		e.emit(measurement{Bench: e.name, Metric: "publish to deliver as wasm: no package channels in " + e.plugins + " (make build)", Pass: true})
	} else if p50, err = pubSubTrip(ctx, *guest, guests); err != nil {
		return err
	} else {
		e.value("publish to deliver, 2 embedded hosts, 64 B, wasm, p50", p50.Seconds()*1e6, "us", 0)
	}
	per, err := fanOut(ctx, own, guests)
	if err != nil {
		return err
	}
	e.value(fmt.Sprintf("CPU of all hosts a delivery, 1 to %d, 1 KiB, bursts of %d", fanNodes, fanBurst), per.Seconds()*1e6, "us", 0)
	return nil
}

// pubSubHost runs a host with the three modules until ctx ends.
func pubSubHost(ctx context.Context, network identity.NetworkKey, spec module.Spec, guests *wasm.Carrier, peers ...host.PeerAddr) (embedded, error) {
	var seed [32]byte
	if _, err := io.ReadFull(rand.Reader, seed[:]); err != nil {
		return embedded{}, err
	}
	l, err := link.ListenUDP(loopback, link.UDPOptions{})
	if err != nil {
		return embedded{}, err
	}
	opts := module.Options{Core: coreModules, Builtin: builtin.All(), Grants: builtinGrants()}
	specs := []module.Spec{builtinSpec("capability", opts), builtinSpec("identity", opts), spec}
	for i := range specs {
		specs[i].Grants.State = 0 // nothing is kept
	}
	h, err := host.New(host.Config{Key: identity.NewKey(seed), NetworkKey: network, Incarnation: 1, Link: l, Peers: peers, Modules: specs,
		Carriers: map[module.Kind]module.Carrier{module.Builtin: inproc.New(builtin.All()), module.Wasm: guests}})
	if err != nil {
		return embedded{}, err
	}
	go h.Run(ctx)
	return embedded{h, l.LocalAddr()}, nil
}

// pubSubOpen opens a stream to channels with its first line.
func pubSubOpen(ctx context.Context, h embedded, method, header string) (s *host.Stream, err error) {
	for range 3000 { // the module may still be compiled
		if s, err = h.Open(ctx, host.Target{ID: channels.ID, Method: method}); err == nil {
			_, err = s.Write([]byte(header + "\n"))
			return s, err
		}
		if err := rest(ctx, 20*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return nil, err
}

func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// events calls f for each event of a stream until it ends.
func events(s *host.Stream, f func(*channel.Event)) {
	var in []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := s.Read(buf)
		in = append(in, buf[:n]...)
		b := in
		for {
			rec, after, terr := channel.TakeRecord(b)
			if terr != nil || rec == nil {
				break
			}
			if ev, _, perr := channel.ParseRecord(rec); perr == nil && ev != nil {
				f(ev)
			}
			b = after
		}
		in = append(in[:0], b...)
		if err != nil {
			return
		}
	}
}

// pubSub is a publisher and subscribers on other hosts, who have all joined.
type pubSub struct {
	pub  *host.Stream
	got  chan time.Time
	stop context.CancelFunc
}

func newPubSub(ctx context.Context, spec module.Spec, guests *wasm.Carrier, n int) (*pubSub, error) {
	ctx, cancel := context.WithCancel(ctx)
	p := &pubSub{got: make(chan time.Time, 1<<16), stop: cancel}
	var network identity.NetworkKey
	if _, err := io.ReadFull(rand.Reader, network[:]); err != nil {
		return p, err
	}
	from, err := pubSubHost(ctx, network, spec, guests)
	if err != nil {
		return p, err
	}
	for range n {
		to, err := pubSubHost(ctx, network, spec, guests, from.peer())
		if err != nil {
			return p, err
		}
		s, err := pubSubOpen(ctx, to, "sub", `{"pattern":"bench","format":"frames"}`)
		if err != nil {
			return p, err
		}
		go events(s, func(*channel.Event) { p.got <- time.Now() })
	}
	if p.pub, err = pubSubOpen(ctx, from, "pub", `{"channel":"bench","format":"frames"}`); err != nil {
		return p, err
	}
	// Everybody is there once as many get an event.
	for range 100 {
		if err := p.publish(1, 1); err != nil {
			return p, err
		}
		if err := rest(ctx, 100*time.Millisecond); err != nil {
			return p, err
		}
		came := 0
		for ; len(p.got) > 0; came++ {
			<-p.got
		}
		if came == n {
			return p, nil
		}
	}
	return p, fmt.Errorf("not all of %d subscribers have come", n)
}

func (p *pubSub) publish(events, size int) error {
	var b []byte
	for range events {
		b = channel.AppendPublish(b, nil, make([]byte, size))
	}
	_, err := p.pub.Write(b)
	return err
}

// take waits for n events, and says when the last one came.
func (p *pubSub) take(ctx context.Context, n int) (last time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for range n {
		select {
		case last = <-p.got:
		case <-ctx.Done():
			return last, ctx.Err()
		}
	}
	return last, nil
}

func pubSubTrip(ctx context.Context, spec module.Spec, guests *wasm.Carrier) (time.Duration, error) {
	p, err := newPubSub(ctx, spec, guests, 1)
	defer p.stop()
	if err != nil {
		return 0, err
	}
	took := make([]time.Duration, pubRounds)
	for i := range took {
		began := time.Now()
		if err := p.publish(1, 64); err != nil {
			return 0, err
		}
		last, err := p.take(ctx, 1)
		if err != nil {
			return 0, err
		}
		took[i] = last.Sub(began)
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

func fanOut(ctx context.Context, spec module.Spec, guests *wasm.Carrier) (time.Duration, error) {
	p, err := newPubSub(ctx, spec, guests, fanNodes)
	defer p.stop()
	if err != nil {
		return 0, err
	}
	before, err := cpuTime(os.Getpid())
	if err != nil {
		return 0, err
	}
	for range fanBursts {
		if err := p.publish(fanBurst, 1024); err != nil {
			return 0, err
		}
		if _, err := p.take(ctx, fanBurst*fanNodes); err != nil {
			return 0, err
		}
	}
	after, err := cpuTime(os.Getpid())
	return (after - before) / (fanBursts * fanBurst * fanNodes), err
}
