// Package abi is events and effects as bytes: one codec for the memory of a wasm
// guest, the pipe of a plugin process and the journal of a module. SPEC.md beside
// this file is the authority; clause numbers (A1.2) are cited here and in tests.
//
// A batch is a 40-byte header and then records; a record is 32 bytes and a
// payload padded to 8. The package is pure, allocates nothing after warm-up, and
// builds for GOOS=wasip1, because the guest side uses the same code.
package abi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"nethost/sdk"
	"nethost/sdk/internal/record"
)

// Sizes and constants of ABI 1 (A1, A2).
const (
	HeaderSize = 40
	RecordSize = record.Size
	// Minor is the minor version this package writes. A reader takes any.
	Minor = 0
	magic = uint32('N') | uint32('H')<<8 | uint32('B')<<16 | uint32('1')<<24
)

// Errors of Parse and Reader.Err. A carrier that sees one throws the instance
// away: the batch is not trusted in part.
var (
	ErrShort    = errors.New("abi: batch is shorter than its header says")
	ErrMagic    = errors.New("abi: batch does not start with NHB1")
	ErrReserved = errors.New("abi: reserved bits are set")
	ErrRecord   = errors.New("abi: record runs past the end of the batch")
	ErrPadding  = errors.New("abi: padding is not zero")
	ErrCount    = errors.New("abi: record count does not match")
	ErrLimit    = errors.New("abi: batch is over its limit")
)

// Header is the head of a batch (A1).
type Header struct {
	Minor   uint16
	Records uint32
	Bytes   uint32 // whole batch, header included
	Seq     uint64 // counts batches to one instance, from 1
	Now     time.Duration
	Wall    int64 // Unix nanoseconds, 0 unless granted
}

// Writer builds one batch at a time in a buffer it keeps. The zero value works
// once Reset was called. An sdk.Env writes into its Records.
type Writer struct{ out record.Writer }

// ResetEvents starts a batch of events with the limits of one (A5.1).
func (w *Writer) ResetEvents(seq uint64, now time.Duration, wall int64) {
	w.reset(seq, now, wall, sdk.MaxBatchEvents, sdk.MaxBatchBytes)
}

// ResetEffects starts a batch of effects with the limits of one (A5.2).
func (w *Writer) ResetEffects(seq uint64) { w.reset(seq, 0, 0, sdk.MaxEffects, sdk.MaxEffectBytes) }

func (w *Writer) reset(seq uint64, now time.Duration, wall int64, most, limit int) {
	w.out.Start(HeaderSize, most, limit)
	w.head(seq, now, wall)
}

// head writes the header; what counts records and bytes is left to Bytes.
func (w *Writer) head(seq uint64, now time.Duration, wall int64) {
	h := (*[HeaderSize]byte)(w.out.Bytes())
	binary.LittleEndian.PutUint64(h[0:], uint64(magic)|Minor<<32)
	binary.LittleEndian.PutUint64(h[16:], seq)
	binary.LittleEndian.PutUint64(h[24:], uint64(now))
	binary.LittleEndian.PutUint64(h[32:], uint64(wall))
}

// Records is where the records go: what sdk.NewEnv takes.
func (w *Writer) Records() *record.Writer { return &w.out }

// Event appends an event, or reports false and changes nothing when it does not
// fit. One slot is kept for Flush, which always fits.
func (w *Writer) Event(e sdk.Event) bool {
	keep := 1
	if e.Kind == sdk.EvFlush {
		keep = 0
	}
	if !w.out.Fits(len(e.Payload), keep) {
		return false
	}
	w.out.Put(uint64(e.Kind)|uint64(e.Flags)<<16,
		uint64(e.Peer)|uint64(e.ID)<<32|uint64(e.Version.Major)<<48|uint64(e.Version.Minor)<<56,
		uint64(e.Ref), e.Arg, e.Payload)
	return true
}

// Emit appends an effect. Above the limits it marks the batch (see Err) and
// drops the effect: the host traps the module.
func (w *Writer) Emit(f sdk.Effect) {
	w.out.Put(uint64(f.Kind)|uint64(f.Flags)<<16,
		uint64(f.Peer)|uint64(f.ID)<<32|uint64(f.Version.Major)<<48|uint64(f.Version.Minor)<<56,
		uint64(f.Ref), f.Arg, f.Payload)
}

// Len is the number of records so far.
func (w *Writer) Len() int { return w.out.Count() }

