package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"time"

	"nethost/host"
	"nethost/host/link"
	"nethost/host/wire"
	"nethost/sdk/client"
	v1 "nethost/sdk/client/nethostv1"
)

// soakRate is how many random datagrams a second a node gets, where this machine can
// send so many.
const soakRate = 1_000_000

// benchSoak sends a node random datagrams for a time while a session with it works:
// the session lives, memory is flat, and whatever the node read it has counted.
func benchSoak(ctx context.Context, env *benchEnv) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	network, err := randomNetworkKey()
	if err != nil {
		return err
	}
	far, err := startChild(ctx, env, network)
	if err != nil {
		return err
	}
	defer far.stop()
	near, err := embed(ctx, network, []host.PeerAddr{far.peer})
	if err != nil {
		return err
	}
	s, err := openWhenReady(ctx, near, far.peer.Node)
	if err != nil {
		return err
	}
	defer s.Close()
	t := newTransfer(s)
	defer t.stop()
	quiet := t.rate(min(env.soak/10, floodFor))
	api := client.New(far.socket)
	before, err := api.Status(ctx)
	if err != nil {
		return err
	}
	mine := near.Snapshot()
	n, err := newNoise(far.peer.Addr)
	if err != nil {
		return err
	}
	began := time.Now()
	go n.run(ctx)
	busy := t.rate(env.soak / 5) // what is allocated once is allocated
	early, err := memoryOf(far.pid, "VmHWM")
	if err != nil {
		return err
	}
	busy = (busy + 4*t.rate(env.soak-time.Since(began))) / 5
	n.stop()
	span := time.Since(began)
	late, err := memoryOf(far.pid, "VmHWM")
	if err != nil {
		return err
	}
	t.rate(time.Second) // the socket is read empty
	after, err := api.Status(ctx)
	if err != nil {
		return err
	}
	env.soaked(n, span, before, after)
	env.value("soak, memory above that of the first fifth", (late-early)/mebibyte, "MiB", 4)
	used := near.Snapshot()
	if ended := float64(used.Counters.Handshakes-mine.Counters.Handshakes) - rekeys(span); ended > 0 {
		return fmt.Errorf("soak: the session ended %.0f times", ended)
	}
	env.reaches("soak, goodput of a session meanwhile", busy/1e6, "MB/s", "before", quiet/1e6, 0)
	// What the node read and did not count is what the session sent, or more was.
	counted := drops(after) - drops(before)
	rest := float64(after.PacketsIn-before.PacketsIn) - counted - float64(used.Counters.PacketsOut-mine.Counters.PacketsOut)
	env.value("soak, datagrams read and neither the session's nor counted", max(0, rest), "datagrams", 0)
	if rest > 0 {
		return fmt.Errorf("soak: %.0f datagrams were read that are counted nowhere", rest)
	}
	return nil
}

// rekeys is how many new keys a healthy session takes in a time, at most.
func rekeys(span time.Duration) float64 { return float64(span / (2 * time.Minute)) }

// soaked shows what was sent and where it went.
func (e *benchEnv) soaked(n *noise, span time.Duration, before, after *v1.StatusResponse) {
	e.value("soak, random datagrams sent", float64(n.sent.Load())/span.Seconds()/1e3, "k/s", 0)
	e.value("soak, datagrams read by the node", float64(after.PacketsIn-before.PacketsIn)/span.Seconds()/1e3, "k/s", 0)
	e.value("soak, dropped by the system, the socket was full", float64(after.Link.GetOverflows()-before.Link.GetOverflows())/span.Seconds()/1e3, "k/s", 0)
	for _, name := range sortedNames(after.Drops) {
		if c := after.Drops[name] - before.Drops[name]; c > 0 {
			e.value("soak, dropped as "+name, float64(c)/span.Seconds()/1e3, "k/s", 0)
		}
	}
}

func drops(s *v1.StatusResponse) (n float64) {
	for name, c := range s.Drops {
		if name != "queue_late" && name != "queue_overflow" { // of what the node itself sent
			n += float64(c)
		}
	}
	return n
}

// noise sends random datagrams, in trains of one random length.
type noise struct {
	l    *link.UDP
	to   netip.AddrPort
	sent atomic.Uint64
	end  chan struct{}
	done chan struct{}
}

func newNoise(to netip.AddrPort) (*noise, error) {
	l, err := link.ListenUDP(loopback, link.UDPOptions{})
	return &noise{l: l, to: to, end: make(chan struct{}), done: make(chan struct{})}, err
}

func (n *noise) run(ctx context.Context) {
	defer close(n.done)
	dice := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	pool := make([]byte, 4<<20)
	for i := range pool {
		pool[i] = byte(dice.Uint32())
	}
	for began := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-n.end:
			return
		default:
		}
		if float64(n.sent.Load()) >= soakRate*time.Since(began).Seconds() {
			time.Sleep(100 * time.Microsecond)
			continue
		}
		size := 1 + dice.IntN(1000)
		at := dice.IntN(len(pool) - wire.MaxTrain)
		b := pool[at : at+wire.MaxSegments*size]
		switch dice.IntN(3) { // random from the first byte on, or behind a head that looks good
		case 0:
			for i := 0; i < len(b); i += size {
				b[i], b[min(i+1, len(b)-1)] = wire.Version<<6|wire.TypeLocal<<3, 0
			}
		case 1:
			for i := 0; i < len(b); i += size {
				b[i] = wire.Version<<6 | wire.TypeForward<<3
			}
		}
		_ = n.l.Write([]link.Train{{Addr: n.to, Bytes: b, Segment: size}})
		n.sent.Add(wire.MaxSegments)
	}
}

// stop waits until it has ended.
func (n *noise) stop() {
	close(n.end)
	<-n.done
	n.l.Close()
}

// socketOf is where a child's local API listens.
func socketOf(data string) string { return filepath.Join(data, "api.sock") }
