package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"nethost/host"
	"nethost/host/identity"
	"nethost/host/link"
	"nethost/host/session"
	"nethost/host/wire"
	"nethost/sdk"
)

const (
	floodRate = 200_000         // handshakes a second
	floodFor  = 2 * time.Second // one measurement of goodput
)

// benchFlood measures the goodput of a session while somebody sends handshakes that
// lead nowhere to one of its ends: forged ones, and one that was captured.
func benchFlood(ctx context.Context, env *benchEnv) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	network, err := randomNetworkKey()
	if err != nil {
		return err
	}
	b, err := embed(ctx, network, nil)
	if err != nil {
		return err
	}
	a, err := embed(ctx, network, []host.PeerAddr{b.peer()})
	if err != nil {
		return err
	}
	s, err := openWhenReady(ctx, a, b.Self())
	if err != nil {
		return err
	}
	defer s.Close()
	captured, err := someM1(network, b.peer())
	if err != nil {
		return err
	}
	t := newTransfer(s)
	defer t.stop()
	for _, c := range []struct{ name, m1 string }{{"forged", "forged"}, {"replayed from a capture", hex.EncodeToString(captured)}} {
		var quiet, flooded []float64
		for range 3 {
			quiet = append(quiet, t.rate(floodFor))
			rate, err := t.underFlood(ctx, env, b.addr, c.m1)
			if err != nil {
				return err
			}
			flooded = append(flooded, rate)
		}
		env.reaches("goodput under 200 k/s handshakes, "+c.name, median(flooded)/1e6, "MB/s", "without", median(quiet)/1e6, 0.85)
	}
	return nil
}

// openWhenReady opens a stream to echo: its module may still be starting.
func openWhenReady(ctx context.Context, a embedded, to sdk.NodeID) (*host.Stream, error) {
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		s, err := a.Open(ctx, host.Target{Node: to, ID: 7})
		if err == nil || time.Since(began) > 5*time.Second {
			return s, err
		}
	}
}

// transfer keeps an echo busy and counts what comes back.
type transfer struct {
	s    *host.Stream
	back chan int
}

func newTransfer(s *host.Stream) *transfer {
	t := &transfer{s: s, back: make(chan int, 1024)}
	go func() {
		piece := make([]byte, 64<<10)
		for {
			if _, err := s.Write(piece); err != nil {
				return
			}
		}
	}()
	go func() {
		defer close(t.back)
		buf := make([]byte, 256<<10)
		for {
			n, err := s.Read(buf)
			if err != nil {
				return
			}
			t.back <- n
		}
	}()
	return t
}

// rate is what comes back a second, in bytes.
func (t *transfer) rate(span time.Duration) float64 {
	began, end, total := time.Now(), time.After(span), 0
	for {
		select {
		case n, ok := <-t.back:
			if total += n; !ok {
				return 0
			}
		case <-end:
			return float64(total) / time.Since(began).Seconds()
		}
	}
}

func (t *transfer) stop() {
	t.s.Reset(sdk.Cancelled, "")
	for range t.back {
	}
}

// underFlood is rate while another process floods an address.
func (t *transfer) underFlood(ctx context.Context, env *benchEnv, to netip.AddrPort, m1 string) (float64, error) {
	_, attacker, err := startPeer(ctx, env, "flood", to.String()+","+m1)
	if err != nil {
		return 0, err
	}
	defer attacker.Wait()
	defer attacker.Process.Kill()
	t.rate(200 * time.Millisecond)
	return t.rate(floodFor), nil
}

// someM1 makes a first message that is good, for once.
func someM1(network identity.NetworkKey, to host.PeerAddr) ([]byte, error) {
	var seeds [2][32]byte
	rand.Read(seeds[0][:])
	rand.Read(seeds[1][:])
	key := identity.NewKey(seeds[0])
	local, err := session.NewLocal(session.LocalConfig{Key: key, Static: identity.NewStatic(key, seeds[1], 1), PSK: network[:]})
	if err != nil {
		return nil, err
	}
	_, m1, err := local.Initiate(rand.Reader, 1, to.Node, identity.RIDOf(to.Node))
	return m1, err
}

// flood is the body of the attacker: ADDR,forged or ADDR,HEX of a captured m1.
func flood(arg string) error {
	to, what, _ := strings.Cut(arg, ",")
	addr, err := netip.ParseAddrPort(to)
	if err != nil {
		return err
	}
	next := func(i int) []byte {
		e := wire.Envelope{Kind: wire.KindM1, Version: wire.Version, Sender: uint32(i + 1), Noise: make([]byte, 207)} // as long as a true one
		rand.Read(e.Noise)
		rand.Read(e.Mac1[:])
		return wire.AppendEnvelope(nil, e)
	}
	if what != "forged" {
		m1, err := hex.DecodeString(what)
		if err != nil {
			return err
		}
		next = func(int) []byte { return m1 }
	}
	l, err := link.ListenUDP(loopback, link.UDPOptions{})
	if err != nil {
		return err
	}
	fmt.Println(l.LocalAddr())
	train := link.Train{Addr: addr}
	for i := range wire.MaxSegments {
		train.Bytes = wire.AppendHop(train.Bytes, wire.Hop{Version: wire.Version, Type: wire.TypeLocal})
		train.Bytes = append(train.Bytes, next(i)...)
	}
	train.Segment = len(train.Bytes) / wire.MaxSegments
	began, sent := time.Now(), 0
	for {
		for float64(sent) < floodRate*time.Since(began).Seconds() {
			_ = l.Write([]link.Train{train})
			sent += wire.MaxSegments
		}
		time.Sleep(time.Millisecond)
	}
}