// Err reports ErrLimit when an effect did not fit.
func (w *Writer) Err() error {
	if w.out.Over() {
		return ErrLimit
	}
	return nil
}

// Bytes completes the header and returns the batch. It is valid until the next
// Reset.
func (w *Writer) Bytes() []byte {
	b := w.out.Bytes()
	binary.LittleEndian.PutUint64(b[8:], uint64(w.out.Count())|uint64(len(b))<<32)
	return b
}

// Reader walks the records of a batch. Payloads alias the batch.
type Reader struct {
	rest []byte
	left uint32
	err  error
}

// Parse checks the header of a batch that fills b exactly, and returns it with a
// reader of its records. limit is the largest length accepted, in bytes.
func Parse(b []byte, limit int) (h Header, r Reader, err error) {
	if err := parse(b, limit, &h, &r); err != nil {
		return Header{}, Reader{}, err
	}
	return h, r, nil
}

func parse(b []byte, limit int, h *Header, r *Reader) error {
	if len(b) > limit {
		return ErrLimit
	}
	if len(b) < HeaderSize {
		return ErrShort
	}
	head := (*[HeaderSize]byte)(b)
	if binary.LittleEndian.Uint32(head[0:]) != magic {
		return ErrMagic
	}
	if binary.LittleEndian.Uint16(head[6:]) != 0 {
		return ErrReserved
	}
	h.Minor = binary.LittleEndian.Uint16(head[4:])
	h.Records, h.Bytes = binary.LittleEndian.Uint32(head[8:]), binary.LittleEndian.Uint32(head[12:])
	h.Seq = binary.LittleEndian.Uint64(head[16:])
	h.Now = time.Duration(binary.LittleEndian.Uint64(head[24:]))
	h.Wall = int64(binary.LittleEndian.Uint64(head[32:]))
	if uint64(h.Bytes) != uint64(len(b)) {
		return fmt.Errorf("%w: %d bytes given, header says %d", ErrShort, len(b), h.Bytes)
	}
	r.rest, r.left, r.err = b[HeaderSize:], h.Records, nil
	return nil
}

// NextEvent gives the next record as an event; false at the end or on an error.
func (r *Reader) NextEvent() (e sdk.Event, ok bool) {
	ok = r.next(&e)
	return e, ok
}

// NextEffect gives the next record as an effect; false at the end or on an error.
func (r *Reader) NextEffect() (f sdk.Effect, ok bool) {
	var e sdk.Event
	ok = r.next(&e)
	return sdk.Effect{Kind: sdk.EffectKind(e.Kind), Flags: e.Flags, ID: e.ID, Version: e.Version, Peer: e.Peer,
		Ref: e.Ref, Arg: e.Arg, Payload: e.Payload}, ok
}

// Err is nil when the records ended where the header said.
func (r *Reader) Err() error { return r.err }

// next decodes one record into e. On false e is untouched.
func (r *Reader) next(e *sdk.Event) bool {
	if r.left == 0 || len(r.rest) < RecordSize {
		r.end()
		return false
	}
	b := r.rest
	rec := (*[RecordSize]byte)(b)
	head, mid := binary.LittleEndian.Uint64(rec[0:]), binary.LittleEndian.Uint64(rec[8:])
	n := head >> 32
	total := RecordSize + (n+7)&^7
	if uint64(len(b)) < total {
		r.fail(ErrRecord)
		return false
	}
	if pad := total - RecordSize - n; pad != 0 && binary.LittleEndian.Uint64(b[total-8:])>>(64-8*pad) != 0 {
		r.fail(ErrPadding)
		return false
	}
	e.Kind, e.Flags = sdk.EventKind(head), uint16(head>>16)
	e.Peer, e.ID, e.Version = sdk.Peer(mid), sdk.ID(mid>>32), sdk.Version{Major: uint8(mid >> 48), Minor: uint8(mid >> 56)}
	e.Ref, e.Arg = sdk.Ref(binary.LittleEndian.Uint64(rec[16:])), binary.LittleEndian.Uint64(rec[24:])
	e.Payload = b[RecordSize : RecordSize+n : RecordSize+n]
	r.rest = b[total:]
	r.left--
	return true
}

// end notes why there is no further record.
func (r *Reader) end() {
	switch {
	case r.err != nil:
	case r.left != 0:
		r.fail(ErrRecord)
	case len(r.rest) != 0:
		r.fail(ErrCount)
	}
}

func (r *Reader) fail(err error) { r.err, r.left, r.rest = err, 0, nil }
