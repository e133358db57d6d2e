// Package record writes the records of a batch (sdk/abi/SPEC.md, A2) into a buffer
// that it keeps. It stands below sdk so that sdk.Env writes effects in place: in a
// wasm guest a call of a function costs as much as writing a record. It knows no
// kinds and no header.
package record

import "encoding/binary"

// Size is the length of a record without its payload, in bytes (A2.1).
const Size = 32

// smallest is the first buffer, in bytes. No head is longer.
const smallest = 4096

// Writer appends records. The zero value takes nothing: see Start.
type Writer struct {
	buf   []byte // as long as its memory
	n     int    // bytes written
	room  int    // how far n may go before somebody has to look: min(len(buf), limit)
	left  int    // records it still takes
	most  int
	limit int
	over  bool
}

// Start empties the writer but for head bytes, which are the caller's to fill in.
// It will take most records and limit bytes, those of the head included.
func (w *Writer) Start(head, most, limit int) {
	if len(w.buf) < smallest {
		w.buf = make([]byte, smallest)
	}
	w.n, w.left, w.most, w.limit, w.over = head, most, most, limit, false
	w.room = min(len(w.buf), limit)
}

// Put appends the record of four words, payload copied. The length of the payload is
// put into the first word, which has none. Above a limit the record is dropped
// and Over reports it.
func (w *Writer) Put(w0, w1, w2, w3 uint64, payload []byte) {
	at := w.n
	end := at + Size + (len(payload)+7)&^7
	if end > w.room || w.left == 0 {
		if !w.admit(end) {
			return
		}
	}
	b := w.buf[at:end]
	r := (*[Size]byte)(b)
	binary.LittleEndian.PutUint64(r[0:], w0|uint64(len(payload))<<32)
	binary.LittleEndian.PutUint64(r[8:], w1)
	binary.LittleEndian.PutUint64(r[16:], w2)
	binary.LittleEndian.PutUint64(r[24:], w3)
	if len(payload) > 0 {
		binary.LittleEndian.PutUint64(b[len(b)-8:], 0) // the padding
		copy(b[Size:], payload)
	}
	w.n = end
	w.left--
}

// admit makes room up to end, or notes that there is none.
func (w *Writer) admit(end int) bool {
	if w.left == 0 || end > w.limit {
		w.over = true
		return false
	}
	grown := make([]byte, max(2*len(w.buf), end))
	copy(grown, w.buf[:w.n])
	w.buf, w.room = grown, min(len(grown), w.limit)
	return true
}

// Fits reports whether a record with a payload of n bytes and, behind it, keep empty
// records would be taken.
func (w *Writer) Fits(n, keep int) bool {
	return w.left > keep && w.n+Size+(n+7)&^7+keep*Size <= w.limit
}

// Count is the number of records.
func (w *Writer) Count() int { return w.most - w.left }

// Over reports that a record was dropped.
func (w *Writer) Over() bool { return w.over }

// Bytes gives head and records, valid until the next Start or Put.
func (w *Writer) Bytes() []byte { return w.buf[:w.n] }
