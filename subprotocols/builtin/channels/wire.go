package channels

import (
	"encoding/binary"
	"errors"
	"fmt"

	"nethost/sdk"
	"nethost/sdk/channel"
	"nethost/sdk/name"
	"nethost/sdk/token"
)

// Kinds of frames between two nodes (W2, W3).
const (
	frSub     = 1  // ref, age in ms, pattern, group, chain
	frUnsub   = 2  // ref
	frRefuse  = 3  // num, code, text
	frChannel = 16 // num, epoch, reliable, name, chain
	frJoin    = 17 // num, ref, next sequence
	frEvent   = 18 // num, sequence, hops, body
	frOne     = 19 // ref, num, sequence, hops, body
	frDenied  = 20 // ref, code, name, text
	frGone    = 21 // num
)

const (
	maxText  = 512
	maxGroup = 64
	// maxFrame bounds a frame without its length, in bytes.
	maxFrame = channel.MaxEvent + 1<<10
)

var errFrame = errors.New("malformed frame")

// frame is any frame; which fields mean something depends on kind. What is a slice
// aliases the bytes it was parsed from.
type frame struct {
	kind     uint8
	num, ref uint32
	seq      uint64 // of an event; the next one in a join
	age      uint32
	epoch    uint32
	code     sdk.Code
	reliable bool
	hops     uint8
	name     string // or a pattern
	group    string
	text     string
	chain    []byte
	body     []byte // channel.AppendBody
}

// append appends the frame behind its length.
func (f *frame) append(b []byte) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0, f.kind)
	le := binary.LittleEndian
	switch f.kind {
	case frSub:
		b = le.AppendUint32(le.AppendUint32(b, f.ref), f.age)
		b = append(append(b, byte(len(f.name))), f.name...)
		b = append(append(b, byte(len(f.group))), f.group...)
		b = append(b, f.chain...)
	case frUnsub:
		b = le.AppendUint32(b, f.ref)
	case frRefuse:
		b = append(le.AppendUint32(le.AppendUint32(b, f.num), uint32(f.code)), f.text...)
	case frChannel:
		b = le.AppendUint32(le.AppendUint32(b, f.num), f.epoch)
		b = append(b, boolByte(f.reliable), byte(len(f.name)))
		b = append(append(b, f.name...), f.chain...)
	case frJoin:
		b = le.AppendUint64(le.AppendUint32(le.AppendUint32(b, f.num), f.ref), f.seq)
	case frEvent:
		b = append(append(le.AppendUint64(le.AppendUint32(b, f.num), f.seq), f.hops), f.body...)
	case frOne:
		b = le.AppendUint32(le.AppendUint32(b, f.ref), f.num)
		b = append(append(le.AppendUint64(b, f.seq), f.hops), f.body...)
	case frDenied:
		b = le.AppendUint32(le.AppendUint32(b, f.ref), uint32(f.code))
		b = append(append(append(b, byte(len(f.name))), f.name...), f.text...)
	case frGone:
		b = le.AppendUint32(b, f.num)
	}
	le.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

func boolByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// taker reads fields from the front of a frame.
type taker struct {
	b   []byte
	bad bool
}

func (t *taker) take(n int) []byte {
	if len(t.b) < n {
		t.bad = true
		return make([]byte, n)
	}
	p := t.b[:n:n]
	t.b = t.b[n:]
	return p
}

func (t *taker) u8() uint8    { return t.take(1)[0] }
func (t *taker) u32() uint32  { return binary.LittleEndian.Uint32(t.take(4)) }
func (t *taker) u64() uint64  { return binary.LittleEndian.Uint64(t.take(8)) }
func (t *taker) str() string  { return string(t.take(int(t.u8()))) }
func (t *taker) all() []byte  { p := t.b; t.b = nil; return p }
func (t *taker) text() string { return string(t.all()) }

// parseFrame reads one frame as it stands behind its length.
func parseFrame(b []byte) (frame, error) {
	var f frame
	t := taker{b: b}
	f.kind = t.u8()
	switch f.kind {
	case frSub:
		f.ref, f.age, f.name, f.group, f.chain = t.u32(), t.u32(), t.str(), t.str(), t.all()
	case frUnsub:
		f.ref = t.u32()
	case frRefuse:
		f.num, f.code, f.text = t.u32(), sdk.Code(t.u32()), t.text()
	case frChannel:
		f.num, f.epoch = t.u32(), t.u32()
		flags := t.u8()
		f.reliable, t.bad = flags&1 != 0, t.bad || flags > 1
		f.name, f.chain = t.str(), t.all()
	case frJoin:
		f.num, f.ref, f.seq = t.u32(), t.u32(), t.u64()
	case frEvent:
		f.num, f.seq, f.hops, f.body = t.u32(), t.u64(), t.u8(), t.all()
	case frOne:
		f.ref, f.num, f.seq, f.hops, f.body = t.u32(), t.u32(), t.u64(), t.u8(), t.all()
	case frDenied:
		f.ref, f.code, f.name, f.text = t.u32(), sdk.Code(t.u32()), t.str(), t.text()
	case frGone:
		f.num = t.u32()
	default:
		return frame{}, fmt.Errorf("%w: kind %d is unknown", errFrame, f.kind)
	}
	if t.bad || len(t.b) > 0 {
		return frame{}, fmt.Errorf("%w: kind %d has the wrong length", errFrame, f.kind)
	}
	if why := f.fault(); why != "" {
		return frame{}, fmt.Errorf("%w: kind %d: %s", errFrame, f.kind, why)
	}
	return f, nil
}

// fault says what is wrong with the fields of a frame.
func (f *frame) fault() string {
	switch {
	case len(f.text) > maxText:
		return "the text is too long"
	case len(f.chain) > token.MaxChain:
		return "the token is too long"
	case f.kind == frSub && name.CheckPattern(f.name) != nil:
		return "it names no pattern"
	case f.kind == frSub && f.group != "" && !validGroup(f.group):
		return "it names no group"
	case f.kind == frChannel && name.Check(f.name) != nil:
		return "it names no channel"
	case (f.kind == frEvent || f.kind == frOne) && f.seq == 0:
		return "an event without a sequence"
	}
	return ""
}

// takeFrame gives the first frame of a stream's bytes without its length; nil without
// an error: it is not there in full.
func takeFrame(b []byte) (rec, rest []byte, err error) {
	if len(b) < 4 {
		return nil, b, nil
	}
	n := binary.LittleEndian.Uint32(b)
	switch {
	case n == 0 || n > maxFrame:
		return nil, nil, fmt.Errorf("%w: %d bytes, want 1 to %d", errFrame, n, maxFrame)
	case uint32(len(b)-4) < n:
		return nil, b, nil
	}
	return b[4 : 4+n : 4+n], b[4+n:], nil
}

// validGroup: a group is named as one part of a channel is.
func validGroup(s string) bool {
	if len(s) > maxGroup || name.Check(s) != nil {
		return false
	}
	for i := range len(s) {
		if s[i] == '/' {
			return false
		}
	}
	return true
}
