package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nethost/host/impair"
	"nethost/host/impair/proxy"
)

// impairFlag is one impairment as a flag.
type impairFlag struct {
	c    *impair.Config
	key  string
	unit string
	text string
}

func (f *impairFlag) Set(s string) error {
	if err := f.c.SetKey(f.key, s); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), f.key+": ")) // the flag is named already
	}
	f.text = s
	return nil
}

func (f *impairFlag) String() string { return f.text }
func (f *impairFlag) Type() string   { return f.unit }

func impairCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "impair --to HOST:PORT",
		Short: "a bad network between real nodes: a UDP proxy that loses, delays and reorders",
		Long: `Carries UDP datagrams between whoever sends to --listen and the server at --to,
and does to them, in each direction, what the flags say. Without flags it changes
nothing. Each client has an upstream address of its own, as behind a NAT, for as
long as it says something every 60 s.

  nethost impair --to 127.0.0.1:7701 --loss 1% --reorder 5%
  nethost run --peers 127.0.0.1:7800 ...

  nethost impair --to 127.0.0.1:7701 --rate 20Mbit --queue 64KiB --delay 20ms --jitter 2ms
  nethost impair --to 127.0.0.1:7701 --loss 2% --burst 10 --direction up
  nethost impair --to 127.0.0.1:7701 --mtu 1280 --rebind-every 10s

Ctrl-C ends it, and prints what became of all datagrams: lost by the link (loss,
queue, mtu) or by the proxy (table: above 1024 clients; memory: 128 MiB wait; send:
nobody listens at --to; rebound: for an address that a client no longer has).
Datagrams may leave late by the millisecond or so that the system's timers take, and
never early.`,
		Args: args(cobra.NoArgs),
	}
	f := cmd.Flags()
	var c impair.Config
	listen := f.String("listen", "127.0.0.1:7800", "UDP address for the clients")
	to := f.String("to", "", "UDP address of the server (required)")
	for _, x := range []struct{ key, unit, usage string }{
		{"loss", "share", "datagrams lost, such as 1%"},
		{"burst", "n", "... so many in a row, on average (default: each by itself)"},
		{"delay", "duration", "one-way delay"},
		{"jitter", "duration", "further delay, uniform from 0 to this"},
		{"reorder", "share", "datagrams held back so that later ones overtake them"},
		{"reorder-delay", "duration", "... for so long (default 5ms)"},
		{"duplicate", "share", "datagrams that come twice"},
		{"rate", "rate", "bits per second, such as 100Mbit"},
		{"queue", "size", "bytes that may wait for the rate (default 256KiB)"},
		{"mtu", "size", "largest UDP payload in bytes; larger ones vanish"},
	} {
		f.Var(&impairFlag{c: &c, key: x.key, unit: x.unit}, x.key, x.usage)
	}
	direction := f.String("direction", "both", "what is impaired: up (to the server), down or both")
	seed := f.Uint64("seed", 1, "of the dice")
	rebind := f.Duration("rebind-every", 0, "give the clients new upstream addresses, as a NAT does that forgets (default: never)")
	asJSON := f.Bool("json", false, "print one JSON object when listening and one at the end")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if c.Reorder > 0 && !f.Changed("reorder-delay") {
			c.ReorderDelay = 5 * time.Millisecond
		}
		cfg := proxy.Config{Seed: *seed, RebindEvery: *rebind}
		if err := c.Check(); err != nil {
			return usageError{err}
		}
		switch *direction {
		case "both":
			cfg.Up, cfg.Down = c, c
		case "up":
			cfg.Up = c
		case "down":
			cfg.Down = c
		default:
			return usageError{fmt.Errorf("--direction %q: want up, down or both", *direction)}
		}
		if *rebind < 0 {
			return usageError{fmt.Errorf("--rebind-every %v: want a duration above 0", *rebind)}
		}
		var err error
		if cfg.Listen, err = udpAddr("--listen", *listen, true); err != nil {
			return err
		}
		if cfg.To, err = udpAddr("--to", *to, false); err != nil {
			return err
		}
		return runImpair(cmd, cfg, *asJSON)
	}
	return cmd
}

