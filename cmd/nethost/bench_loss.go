package main

import (
	"context"
	"fmt"
	"time"

	"nethost/host"
	"nethost/host/impair"
	"nethost/host/impair/proxy"
)

// cleanLink is what a good network does.
var cleanLink = impair.Config{Rate: 200e6, Delay: time.Millisecond}

// benchLoss measures the goodput of a stream through a link that loses and reorders,
// beside the same link without that. Both go through the proxy of `nethost impair`.
func benchLoss(ctx context.Context, env *benchEnv) error {
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
	p, err := proxy.New(proxy.Config{Listen: loopback, To: b.addr, Up: cleanLink, Down: cleanLink, Seed: 1})
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	defer func() {
		cancel()
		<-ended
	}()
	a, err := embed(ctx, network, []host.PeerAddr{{Addr: p.LocalAddr(), Node: b.Self()}})
	if err != nil {
		return err
	}
	s, err := openWhenReady(ctx, a, b.Self())
	if err != nil {
		return err
	}
	defer s.Close()
	t := newTransfer(s)
	defer t.stop()
	bad := cleanLink // and one datagram in a hundred lost, one in twenty late
	bad.Loss, bad.Reorder, bad.ReorderDelay = 0.01, 0.05, 5*time.Millisecond
	var clean, lossy []float64
	for range 3 {
		for _, c := range []struct {
			link  impair.Config
			rates *[]float64
		}{{cleanLink, &clean}, {bad, &lossy}} {
			if err := p.Set(c.link, c.link); err != nil {
				return err
			}
			t.rate(500 * time.Millisecond)
			*c.rates = append(*c.rates, t.rate(floodFor))
		}
	}
	if n := p.Stats().KernelDrops; n > 0 {
		return fmt.Errorf("the proxy lost %d datagrams by itself: this machine is too busy to tell", n)
	}
	env.reaches("reliable goodput at 1 % loss and 5 ms reordering", median(lossy)/1e6, "MB/s", "the same link, clean", median(clean)/1e6, 0.8)
	return nil
}
