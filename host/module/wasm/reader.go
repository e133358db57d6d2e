package wasm

import (
	"errors"
	"unicode/utf8"
)

var (
	errEnd = errors.New("ends in the middle of a value")
	errLEB = errors.New("has a malformed LEB128 number")
)

// reader walks the bytes of a binary. The first fault sticks in err; after it
// every read gives zero, so callers check once per item.
type reader struct {
	b   []byte
	p   int
	err error
}

func (r *reader) left() int { return len(r.b) - r.p }

func (r *reader) more() bool { return r.err == nil && r.p < len(r.b) }

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) byte() byte {
	if r.err != nil || r.p >= len(r.b) {
		r.fail(errEnd)
		return 0
	}
	r.p++
	return r.b[r.p-1]
}

// take gives the next n bytes.
func (r *reader) take(n uint32) []byte {
	if r.err != nil || uint64(n) > uint64(r.left()) {
		r.fail(errEnd)
		return nil
	}
	r.p += int(n)
	return r.b[r.p-int(n) : r.p : r.p]
}

func (r *reader) u32() uint32 {
	var v uint64
	for shift := uint(0); shift < 35; shift += 7 {
		c := r.byte()
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			if v > 1<<32-1 {
				r.fail(errLEB)
				return 0
			}
			return uint32(v)
		}
	}
	r.fail(errLEB)
	return 0
}

// signed reads a signed number of the given width, 32, 33 or 64 bits.
func (r *reader) signed(bits uint) int64 {
	var v int64
	for shift := uint(0); shift < bits; shift += 7 {
		c := r.byte()
		v |= int64(c&0x7f) << shift
		if c >= 0x80 {
			continue
		}
		if shift+7 < 64 {
			v = v << (57 - shift) >> (57 - shift)
		} else if c != 0 && c != 0x7f {
			r.fail(errLEB) // bits beyond the 64th must repeat the sign
		}
		if bits < 64 && (v < -1<<(bits-1) || v >= 1<<(bits-1)) {
			r.fail(errLEB)
		}
		return v
	}
	r.fail(errLEB)
	return 0
}

// count reads the length of a vector whose items take at least one byte each, so
// that no length can make us allocate more than the binary holds.
func (r *reader) count() uint32 {
	n := r.u32()
	if r.err == nil && uint64(n) > uint64(r.left()) {
		r.fail(errEnd)
		return 0
	}
	return n
}

func (r *reader) name() string {
	b := r.take(r.u32())
	if !utf8.Valid(b) {
		r.fail(errors.New("has a name that is not UTF-8"))
		return ""
	}
	return string(b)
}

func appendU32(b []byte, v uint32) []byte {
	for ; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}

func appendS64(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func appendName(b []byte, s string) []byte {
	return append(appendU32(b, uint32(len(s))), s...)
}
