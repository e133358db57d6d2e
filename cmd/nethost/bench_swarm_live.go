package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"time"

	"nethost/host"
	"nethost/host/identity"
	"nethost/host/kernel"
	"nethost/host/link"
	"nethost/host/module"
	"nethost/host/module/inproc"
	"nethost/sdk"
	"nethost/subprotocols/builtin"
)

// benchSwarmLive breaks relays that are processes: a flow of 1000 messages a second
// from A to B through one of two relays on loopback, and a stream.
func benchSwarmLive(ctx context.Context, env *benchEnv) error {
	if err := liveGaps(ctx, env); err != nil {
		return err
	}
	if err := liveStreams(ctx, env); err != nil {
		return err
	}
	return liveBusy(ctx, env)
}

// liveFault is what happens to the relay on the path.
type liveFault int

const (
	faultKill   liveFault = iota // kill -9: the kernel answers with ICMP from then on
	faultFreeze                  // SIGSTOP: nobody answers
	faultGrey                    // it answers its neighbours, and what it forwards to B or from there is lost
)

// liveRuns of each fault: one figure says little on a machine that does other things.
const liveRuns = 5

func liveGaps(ctx context.Context, env *benchEnv) error {
	for _, c := range []struct {
		name    string
		profile kernel.Profile
		fault   liveFault
		target  float64 // ms
	}{
		{"kill -9 of the relay, default", kernel.ProfileDefault, faultKill, 20},
		{"SIGSTOP of the relay, default", kernel.ProfileDefault, faultFreeze, 80},
		{"SIGSTOP of the relay, fast", kernel.ProfileFast, faultFreeze, 60},
		{"grey relay, default", kernel.ProfileDefault, faultGrey, 500},
	} {
		var gaps, calm, lost []float64
		for range liveRuns {
			g, err := liveGap(ctx, env, c.profile, c.fault)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			gaps, calm, lost = append(gaps, millis(g.longest)), append(calm, millis(g.calm)), append(lost, float64(g.lost))
		}
		name := "live: diamond, " + c.name + ": "
		env.value(name+fmt.Sprintf("longest gap, median of %d", liveRuns), median(gaps), "ms", c.target)
		env.value(name+"longest gap, best", slices.Min(gaps), "ms", 0)
		env.value(name+"longest gap, worst", slices.Max(gaps), "ms", 0)
		env.value(name+"messages lost, median", median(lost), "messages", 0)
		env.value(name+"longest gap in the second before, median", median(calm), "ms", 0)
	}
	return nil
}

// gapResult is what a fault did to the flow.
type gapResult struct {
	calm, longest time.Duration // the longest time without a message before the fault, and since
	lost          int
}

