package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// HeadSize is the length of the prefix, in bytes.
const HeadSize = 4

// ErrTooLong is wrapped by Reader.Next when a prefix is over the limit. The
// stream is lost then: there is no way to find the next frame.
var ErrTooLong = errors.New("frame: longer than allowed")

const firstBuffer = 64 << 10

// Reader takes frames from a byte stream. It reads as much as there is, so that
// a frame costs one read most of the time.
type Reader struct {
	r          io.Reader
	buf        []byte
	start, end int // buf[start:end] is read and not yet handed out
	limit      int
}

// NewReader reads frames of at most limit bytes of batch from r.
func NewReader(r io.Reader, limit int) *Reader {
	return &Reader{r: r, limit: limit, buf: make([]byte, min(firstBuffer, HeadSize+limit))}
}

// Next gives the next batch, valid until the following Next. The end of the
// stream between frames is io.EOF, inside one io.ErrUnexpectedEOF.
func (r *Reader) Next() ([]byte, error) {
	if err := r.fill(HeadSize); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(r.buf[r.start:])
	if uint64(n) > uint64(r.limit) {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLong, n, r.limit)
	}
	total := HeadSize + int(n)
	if err := r.fill(total); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	b := r.buf[r.start+HeadSize : r.start+total : r.start+total]
	r.start += total
	return b, nil
}

// fill reads until n bytes are waiting.
func (r *Reader) fill(n int) error {
	if r.start == r.end {
		r.start, r.end = 0, 0
	}
	if r.start+n > len(r.buf) {
		to := r.buf
		if n > len(to) {
			to = make([]byte, max(n, min(2*len(to), HeadSize+r.limit)))
		}
		r.end = copy(to, r.buf[r.start:r.end])
		r.start, r.buf = 0, to
	}
	for r.end-r.start < n {
		m, err := r.r.Read(r.buf[r.end:])
		r.end += m
		if err != nil && r.end-r.start < n {
			if err == io.EOF && r.end > r.start {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// Writer puts frames on a byte stream, each with one write. Any number of
// goroutines may use it.
type Writer struct {
	mu  sync.Mutex
	w   io.Writer
	buf []byte
}

// NewWriter writes frames to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write sends one batch. After an error the stream is lost.
func (w *Writer) Write(batch []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf = Append(w.buf[:0], batch)
	_, err := w.w.Write(w.buf)
	return err
}

// Append appends the frame of a batch.
func Append(b, batch []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(batch)))
	return append(b, batch...)
}
