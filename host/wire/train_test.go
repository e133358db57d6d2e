package wire

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func TestCut(t *testing.T) {
	for _, c := range []struct{ size, segment, want int }{{0, 0, 1}, {10, 0, 1}, {10, 10, 1}, {10, 11, 1}, {10, 3, 4}, {9, 3, 3}, {10, -1, 1}} {
		tr, n, total := Train{Bytes: make([]byte, c.size), Segment: c.segment}, 0, 0
		for more := true; more; n++ {
			var b []byte
			b, more = tr.Cut()
			total += len(b)
		}
		if n != c.want || total != c.size {
			t.Errorf("%d bytes in segments of %d: %d datagrams of %d bytes", c.size, c.segment, n, total)
		}
		whole := Train{Bytes: make([]byte, c.size), Segment: c.segment}
		if whole.Count() != c.want {
			t.Errorf("%d bytes in segments of %d count as %d", c.size, c.segment, whole.Count())
		}
	}
}

// Datagrams that lie side by side are joined as far as a train allows, and cutting
// gives them back.
func TestJoin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.SampledFrom([]int{1, 40, 1200, 1200, 1200, 9000}), 1, 200).Draw(t, "sizes")
		memory := make([]byte, 0, 1<<21)
		var want [][]byte
		var trains []Train
		for i, n := range sizes {
			if rapid.IntRange(0, 30).Draw(t, "gap") == 0 {
				memory = append(memory, 0)
			}
			at := len(memory)
			memory = append(memory, bytes.Repeat([]byte{byte(i)}, n)...)
			b := memory[at:]
			want = append(want, b)
			if k := len(trains); k == 0 || !trains[k-1].Join(b) {
				trains = append(trains, Train{Bytes: b})
			}
		}
		var got [][]byte
		for _, tr := range trains {
			if len(tr.Bytes) > MaxTrain || tr.Count() > MaxSegments {
				t.Fatalf("a train of %d datagrams, %d bytes", tr.Count(), len(tr.Bytes))
			}
			for more := true; more; {
				var b []byte
				b, more = tr.Cut()
				got = append(got, b)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%d datagrams, want %d", len(got), len(want))
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("datagram %d has %d bytes, want %d", i, len(got[i]), len(want[i]))
			}
		}
	})
}
