package impair

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestSetKey(t *testing.T) {
	var c Config
	for _, kv := range []string{"rate=1.5Mbit", "queue=256KiB", "delay=5ms", "jitter=2ms", "loss=1%", "burst=3", "reorder=0.05",
		"reorder-delay=4ms", "duplicate=0.1%", "mtu=1280"} {
		key, value, _ := strings.Cut(kv, "=")
		if err := c.SetKey(key, value); err != nil {
			t.Error(err)
		}
	}
	want := Config{Rate: 1_500_000, Queue: 256 << 10, Delay: 5 * time.Millisecond, Jitter: 2 * time.Millisecond, Loss: 0.01, Burst: 3,
		Reorder: 0.05, ReorderDelay: 4 * time.Millisecond, Duplicate: 0.001, MTU: 1280}
	if c != want {
		t.Errorf("got %+v, want %+v", c, want)
	}
	for _, kv := range []string{"rate=fast", "rate=-1", "rate=1e300Gbit", "rate=1", "queue=1GiBit", "queue=2GiB", "queue=-1", "loss=101%", "loss=1.5", "loss=",
		"loss=-1%", "loss=NaN", "loss=%", "delay=5", "burst=many", "colour=red"} {
		key, value, _ := strings.Cut(kv, "=")
		if err := c.SetKey(key, value); err == nil || !strings.HasPrefix(err.Error(), key+": ") {
			t.Errorf("%s: %v", kv, err)
		}
	}
}

func TestCheck(t *testing.T) {
	good := []Config{{}, {Rate: 8}, {Rate: MaxRate, Queue: 1}, {Loss: 0.75, Burst: 3}, {Loss: 1, Burst: 3}, {Loss: 1}, {MTU: 1}, {Delay: MaxDelay}, {ReorderDelay: 1}}
	for _, c := range good {
		if err := c.Check(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	bad := []Config{{Rate: 7}, {Rate: MaxRate + 1}, {Queue: 1}, {Rate: 8, Queue: -1}, {Rate: 8, Queue: MaxQueue + 1}, {Delay: -1}, {Jitter: MaxDelay + 1},
		{Loss: 1.01}, {Loss: math.NaN()}, {Burst: math.NaN()}, {Burst: 0.5}, {Burst: 1e7}, {Loss: 0.76, Burst: 3}, {Reorder: 0.1}, {Duplicate: -1}, {MTU: 65508}, {MTU: -1}}
	for _, c := range bad {
		if c.Check() == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

// FuzzSetKey: whatever people type, what comes out and passes Check makes a link
// that keeps its word.
func FuzzSetKey(f *testing.F) {
	for _, s := range [][2]string{{"rate", "100Mbit"}, {"rate", "8"}, {"queue", "1.5MiB"}, {"loss", "1%"}, {"loss", "1e-300"}, {"burst", "NaN"}, {"delay", "1h"},
		{"reorder", "100%"}, {"mtu", "65507b"}, {"duplicate", "Inf%"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		c := Config{ReorderDelay: 1, Rate: 1e6}
		if c.SetKey(key, value) != nil || c.Check() != nil {
			return
		}
		l := New(c, 1)
		for range 10 {
			copies, n := l.Pass(1, 1000)
			for _, x := range copies[:n] {
				if x.Fate == Passed && x.At < 1 {
					t.Fatalf("%s=%s: came out at %v", key, value, x.At)
				}
			}
			if w := l.Waiting(1); w < 0 || w > l.Config().Queue && w > 1000 {
				t.Fatalf("%s=%s: %d bytes wait", key, value, w)
			}
		}
	})
}