// udpAddr reads a flag's HOST:PORT. An address that cannot be meant is a usage
// error, a name that has no address is not.
func udpAddr(flag, s string, anyPort bool) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" || port == "" || port == "0" && !anyPort {
		return netip.AddrPort{}, usageError{fmt.Errorf("%s %q: want HOST:PORT, such as 127.0.0.1:7700", flag, s)}
	}
	a, err := net.ResolveUDPAddr("udp", s)
	var unknown *net.DNSError
	switch {
	case errors.As(err, &unknown):
		return netip.AddrPort{}, fmt.Errorf("%s %s: %w", flag, s, err)
	case err != nil:
		return netip.AddrPort{}, usageError{fmt.Errorf("%s %q: %w", flag, s, err)}
	}
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}

func runImpair(cmd *cobra.Command, cfg proxy.Config, asJSON bool) error {
	p, err := proxy.New(cfg)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("udp %s is in use: choose another port with --listen", cfg.Listen)
		}
		return err
	}
	out, errOut := json.NewEncoder(cmd.OutOrStdout()), cmd.ErrOrStderr()
	if asJSON {
		err = out.Encode(map[string]string{"listen": p.LocalAddr().String(), "to": cfg.To.String()})
	} else {
		_, err = fmt.Fprintf(errOut, "nethost: %s goes to %s until Ctrl-C\n", p.LocalAddr(), cfg.To)
	}
	if err != nil {
		p.Close()
		return err
	}
	start := time.Now()
	stop := func() {}
	if isTerminal(errOut) {
		stop = showTraffic(errOut, p)
	}
	err = p.Run(cmd.Context())
	stop()
	if err != nil {
		return err
	}
	if asJSON {
		return out.Encode(struct {
			Seconds float64 `json:"seconds"`
			proxy.Stats
		}{time.Since(start).Seconds(), p.Stats()})
	}
	return printTraffic(cmd.OutOrStdout(), p.Stats())
}

// showTraffic keeps one line on w up to date, once a second, until stop is called.
func showTraffic(w io.Writer, p *proxy.Proxy) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for before := p.Stats(); ; {
			select {
			case <-ctx.Done():
				fmt.Fprintln(w)
				return
			case <-tick.C:
			}
			s := p.Stats()
			fmt.Fprintf(w, "\r\x1b[Knethost: %d clients; up %s; down %s", s.Clients, rateOf(before.Up, s.Up), rateOf(before.Down, s.Down))
			before = s
		}
	}()
	return func() { cancel(); <-done }
}

// rateOf says what went one way in a second.
func rateOf(before, d proxy.Direction) string {
	return fmt.Sprintf("%d/s in, %d/s out (%s/s), %d lost", d.In-before.In, d.Forwarded-before.Forwarded,
		size(d.ForwardedBytes-before.ForwardedBytes), sumLost(d))
}

func sumLost(d proxy.Direction) (n uint64) {
	for _, k := range d.Lost {
		n += k
	}
	return n
}

// printTraffic prints the summary.
func printTraffic(w io.Writer, s proxy.Stats) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "\tIN\tOUT\tTWICE\tLOST\tUNDER WAY\tBYTES OUT\tLOST BY REASON")
	for _, x := range []struct {
		name string
		d    proxy.Direction
	}{{"up", s.Up}, {"down", s.Down}} {
		var why []string
		for _, reason := range slices.Sorted(maps.Keys(x.d.Lost)) {
			why = append(why, fmt.Sprintf("%s %d", reason, x.d.Lost[reason]))
		}
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", x.name, x.d.In, x.d.Forwarded, x.d.Duplicated, sumLost(x.d), x.d.Waiting,
			size(x.d.ForwardedBytes), strings.Join(why, ", "))
	}
	if s.KernelDrops > 0 {
		fmt.Fprintf(tw, "%d datagrams came faster than the proxy could take them\n", s.KernelDrops)
	}
	return tw.Flush()
}