func liveGap(ctx context.Context, env *benchEnv, profile kernel.Profile, fault liveFault) (r gapResult, err error) {
	d, err := newDiamond(ctx, env, profile, fault == faultGrey, true)
	if err != nil {
		return r, err
	}
	defer d.close()
	d.sink.mark()
	if err := pause(ctx, time.Second); err != nil {
		return r, err
	}
	r.calm, _, _ = d.sink.heard()
	i, err := d.onPath()
	if err != nil {
		return r, err
	}
	d.sink.mark()
	if err := d.hit(i, fault); err != nil {
		return r, err
	}
	if err := pause(ctx, 2*time.Second); err != nil {
		return r, err
	}
	var got int
	if r.longest, got, r.lost = d.sink.heard(); got == 0 {
		return r, errors.New("the flow never came back")
	}
	return r, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// diamond is A-{R1,R2}-B: the relays are processes, the ends are in this one.
type diamond struct {
	relays  [2]child
	proxies [2]*greyProxy // between B and each relay, when there are any
	a, b    liveEnd
	sink    *pulse // at B
	cancel  context.CancelFunc
}

// newDiamond builds one and waits until A reaches B through either relay, and, with a
// flow, until messages come.
func newDiamond(ctx context.Context, env *benchEnv, profile kernel.Profile, proxied, flow bool) (d *diamond, err error) {
	ctx, cancel := context.WithCancel(ctx)
	d = &diamond{cancel: cancel, sink: &pulse{}}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	network, err := randomNetworkKey()
	if err != nil {
		return d, err
	}
	var forA, forB []host.PeerAddr
	for i := range d.relays {
		if d.relays[i], err = startChild(ctx, env, network, "NETHOST_LIVENESS__PROFILE="+profile.String()); err != nil {
			return d, err
		}
		forA, forB = append(forA, d.relays[i].peer), append(forB, d.relays[i].peer)
		if proxied {
			if d.proxies[i], err = newGreyProxy(d.relays[i].peer.Addr); err != nil {
				return d, err
			}
			forB[i].Addr = d.proxies[i].addr()
		}
	}
	if d.b, err = newLiveEnd(ctx, network, profile, forB, d.sink); err != nil {
		return d, err
	}
	source := &pulse{}
	if flow {
		source.to = d.b.Self()
	}
	if d.a, err = newLiveEnd(ctx, network, profile, forA, source); err != nil {
		return d, err
	}
	return d, poll(ctx, 30*time.Second, "both relays lead from A to B", func() bool {
		_, got, _ := d.sink.heard()
		return (got > 0 || !flow) && d.a.ways(d.b.Self()) >= 2 && d.b.ways(d.a.Self()) >= 2
	})
}

// onPath gives the relay that A's packets to B go through.
func (d *diamond) onPath() (int, error) {
	for _, r := range d.a.Snapshot().Routes {
		if r.Dest == d.b.Self() {
			for i := range d.relays {
				if d.relays[i].peer.Node == r.Via {
					return i, nil
				}
			}
		}
	}
	return 0, errors.New("A does not reach B through a relay")
}

// hit does to a relay what the fault is.
func (d *diamond) hit(i int, fault liveFault) error {
	switch fault {
	case faultGrey:
		d.proxies[i].grey.Store(true)
		return nil
	case faultFreeze:
		return freeze(d.relays[i].pid, true)
	}
	return killProcess(d.relays[i].pid)
}

func (d *diamond) close() {
	d.cancel()
	for i := range d.relays {
		if d.relays[i].stop != nil {
			_ = killProcess(d.relays[i].pid) // it may be stopped, or gone
			d.relays[i].stop()
		}
		if d.proxies[i] != nil {
			d.proxies[i].close()
		}
	}
}

func killProcess(pid int) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Kill()
}

// liveEnd is an end of a diamond, a host in this process.
type liveEnd struct {
	*host.Host
	addr netip.AddrPort
}

// newLiveEnd runs a host with a pulse and echo until ctx ends.
func newLiveEnd(ctx context.Context, network identity.NetworkKey, profile kernel.Profile, peers []host.PeerAddr, p *pulse) (liveEnd, error) {
	var seed [32]byte
	if _, err := io.ReadFull(rand.Reader, seed[:]); err != nil {
		return liveEnd{}, err
	}
	l, err := link.ListenUDP(loopback, link.UDPOptions{})
	if err != nil {
		return liveEnd{}, err
	}
	echo := builtin.All()["echo"]
	h, err := host.New(host.Config{Key: identity.NewKey(seed), NetworkKey: network, Incarnation: 1, Link: l, Peers: peers, Profile: profile, NoRelay: true,
		Modules: []module.Spec{module.BuiltinSpec("echo", echo().Describe(), module.Options{Core: coreModules}),
			module.BuiltinSpec("pulse", p.Describe(), module.Options{Grants: map[string]map[string]any{"pulse": {"connect": true}}})},
		Carriers: map[module.Kind]module.Carrier{module.Builtin: inproc.New(map[string]func() sdk.Module{"echo": echo, "pulse": func() sdk.Module { return p }})}})
	if err != nil {
		l.Close()
		return liveEnd{}, err
	}
	go h.Run(ctx)
	return liveEnd{h, l.LocalAddr()}, nil
}

// ways is how many next hops lead to a node.
func (e liveEnd) ways(to sdk.NodeID) int {
	for _, r := range e.Snapshot().Routes {
		if r.Dest == to {
			return 1 + len(r.Alts)
		}
	}
	return 0
}
