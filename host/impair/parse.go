package impair

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ParseShare reads a share of datagrams: "1%", "0.01" or "0".
func ParseShare(s string) (float64, error) {
	num, percent := strings.CutSuffix(s, "%")
	v, err := strconv.ParseFloat(num, 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v >= 0 && v <= 1) {
		return 0, fmt.Errorf("%q: want a share such as 1%% or 0.01, from 0%% to 100%%", s)
	}
	return v, nil
}

// ParseRate reads a rate in bits per second: "100Mbit", "1.5Gbit", "64000". The
// units bit, kbit, Mbit and Gbit are powers of 1000, in any case.
func ParseRate(s string) (uint64, error) {
	v, ok := parseUnits(s, []unit{{"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}, {"bit", 1}})
	if !ok || v > MaxRate || v != 0 && v < MinRate {
		return 0, fmt.Errorf("%q: want bits per second, such as 100Mbit, from %dbit to %dGbit (0: no bound)", s, MinRate, uint64(MaxRate/1e9))
	}
	return uint64(v), nil
}

// maxSize is more than any machine of today has.
const maxSize = 1 << 50

// ParseSize reads a number of bytes: "256KiB", "1.5MB", "4096". The units B, kB,
// MB and GB are powers of 1000, KiB, MiB and GiB of 1024, in any case.
func ParseSize(s string) (int, error) {
	v, ok := parseUnits(s, []unit{{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"b", 1}})
	if !ok || v > maxSize {
		return 0, fmt.Errorf("%q: want bytes, such as 256KiB, up to %dGiB", s, maxSize>>30)
	}
	return int(v), nil
}

type unit struct {
	name string // in lower case
	n    float64
}

// parseUnits reads a number with the first of units that fits, or none.
func parseUnits(s string, units []unit) (float64, bool) {
	num, by := strings.ToLower(s), 1.0
	for _, u := range units {
		if rest, ok := strings.CutSuffix(num, u.name); ok {
			num, by = rest, u.n
			break
		}
	}
	v, err := strconv.ParseFloat(num, 64)
	v *= by
	return v, err == nil && v >= 0 && !math.IsInf(v, 1)
}

// SetKey sets the field of c that key names to what value says: rate=100Mbit
// queue=256KiB delay=5ms jitter=2ms loss=1% burst=3 reorder=5% reorder-delay=5ms
// duplicate=0.1% mtu=1280. It does not Check the whole.
func (c *Config) SetKey(key, value string) (err error) {
	switch key {
	case "rate":
		c.Rate, err = ParseRate(value)
	case "queue":
		if c.Queue, err = ParseSize(value); err == nil && c.Queue > MaxQueue {
			err = fmt.Errorf("%q: want at most %dGiB", value, MaxQueue>>30)
		}
	case "delay":
		c.Delay, err = time.ParseDuration(value)
	case "jitter":
		c.Jitter, err = time.ParseDuration(value)
	case "loss":
		c.Loss, err = ParseShare(value)
	case "burst":
		if c.Burst, err = strconv.ParseFloat(value, 64); err != nil {
			err = fmt.Errorf("%q: want a number of datagrams", value)
		}
	case "reorder":
		c.Reorder, err = ParseShare(value)
	case "reorder-delay":
		c.ReorderDelay, err = time.ParseDuration(value)
	case "duplicate":
		c.Duplicate, err = ParseShare(value)
	case "mtu":
		c.MTU, err = ParseSize(value)
	default:
		err = fmt.Errorf("no such impairment: there are rate, queue, delay, jitter, loss, burst, reorder, reorder-delay, duplicate and mtu")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}
