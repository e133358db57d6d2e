package impair

import (
	"fmt"
	"time"
)

// DefaultQueue is the queue before a rate for which none was set, in bytes: 21 ms
// of 100 Mbit/s.
const DefaultQueue = 256 << 10

// MaxDatagram is the largest UDP payload, in bytes (RFC 768, over IPv4).
const MaxDatagram = 65507

// Limits of a Config: what is beyond them is a slip of the pen.
const (
	MinRate  = 8             // bits per second: a byte a second
	MaxRate  = 1_000_000e6   // bits per second: 1 Tbit/s
	MaxDelay = 1 * time.Hour // of Delay, Jitter and ReorderDelay, each
	MaxQueue = 1 << 30       // bytes
	MaxBurst = 1e6           // datagrams
)

// Config describes one direction of a link. The zero Config is a perfect one.
type Config struct {
	// Rate is what the link carries, in bits of UDP payload per second. 0: no
	// bound.
	Rate uint64
	// Queue is how many bytes may wait for the rate, the datagram under way
	// included; what does not fit is dropped at the tail. 0: DefaultQueue, and
	// never less than one datagram. Nothing waits without a rate.
	Queue int
	// Delay is added to each datagram.
	Delay time.Duration
	// Jitter is the bound of a further delay, uniform from 0, drawn for each
	// datagram: datagrams that follow each other faster than that overtake.
	Jitter time.Duration
	// Loss is the share of datagrams that are lost, 0 to 1.
	Loss float64
	// Burst is the mean number of datagrams lost in a row, in the model of
	// Gilbert (1960). 0 or 1: each is lost or not, whatever became of the one
	// before.
	Burst float64
	// Reorder is the share of datagrams that are held back for ReorderDelay
	// more, 0 to 1, so that later ones overtake them.
	Reorder      float64
	ReorderDelay time.Duration
	// Duplicate is the share of datagrams that come twice, 0 to 1.
	Duplicate float64
	// MTU is the largest UDP payload that passes, in bytes; larger ones vanish
	// without a word. 0: no bound. The IP packet is 28 bytes larger, 48 for
	// IPv6.
	MTU int
}

// Check reports the first value that cannot be meant.
func (c Config) Check() error {
	for _, share := range []struct {
		name string
		v    float64
	}{{"loss", c.Loss}, {"reorder", c.Reorder}, {"duplicate", c.Duplicate}} {
		if !(share.v >= 0 && share.v <= 1) { // NaN fails too
			return fmt.Errorf("%s %g%%: want 0%% to 100%%", share.name, share.v*100)
		}
	}
	for _, d := range []struct {
		name string
		v    time.Duration
	}{{"delay", c.Delay}, {"jitter", c.Jitter}, {"reorder delay", c.ReorderDelay}} {
		if d.v < 0 || d.v > MaxDelay {
			return fmt.Errorf("%s %v: want 0 to %v", d.name, d.v, MaxDelay)
		}
	}
	switch {
	case c.Rate != 0 && c.Rate < MinRate || c.Rate > MaxRate:
		return fmt.Errorf("rate %d bit/s: want 0 (no bound) or %d to %d", c.Rate, MinRate, uint64(MaxRate))
	case c.Queue < 0 || c.Queue > MaxQueue:
		return fmt.Errorf("queue %d bytes: want 0 (the default) to %d", c.Queue, MaxQueue)
	case c.Queue > 0 && c.Rate == 0:
		return fmt.Errorf("queue %d bytes: nothing waits where there is no rate: set one", c.Queue)
	case c.MTU < 0 || c.MTU > MaxDatagram:
		return fmt.Errorf("mtu %d bytes: want 0 (no bound) to %d", c.MTU, MaxDatagram)
	case !(c.Burst >= 0 && c.Burst <= MaxBurst):
		return fmt.Errorf("burst %g: want 0 to %g datagrams", c.Burst, MaxBurst)
	case c.Burst > 0 && c.Burst < 1:
		return fmt.Errorf("burst %g: a burst has at least one datagram", c.Burst)
	case c.Reorder > 0 && c.ReorderDelay == 0:
		return fmt.Errorf("reorder %g%% by a delay of 0 does nothing: set the reorder delay", c.Reorder*100)
	}
	if worst := c.Burst / (1 + c.Burst); c.Burst > 1 && c.Loss > worst && c.Loss < 1 {
		return fmt.Errorf("loss %g%% in bursts of %g: between two bursts one datagram passes, so at most %.3g%% can be lost",
			c.Loss*100, c.Burst, worst*100)
	}
	return nil
}
