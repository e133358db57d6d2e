package impair

import (
	"cmp"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// anyConfig draws a link that Check accepts, each impairment there or not.
func anyConfig(t *rapid.T) Config {
	maybe := func(name string, set func()) {
		if rapid.Bool().Draw(t, name) {
			set()
		}
	}
	millis := func(name string) time.Duration {
		return time.Duration(rapid.Int64Range(0, int64(50*time.Millisecond)).Draw(t, name))
	}
	var c Config
	maybe("rated", func() {
		c.Rate = rapid.Uint64Range(100e3, 10e9).Draw(t, "rate")
		c.Queue = rapid.IntRange(0, 300<<10).Draw(t, "queue")
	})
	maybe("delayed", func() { c.Delay = millis("delay") })
	maybe("jittery", func() { c.Jitter = millis("jitter") })
	maybe("lossy", func() { c.Loss = rapid.Float64Range(0, 0.5).Draw(t, "loss") })
	maybe("bursty", func() { c.Burst = rapid.Float64Range(1, 20).Draw(t, "burst") })
	maybe("reordering", func() {
		c.Reorder, c.ReorderDelay = rapid.Float64Range(0, 1).Draw(t, "reorder"), 1+millis("reorder delay")
	})
	maybe("doubling", func() { c.Duplicate = rapid.Float64Range(0, 1).Draw(t, "duplicate") })
	maybe("narrow", func() { c.MTU = rapid.IntRange(1, 1500).Draw(t, "mtu") })
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	return c
}

type datagram struct {
	at   time.Duration
	size int
}

// anyTraffic draws datagrams in the order of time, from bursts to pauses.
func anyTraffic(t *rapid.T) []datagram {
	n := rapid.IntRange(1, 300).Draw(t, "n")
	dice := dice(rapid.Uint64().Draw(t, "traffic"))
	gap := rapid.Uint64Range(1, 2e6).Draw(t, "gap")
	var now time.Duration
	var in []datagram
	for range n {
		if dice.roll(0.7) {
			now += time.Duration(dice.below(gap))
		}
		in = append(in, datagram{now, int(dice.below(1500))})
	}
	return in
}

type left struct {
	Copy
	seq, size int
}

func pass(c Config, seed uint64, in []datagram) (*Link, []left) {
	l := New(c, seed)
	var out []left
	for i, d := range in {
		copies, n := l.Pass(d.at, d.size)
		for _, x := range copies[:n] {
			out = append(out, left{x, i, d.size})
		}
	}
	return l, out
}

// TestConservation: I1, I2 (nothing early), I8, I9, I10.
func TestConservation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, in, seed := anyConfig(t), anyTraffic(t), rapid.Uint64().Draw(t, "seed")
		l, out := pass(c, seed, in)
		if _, again := pass(c, seed, in); !slices.Equal(out, again) {
			t.Fatal("I10: the same seed gave other fates")
		}
		s := l.Stats()
		var fates [NumFates]uint64
		var outBytes, inBytes uint64
		perDatagram := make([]int, len(in))
		for _, x := range out {
			fates[x.Fate]++
			perDatagram[x.seq]++
			if x.Fate != Passed {
				continue
			}
			outBytes += uint64(x.size)
			if d := x.At - in[x.seq].at; d < c.Delay {
				t.Fatalf("I2: datagram %d came out %v after it went in, delay %v", x.seq, d, c.Delay)
			} else if most := c.Delay + c.Jitter + c.ReorderDelay; c.Rate == 0 && d > most {
				t.Fatalf("I5, I7: datagram %d took %v, want at most %v", x.seq, d, most)
			}
			if c.MTU > 0 && x.size > c.MTU {
				t.Fatalf("I9: %d bytes passed an mtu of %d", x.size, c.MTU)
			}
		}
		twice := uint64(0)
		for i, n := range perDatagram {
			if n < 1 || n > 2 {
				t.Fatalf("I1: datagram %d has %d fates", i, n)
			}
			twice += uint64(n - 1)
			inBytes += uint64(in[i].size)
		}
		if s.In != uint64(len(in)) || s.InBytes != inBytes || s.Duplicated != twice || s.Fates != fates || s.OutBytes != outBytes {
			t.Fatalf("I1: stats %+v; counted %d in of %d bytes, %d twice, fates %v, %d bytes out", s, len(in), inBytes, twice, fates, outBytes)
		}
		if c.Duplicate == 0 && twice > 0 || c.Loss == 0 && fates[DropLoss] > 0 || c.Rate == 0 && fates[DropQueue] > 0 || fates[DropCut] > 0 {
			t.Fatalf("I1: dropped or doubled for a reason that was not set: %v, %d twice", fates, twice)
		}
	})
}

