package bus

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

func newBus(t testing.TB, o Options) *Bus {
	t.Helper()
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func publish(t testing.TB, p *Producer, events ...string) {
	t.Helper()
	for _, e := range events {
		if err := p.Publish(t.Context(), []byte(e)); err != nil {
			t.Fatal(e, err)
		}
	}
}

// drain reads what is there without waiting.
func drain(c *Consumer) (events []string, missed uint64) {
	var b Batch
	for c.take(&b) {
		missed += b.Missed
		for _, e := range b.Events {
			events = append(events, string(e))
		}
	}
	return events, missed
}

func wantDrain(t *testing.T, c *Consumer, missed uint64, events ...string) {
	t.Helper()
	got, m := drain(c)
	if !slices.Equal(got, events) || m != missed {
		t.Errorf("read %q and missed %d, want %q and %d", got, m, events, missed)
	}
}

func TestModes(t *testing.T) {
	for _, c := range []struct {
		mode   Mode
		read   []string
		missed uint64
		count  Counters
		err    error
	}{
		{DropOldest, []string{"d", "e", "f", "g"}, 3, Counters{Published: 7, Evicted: 3, Missed: 3}, nil},
		{DropNewest, []string{"a", "b", "c", "d"}, 0, Counters{Published: 4, DropNewest: 3}, nil},
		{Fail, []string{"a", "b", "c", "d"}, 0, Counters{Published: 4, Failed: 3}, ErrFull},
		{Sample(3), []string{"b", "c", "d", "g"}, 1, Counters{Published: 5, Sampled: 2, Evicted: 1, Missed: 1}, nil},
	} {
		t.Run(c.mode.String(), func(t *testing.T) {
			b := newBus(t, Options{Shards: 1, Events: 4, Mode: c.mode})
			in, out := b.Producer(), b.Consumer(Newest)
			var err error
			for _, e := range []string{"a", "b", "c", "d", "e", "f", "g"} {
				err = in.Publish(t.Context(), []byte(e))
			}
			if !errors.Is(err, c.err) {
				t.Errorf("the last Publish: %v, want %v", err, c.err)
			}
			wantDrain(t, out, c.missed, c.read...)
			if got := b.Counters(); got != c.count {
				t.Errorf("%+v, want %+v", got, c.count)
			}
			publish(t, in, "later") // what was read makes room in every mode
			wantDrain(t, out, 0, "later")
		})
	}
}

func TestBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, Options{Shards: 1, Events: 1, Mode: Block})
		in, out := b.Producer(), b.Consumer(Newest)
		publish(t, in, "a")
		done := make(chan error)
		go func() { done <- in.Publish(t.Context(), []byte("b")) }()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("did not wait: %v", err)
		default:
		}
		wantDrain(t, out, 0, "a")
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { done <- in.Publish(ctx, []byte("c")) }()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		go func() { done <- in.Publish(t.Context(), []byte("d")) }()
		synctest.Wait()
		out.Close() // a consumer that is gone holds nobody back
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got, want := b.Counters(), (Counters{Published: 3, Blocked: 3, GaveUp: 1}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		slow := b.Consumer(Oldest)
		go func() { done <- in.Publish(t.Context(), []byte("e")) }()
		synctest.Wait()
		b.Close()
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("on a closed bus: %v", err)
		}
		var batch Batch
		if err := slow.Read(t.Context(), &batch); err != nil || string(batch.Events[0]) != "d" {
			t.Errorf("what was there before Close: %q, %v", batch.Events, err)
		}
		if err := slow.Read(t.Context(), &batch); !errors.Is(err, ErrClosed) {
			t.Errorf("after it: %v", err)
		}
	})
}

func TestReadWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, Options{})
		out := b.Consumer(Newest)
		got := make(chan string)
		read := func(ctx context.Context) {
			var batch Batch
			if err := out.Read(ctx, &batch); err != nil {
				got <- err.Error()
				return
			}
			got <- string(batch.Events[0])
		}
		go read(t.Context())
		synctest.Wait()
		publish(t, b.Producer(), "x")
		if s := <-got; s != "x" {
			t.Errorf("read %q", s)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go read(ctx)
		synctest.Wait()
		cancel()
		if s := <-got; s != context.Canceled.Error() {
			t.Errorf("cancelled: %q", s)
		}
		go read(t.Context())
		synctest.Wait()
		out.Close()
		if s := <-got; s != ErrClosed.Error() {
			t.Errorf("closed: %q", s)
		}
		if n := b.sleepers.Load(); n != 0 {
			t.Errorf("%d consumers count as asleep", n)
		}
	})
}

func TestEverybodySeesEverythingInOrder(t *testing.T) {
	const producers, events = 8, 2000
	b := newBus(t, Options{Shards: 3, Events: 64, Bytes: 2048, Mode: Block})
	var group sync.WaitGroup
	for range 3 {
		out := b.Consumer(Newest)
		group.Go(func() {
			var next [producers]uint32
			var batch Batch
			for left := producers * events; left > 0; {
				if err := out.Read(t.Context(), &batch); err != nil {
					t.Error(err)
					return
				}
				for _, e := range batch.Events {
					who, n := e[0], binary.LittleEndian.Uint32(e[1:])
					if n != next[who] || len(e) != 5+int(n%50) {
						t.Errorf("producer %d: event %d of %d bytes, want %d", who, n, len(e), next[who])
						out.Close()
						return
					}
					next[who]++
					left--
				}
			}
		})
	}
	for who := range producers {
		in := b.Producer()
		group.Go(func() {
			for n := range uint32(events) {
				e := make([]byte, 5+n%50)
				e[0] = byte(who)
				binary.LittleEndian.PutUint32(e[1:], n)
				if err := in.Publish(t.Context(), e); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

func TestCursor(t *testing.T) {
	b := newBus(t, Options{Shards: 1, Events: 3})
	in, out := b.Producer(), b.Consumer(Newest)
	publish(t, in, "a", "b")
	start := out.Cursor()
	wantDrain(t, out, 0, "a", "b")
	if err := out.Seek(start); err != nil {
		t.Fatal(err)
	}
	wantDrain(t, out, 0, "a", "b")
	publish(t, in, "c", "d", "e")
	if err := out.Seek(start); err != nil {
		t.Fatal(err)
	}
	wantDrain(t, out, 2, "c", "d", "e")
	wantDrain(t, b.Consumer(Oldest), 0, "c", "d", "e")
	for _, bad := range [][]uint64{nil, {1, 2}, {6}} {
		if err := out.Seek(bad); !errors.Is(err, ErrCursor) {
			t.Errorf("Seek(%v): %v", bad, err)
		}
	}
}

func TestBadOptions(t *testing.T) {
	for _, o := range []Options{{Shards: -1}, {Shards: 257}, {Events: -1}, {Bytes: -1}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
	b := newBus(t, Options{Shards: 1, Bytes: 8})
	if err := b.Producer().Publish(t.Context(), make([]byte, 9)); !errors.Is(err, ErrSize) {
		t.Errorf("9 bytes into 8: %v", err)
	}
	for _, s := range []string{"", "drop", "sample", "sample(1)", "sample(3)x", "sample(-2)", "sample(03)"} {
		if m, err := ParseMode(s); err == nil {
			t.Errorf("ParseMode(%q) = %v", s, m)
		}
	}
	for _, m := range []Mode{DropOldest, DropNewest, Fail, Block, Sample(7)} {
		if got, err := ParseMode(m.String()); err != nil || got != m {
			t.Errorf("ParseMode(%q) = %v, %v", m, got, err)
		}
	}
}

// twin is a ring without an arena: what one producer and two consumers see.
type twin struct {
	events []string // all ever put in
	oldest int
	cap    int
}

// TestTwin holds a bus whose arena is large against a plain list, and one whose
// arena is small against what any ring must do: order, no invention, every event
// read, missed or not let in.
func TestTwin(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		mode := rapid.SampledFrom([]Mode{DropOldest, DropNewest, Fail, Sample(2)}).Draw(rt, "mode")
		events := rapid.IntRange(1, 6).Draw(rt, "events")
		size := rapid.SampledFrom([]int{16, 4096}).Draw(rt, "bytes")
		b, err := New(Options{Shards: 1, Events: events, Bytes: size, Mode: mode})
		if err != nil {
			rt.Fatal(err)
		}
		in := b.Producer()
		outs := []*Consumer{b.Consumer(Newest), b.Consumer(Newest)}
		var at [2]int
		tw := twin{cap: events}
		sampled := 0
		for n := range rapid.IntRange(1, 60).Draw(rt, "steps") {
			if k := rapid.IntRange(0, 4).Draw(rt, "op"); k < 2 {
				got, missed := drain(outs[k])
				if want := tw.events[at[k]+int(missed):]; !slices.Equal(got, want) {
					rt.Fatalf("consumer %d read %q after missing %d, want %q", k, got, missed, want)
				}
				if size > 1000 && at[k]+int(missed) != max(at[k], tw.oldest) {
					rt.Fatalf("consumer %d missed %d, want %d", k, missed, max(tw.oldest-at[k], 0))
				}
				at[k] = len(tw.events)
				continue
			}
			e := fmt.Sprintf("%d%s", n, bytes.Repeat([]byte("."), rapid.IntRange(0, 12).Draw(rt, "len")))
			before := b.Counters().Published
			err := in.Publish(context.Background(), []byte(e))
			put := b.Counters().Published > before
			if (err != nil) != (!put && mode == Fail) {
				rt.Fatalf("put %v, error %v", put, err)
			}
			if size > 1000 {
				full := len(tw.events)-max(tw.oldest, min(at[0], at[1])) >= tw.cap
				want := !full || mode == DropOldest
				if full && mode.kind == sample {
					sampled++
					want = sampled%2 == 0
				}
				if put != want {
					rt.Fatalf("%q put %v, want %v (full %v)", e, put, want, full)
				}
			}
			if put {
				tw.events = append(tw.events, e)
				tw.oldest = max(tw.oldest, len(tw.events)-tw.cap)
			}
		}
	})
}

func TestPublishAllocatesNothing(t *testing.T) {
	b := newBus(t, Options{})
	in, out := b.Producer(), b.Consumer(Newest)
	event, batch := make([]byte, 64), Batch{}
	drain(out)
	if n := testing.AllocsPerRun(1000, func() {
		in.Publish(t.Context(), event)
		out.take(&batch)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkBus publishes events of 64 bytes from 1 and 8 goroutines while one
// consumer reads what it can.
func BenchmarkBus(b *testing.B) {
	for _, producers := range []int{1, 8} {
		for _, mode := range []Mode{DropOldest, Block} {
			b.Run(fmt.Sprintf("%v/producers=%d", mode, producers), func(b *testing.B) {
				bus := newBus(b, Options{Mode: mode})
				out := bus.Consumer(Newest)
				var reader, writers sync.WaitGroup
				read := 0
				reader.Go(func() {
					var batch Batch
					for out.Read(context.Background(), &batch) == nil {
						read += len(batch.Events)
					}
				})
				b.SetBytes(64)
				b.ResetTimer()
				for range producers {
					in := bus.Producer()
					writers.Go(func() {
						event := make([]byte, 64)
						for range b.N / producers {
							in.Publish(context.Background(), event)
						}
					})
				}
				writers.Wait()
				b.StopTimer()
				bus.Close()
				reader.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "M/s")
				b.ReportMetric(float64(read)/float64(b.N), "read/published")
			})
		}
	}
}
