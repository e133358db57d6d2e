package wire

import (
	"encoding/binary"

	"nethost/sdk"
)

// Bits of a frame's flags (W5.2).
const (
	FrameEpochMask  = 3      // both manifest epochs mod 2 (W5.2)
	FrameClassShift = 2      // three bits of class
	FlagStream      = 1 << 5 // stream bytes; else a message
	FlagFIN         = 1 << 6 // last bytes of the stream
	FlagFragment    = 1 << 7 // a part of a message that is longer than a packet
)

// MaxMessage is the longest message, in bytes (W5.10).
const MaxMessage = 1 << 16

// MaxVarint is the largest stream id, stream offset or packet counter (W1.3).
const MaxVarint = 1<<62 - 1

// coreID is the subprotocol of core messages and of padding.
const coreID sdk.ID = 0x0001

// Frame is one frame of a session packet's plaintext: a message (Stream 0), a piece
// of a stream (Stream at least 1, FlagStream) or a fragment of a message (FlagFragment:
// Stream is the message's number, at least 1, and Total its length).
type Frame struct {
	ID             sdk.ID
	Flags          uint8
	Stream, Offset uint64
	Total          uint32 // of a fragment, in bytes; else 0
	Payload        []byte
}

// IsPadding reports whether f is the padding frame, which ends the plaintext.
func (f *Frame) IsPadding() bool { return f.ID == coreID && len(f.Payload) == 0 }

// Class is the sealed copy of the packet's class.
func (f *Frame) Class() uint8 { return f.Flags >> FrameClassShift & 7 }

// Epoch is both manifest epochs mod 2 (W5.2).
func (f *Frame) Epoch() uint8 { return f.Flags & FrameEpochMask }

// ParseFrame reads the first frame of b; rest is what follows. The padding frame
// takes all of b with it, and everything after it must be zero (W5.6).
func ParseFrame(b []byte) (f Frame, rest []byte, ok bool) {
	if len(b) < 3 {
		return f, nil, false
	}
	f.ID, f.Flags = sdk.ID(binary.LittleEndian.Uint16(b)), b[2]
	stream, fragment := f.Flags&FlagStream != 0, f.Flags&FlagFragment != 0
	if f.Stream, b, ok = takeVarint(b[3:]); !ok || (stream || fragment) != (f.Stream != 0) {
		return Frame{}, nil, false
	}
	if stream || fragment {
		if f.Offset, b, ok = takeVarint(b); !ok {
			return Frame{}, nil, false
		}
	}
	if fragment {
		var total uint64
		if total, b, ok = takeVarint(b); !ok || total > MaxMessage {
			return Frame{}, nil, false
		}
		f.Total = uint32(total)
	}
	if len(b) < 2 {
		return Frame{}, nil, false
	}
	n := int(binary.LittleEndian.Uint16(b))
	if b = b[2:]; len(b) < n {
		return Frame{}, nil, false
	}
	f.Payload, rest = b[:n:n], b[n:]
	switch {
	case f.Flags&FlagFIN != 0 && !stream,
		f.Offset > MaxVarint-uint64(n),
		f.ID == coreID && (stream || fragment),
		fragment && (stream || n == 0 || n >= int(f.Total) || f.Offset > uint64(f.Total)-uint64(n)):
		return Frame{}, nil, false
	case f.IsPadding():
		if f.Flags != 0 || !allZero(rest) {
			return Frame{}, nil, false
		}
		rest = rest[len(rest):]
	}
	return f, rest, true
}

// AppendFrame appends f. Flags and Stream must agree (W5.3), the payload must be
// at most 65535 bytes: a longer one panics, since a cut would be read as another
// message.
func AppendFrame(b []byte, f Frame) []byte {
	return append(AppendFrameHead(b, &f, len(f.Payload)), f.Payload...)
}

// AppendFrameHead appends f without its payload, of which the caller appends n
// bytes from wherever they lie. It panics as AppendFrame does.
func AppendFrameHead(b []byte, f *Frame, n int) []byte {
	if n > 0xffff {
		panic("wire: a frame's payload is longer than 65535 bytes")
	}
	b = binary.LittleEndian.AppendUint16(b, uint16(f.ID))
	b = append(b, f.Flags)
	b = binary.AppendUvarint(b, f.Stream)
	if f.Flags&(FlagStream|FlagFragment) != 0 {
		b = binary.AppendUvarint(b, f.Offset)
	}
	if f.Flags&FlagFragment != 0 {
		b = binary.AppendUvarint(b, uint64(f.Total))
	}
	return binary.LittleEndian.AppendUint16(b, uint16(n))
}

// MinPadding is the size of the padding frame alone, in bytes.
const MinPadding = 6

// AppendPadding appends n bytes of padding; fewer than MinPadding append
// nothing, since no frame is that short. Nothing may follow.
func AppendPadding(b []byte, n int) []byte {
	if n < MinPadding {
		return b
	}
	b = AppendFrame(b, Frame{ID: coreID})
	for range n - MinPadding {
		b = append(b, 0)
	}
	return b
}

// FrameOverhead is the size of a frame without its payload.
func FrameOverhead(stream, offset uint64, reliable bool) int {
	n := 2 + 1 + varintLen(stream) + 2
	if reliable {
		n += varintLen(offset)
	}
	return n
}

// FragmentOverhead is the size of a fragment without its payload.
func FragmentOverhead(number, offset uint64, total int) int {
	return FrameOverhead(number, offset, true) + varintLen(uint64(total))
}

func varintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// takeVarint reads an unsigned LEB128 number in its shortest form, at most
// MaxVarint.
func takeVarint(b []byte) (v uint64, rest []byte, ok bool) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), b[1:], true
	}
	v, n := binary.Uvarint(b)
	if n <= 0 || v > MaxVarint || b[n-1] == 0 {
		return 0, nil, false
	}
	return v, b[n:], true
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