// TestOrder: I2.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, in := anyConfig(t), anyTraffic(t)
		c.Jitter, c.Reorder = 0, 0
		_, out := pass(c, 1, in)
		var last time.Duration
		for _, x := range out {
			if x.Fate != Passed {
				continue
			}
			if x.At < last {
				t.Fatalf("datagram %d came out at %v, one before it at %v", x.seq, x.At, last)
			}
			last = x.At
		}
	})
}

// TestRate: I3, and I4 against a queue that is kept by hand.
func TestRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, in := anyConfig(t), anyTraffic(t)
		c.Jitter, c.Reorder = 0, 0
		if c.Rate == 0 {
			c.Rate = 1e6
		}
		l, all := pass(c, 1, in)
		out := slices.DeleteFunc(slices.Clone(all), func(x left) bool { return x.Fate != Passed })
		for i := range out {
			sum := 0
			for j := i; j < len(out); j++ {
				// From just before the end of i to the end of j: i is the one
				// datagram that I3 allows on top.
				if j > i {
					sum += out[j].size
				}
				span := out[j].At - out[i].At
				if most := (float64(span) + 1) * float64(c.Rate) / 8e9; float64(sum) > most {
					t.Fatalf("I3: %d bytes within %v, want at most %.1f and one datagram", sum, span, most)
				}
			}
		}
		queue := l.Config().Queue
		for i, x := range all {
			now := in[x.seq].at
			waiting := 0.0 // of those before, what is not sent yet at now
			for _, y := range all[:i] {
				if y.Fate == Passed && y.At-c.Delay > now {
					unsent := float64(y.At-c.Delay-now) * float64(c.Rate) / 8e9
					waiting += min(float64(y.size), max(0, unsent-waiting))
				}
			}
			switch full := waiting + float64(x.size) - float64(queue); {
			case x.Fate == DropQueue && (waiting == 0 || full < -1):
				t.Fatalf("I4: datagram %d of %d bytes was dropped where %.1f of %d bytes waited", x.seq, x.size, waiting, queue)
			case x.Fate == Passed && waiting > 1 && full > 1:
				t.Fatalf("I4: datagram %d of %d bytes passed where %.1f of %d bytes waited", x.seq, x.size, waiting, queue)
			}
		}
	})
}

// TestRateExact: I3, a busy link carries its rate to the byte.
func TestRateExact(t *testing.T) {
	for _, rate := range []uint64{9600, 64e3, 33_333_333, 100e6, 7e9} {
		l := New(Config{Rate: rate}, 1)
		var at time.Duration
		sum := uint64(0)
		for range 100_000 {
			copies, _ := l.Pass(at, 1201)
			if copies[0].Fate != Passed {
				t.Fatalf("rate %d: %v", rate, copies[0].Fate)
			}
			at = copies[0].At // the next comes as this one ends
			if w := l.Waiting(at); w != 0 {
				t.Fatalf("rate %d: %d bytes wait on an idle link", rate, w)
			}
			sum += 1201
		}
		// Each start on an idle link may gain the part of a nanosecond that was
		// cut off.
		want := float64(sum) * 8e9 / float64(rate)
		if d := want - float64(at); d < -1 || d > 100_000 {
			t.Errorf("rate %d: %d bytes took %v, want %v", rate, sum, at, time.Duration(want))
		}
	}
	l := New(Config{Rate: 33_333_333, Queue: MaxQueue}, 1)
	var at time.Duration
	for range 100_000 {
		copies, _ := l.Pass(0, 1201)
		at = copies[0].At
	}
	if want := 1201 * 100_000 * 8e9 / 33_333_333; math.Abs(float64(at)-want) > 1 {
		t.Errorf("a backlog of 100000 datagrams took %v, want %v", at, time.Duration(want))
	}
}

