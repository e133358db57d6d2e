package wire

import (
	"bytes"
	"testing"

	"nethost/sdk"
)

// FuzzTrace: what parses is written again as it was (W6.14, W6.15), and nothing else
// parses.
func FuzzTrace(f *testing.F) {
	a := TraceAnswer{Token: 7, Verdict: TraceNext, Next: sdk.NodeID{1}, Hops: 2, Why: 3, Metric: 4, RTT: 5, Loss: 6, N: 2,
		Others: [3]TraceOther{{sdk.NodeID{8}, 9}, {sdk.NodeID{10}, 11}}}
	f.Add(AppendTraceAnswer(nil, &a)[1:])
	for v := uint8(TraceHere); v <= TraceDenied; v++ {
		f.Add(AppendTraceAnswer(nil, &TraceAnswer{Token: 1, Verdict: v})[1:])
	}
	f.Add(AppendTraceQuery(nil, TraceQuery{Token: 3, Dest: sdk.NodeID{4}})[1:])
	f.Fuzz(func(t *testing.T, b []byte) {
		if q, ok := ParseTraceQuery(b); ok && !bytes.Equal(AppendTraceQuery(nil, q)[1:], b) {
			t.Errorf("query %x", b)
		}
		var a TraceAnswer
		if ParseTraceAnswer(b, &a) {
			if !bytes.Equal(AppendTraceAnswer(nil, &a)[1:], b) {
				t.Errorf("answer %x", b)
			}
		} else if a != (TraceAnswer{}) {
			t.Errorf("%x leaves %+v", b, a)
		}
	})
}

// TestTraceBounds: one byte more or less, or a value out of range, does not parse
// (W6.1, W6.15).
func TestTraceBounds(t *testing.T) {
	a := TraceAnswer{Verdict: TraceNext, Why: 1, N: 1}
	good := AppendTraceAnswer(nil, &a)[1:]
	if !ParseTraceAnswer(good, &a) {
		t.Fatal("a good answer does not parse")
	}
	for name, change := range map[string]func(b []byte) []byte{
		"short":        func(b []byte) []byte { return b[:len(b)-1] },
		"long":         func(b []byte) []byte { return append(b, 0) },
		"verdict":      func(b []byte) []byte { b[8] = 6; return b },
		"no verdict":   func(b []byte) []byte { b[8] = 0; return b },
		"hops":         func(b []byte) []byte { b[41] = 64; return b },
		"why":          func(b []byte) []byte { b[42] = 6; return b },
		"no why":       func(b []byte) []byte { b[42] = 0; return b },
		"others":       func(b []byte) []byte { b[53] = 2; return b },
		"a short here": func(b []byte) []byte { b[8] = TraceHere; return b },
	} {
		if ParseTraceAnswer(change(bytes.Clone(good)), &a) {
			t.Errorf("%s parses", name)
		}
	}
}
