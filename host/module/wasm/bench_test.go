package wasm

import (
	"fmt"
	"testing"

	"nethost/host/module"
	"nethost/sdk/abi"
)

// BenchmarkEvent is the cost of one event through a Go guest that echoes it, per
// message: copies in and out, metering on.
func BenchmarkEvent(b *testing.B) {
	c := newCarrier(b)
	i := mustOpen(b, c, buildGuest(b, echoPkg), module.Spec{})
	if _, err := i.Deliver(startBatch(1)); err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{64, 1024} {
		for _, n := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%dB/x%d", size, n), func(b *testing.B) {
				var w abi.Writer
				batch := messages(&w, 2, n, size)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := i.Deliver(batch); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/packet")
				b.ReportMetric(float64(i.spent)/float64(n), "fuel/packet")
			})
		}
	}
}

// BenchmarkCall is the floor: a guest that does nothing.
func BenchmarkCall(b *testing.B) {
	i := mustOpen(b, newCarrier(b), handleOnly(0x42, 0).bytes(), module.Spec{})
	batch := flushBatch(1, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := i.Deliver(batch); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRewrite is the load-time cost for a Go guest.
func BenchmarkRewrite(b *testing.B) {
	bin := buildGuest(b, echoPkg)
	b.SetBytes(int64(len(bin)))
	for b.Loop() {
		out, rep, err := Rewrite(bin, testOptions)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(out))/float64(len(bin)), "size-ratio")
		b.ReportMetric(float64(rep.Charges), "charges")
	}
}

// BenchmarkOpen is a start from a warm cache in memory.
func BenchmarkOpen(b *testing.B) {
	c := newCarrier(b)
	bin := buildGuest(b, echoPkg)
	mustOpen(b, c, bin, module.Spec{}) // holds the compiled code
	for b.Loop() {
		i := mustOpen(b, c, bin, module.Spec{})
		_ = i.Close()
	}

	b.ReportMetric(float64(c.Rate()), "units/us")
}