// TestLoss: I6, the share and the length of runs, for single losses and bursts.
func TestLoss(t *testing.T) {
	for _, c := range []Config{{Loss: 0.01}, {Loss: 0.2}, {Loss: 0.01, Burst: 1}, {Loss: 0.01, Burst: 3}, {Loss: 0.3, Burst: 10}, {Loss: 0.5, Burst: 2}} {
		const n = 1_000_000
		l := New(c, 42)
		lost, runs, in := 0, 0, false
		for range n {
			copies, _ := l.Pass(0, 100)
			gone := copies[0].Fate == DropLoss
			if gone {
				lost++
				if !in {
					runs++
				}
			}
			in = gone
		}
		wantRun := max(c.Burst, 1)
		if c.Burst <= 1 {
			wantRun = 1 / (1 - c.Loss)
		}
		// Losses come in about n p / B independent lumps of B.
		sigma := math.Sqrt(n*c.Loss*(2*wantRun)) / n
		if share := float64(lost) / n; math.Abs(share-c.Loss) > 5*sigma {
			t.Errorf("%+v lost %.4f", c, share)
		}
		if run := float64(lost) / float64(runs); math.Abs(run/wantRun-1) > 0.05 {
			t.Errorf("%+v lost runs of %.2f, want %.2f", c, run, wantRun)
		}
	}
	l := New(Config{Loss: 1, Burst: 5}, 1)
	for range 1000 {
		if copies, _ := l.Pass(0, 1); copies[0].Fate != DropLoss {
			t.Fatal("a loss of 100% let one pass")
		}
	}
}

// TestReorder: I7: the share that is held back, and what overtakes it.
func TestReorder(t *testing.T) {
	l := New(Config{Reorder: 0.1, ReorderDelay: 5 * time.Millisecond, Delay: time.Millisecond}, 7)
	var out []left
	held := 0
	for i := range 10_000 {
		now := time.Duration(i) * time.Millisecond
		copies, _ := l.Pass(now, 100)
		switch copies[0].At - now {
		case 6 * time.Millisecond:
			held++
		case time.Millisecond:
		default:
			t.Fatalf("datagram %d took %v", i, copies[0].At-now)
		}
		out = append(out, left{copies[0], i, 100})
	}
	if held < 900 || held > 1100 {
		t.Errorf("%d of 10000 were held back, want about 1000", held)
	}
	slices.SortStableFunc(out, func(a, b left) int { return cmp.Compare(a.At, b.At) })
	for i, x := range out {
		if d := x.seq - i; d < -5 || d > 5 {
			t.Fatalf("datagram %d came out in place %d: 5 ms are at most 5 datagrams here", x.seq, i)
		}
	}
}

// TestCut: I1: a cut comes first, and a burst goes on behind it.
func TestCut(t *testing.T) {
	l := New(Config{MTU: 10}, 1)
	l.Cut = true
	if c, _ := l.Pass(0, 100); c[0].Fate != DropCut {
		t.Errorf("got %v", c[0].Fate)
	}
	l.Cut = false
	if c, _ := l.Pass(0, 100); c[0].Fate != DropMTU {
		t.Errorf("got %v", c[0].Fate)
	}
	if s := l.Stats(); s.In != 2 || s.Fates[DropCut] != 1 || s.Fates[DropMTU] != 1 {
		t.Errorf("%+v", s)
	}
}

// TestSet: a link that changes keeps what is in it, and counts it under any rate.
func TestSet(t *testing.T) {
	l := New(Config{Rate: 8, Queue: MaxQueue}, 1)
	for range 10_000 {
		l.Pass(0, 60_000)
	}
	if w := l.Waiting(0); w != 600_000_000 {
		t.Errorf("%d bytes wait, want 600000000", w)
	}
	l.Set(Config{Rate: MaxRate, Queue: MaxQueue})
	if w := l.Waiting(0); w != MaxQueue {
		t.Errorf("%d bytes wait after the rate was raised, want the largest queue", w)
	}
	l.Set(Config{})
	if c, _ := l.Pass(5, 100); c[0] != (Copy{Passed, 5}) {
		t.Errorf("without impairments: %+v", c[0])
	}
}

func TestPassAllocatesNothing(t *testing.T) {
	l := New(Config{Rate: 1e9, Delay: 1, Jitter: 1000, Loss: 0.1, Burst: 3, Reorder: 0.1, ReorderDelay: 1, Duplicate: 0.1, MTU: 1300}, 1)
	var now time.Duration
	if n := testing.AllocsPerRun(1000, func() { now += 1000; l.Pass(now, 1200) }); n != 0 {
		t.Errorf("%v allocations a datagram", n)
	}
}

func BenchmarkPass(b *testing.B) {
	l := New(Config{Rate: 1e9, Delay: 1, Jitter: 1000, Loss: 0.1, Burst: 3, Reorder: 0.1, ReorderDelay: 1, Duplicate: 0.1, MTU: 1300}, 1)
	var now time.Duration
	for b.Loop() {
		now += 1000
		l.Pass(now, 1200)
	}
}
