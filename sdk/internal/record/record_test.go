package record

import (
	"bytes"
	"testing"
)

// TestPut: A2.1, A2.2: four words, the length, the payload, zero padding, whatever
// the buffer held before.
func TestPut(t *testing.T) {
	var w Writer
	w.Start(0, 10, 1<<20)
	for range 2 { // the second time over what the first left
		w.Put(1, 2, 3, 4, bytes.Repeat([]byte{0xff}, 100))
		w.Start(0, 10, 1<<20)
	}
	w.Put(0x0201, 5, 6, 7, []byte("nine bytes"))
	w.Put(8, 0, 0, 0, nil)
	want := append([]byte{1, 2, 0, 0, 10, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0},
		"nine bytes\x00\x00\x00\x00\x00\x00"...)
	want = append(append(want, 8), make([]byte, 31)...)
	if !bytes.Equal(w.Bytes(), want) || w.Count() != 2 {
		t.Errorf("%d records\n got %x\nwant %x", w.Count(), w.Bytes(), want)
	}
}

// TestLimits: Put takes what Fits says it takes, to the byte and the record.
func TestLimits(t *testing.T) {
	for _, limit := range []int{100, 5000, 100_000} { // below, around and above the first buffer
		for _, most := range []int{1, 3, 100} {
			for _, size := range []int{0, 1, 8, 68, 69, 4000} {
				var w Writer
				w.Start(40, most, limit)
				for range most + 1 {
					fits, before := w.Fits(size, 0), w.Count()
					w.Put(1, 0, 0, 0, make([]byte, size))
					if took := w.Count() > before; took != fits || took == w.Over() {
						t.Fatalf("limit %d, most %d, payload %d: fits %v, took %v, over %v", limit, most, size, fits, took, w.Over())
					}
					if !fits {
						break
					}
				}
				if len(w.Bytes()) > limit || w.Count() > most || !w.Over() {
					t.Errorf("limit %d, most %d, payload %d: %d bytes, %d records, over %v", limit, most, size, len(w.Bytes()), w.Count(), w.Over())
				}
				if w.Start(40, most, limit); w.Over() || w.Count() != 0 || len(w.Bytes()) != 40 {
					t.Error("Start keeps something")
				}
			}
		}
	}
	var w Writer
	w.Start(0, 3, 1000)
	if !w.Fits(0, 2) || w.Fits(0, 3) || !w.Fits(1000-3*Size-7, 2) || w.Fits(1000-3*Size+1, 2) {
		t.Error("Fits counts what is kept behind wrongly")
	}
	if w = (Writer{}); w.Fits(0, 0) {
		t.Error("the zero value takes records")
	}
	if w.Put(1, 0, 0, 0, nil); !w.Over() {
		t.Error("the zero value takes records")
	}
}
