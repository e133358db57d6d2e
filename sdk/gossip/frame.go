package gossip

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
)

// Key names a statement.
type Key [32]byte

// Version orders the statements of one key.
type Version [2]uint64

// Compare orders versions.
func (v Version) Compare(w Version) int {
	return cmp.Or(cmp.Compare(v[0], w[0]), cmp.Compare(v[1], w[1]))
}

// The frames.
const (
	frRoot    = 1
	frBuckets = 2
	frList    = 3
	frWant    = 4
	frItem    = 5
	frEnd     = 6
)

const (
	frameHead = 5
	buckets   = 256
	cut       = 8  // bytes of a bucket's hash
	lineLen   = 48 // key and version
	// maxControl bounds every frame but ITEM: lists are split.
	maxControl = 16 << 10
	maxLines   = (maxControl - 1) / lineLen
	maxWant    = maxControl / 32
)

// errFrame is wrapped by what is wrong with a peer's frames.
var errFrame = errors.New("gossip: malformed frame")

// frame is one parsed frame. The slices alias the buffer.
type frame struct {
	kind  byte
	root  [32]byte // ROOT
	count uint32
	hash  []byte // BUCKETS: 256 of cut bytes
	index byte   // LIST
	lines []byte // LIST, WANT
	age   uint32 // ITEM
	body  []byte
}

func beginFrame(b []byte, kind byte) ([]byte, int) { return append(b, kind, 0, 0, 0, 0), len(b) }

func endFrame(b []byte, at int) []byte {
	binary.LittleEndian.PutUint32(b[at+1:], uint32(len(b)-at-frameHead))
	return b
}

func appendLine(b []byte, k Key, v Version) []byte {
	b = append(b, k[:]...)
	b = binary.LittleEndian.AppendUint64(b, v[0])
	return binary.LittleEndian.AppendUint64(b, v[1])
}

func line(b []byte) (k Key, v Version) {
	copy(k[:], b)
	return k, Version{binary.LittleEndian.Uint64(b[32:]), binary.LittleEndian.Uint64(b[40:])}
}

// next cuts one frame off b. n is 0 when it is not there in full.
func next(b []byte, maxItem int) (f frame, n int, err error) {
	if len(b) < frameHead {
		return f, 0, nil
	}
	f.kind = b[0]
	size := binary.LittleEndian.Uint32(b[1:])
	limit := maxControl
	if f.kind == frItem {
		limit = maxItem + 4
	}
	if uint64(size) > uint64(limit) {
		return f, 0, fmt.Errorf("%w: kind %d with %d bytes, the limit is %d", errFrame, f.kind, size, limit)
	}
	n = frameHead + int(size)
	if len(b) < n {
		return f, 0, nil
	}
	return f, n, f.parse(b[frameHead:n])
}

func (f *frame) parse(p []byte) error {
	ok := false
	switch f.kind {
	case frRoot:
		if ok = len(p) == 36; ok {
			copy(f.root[:], p)
			f.count = binary.LittleEndian.Uint32(p[32:])
		}
	case frBuckets:
		ok, f.hash = len(p) == buckets*cut, p
	case frList:
		if ok = len(p) >= 1 && (len(p)-1)%lineLen == 0; ok {
			f.index, f.lines = p[0], p[1:]
			for i := 0; i < len(f.lines) && ok; i += lineLen {
				ok = f.lines[i] == f.index && (i == 0 || string(f.lines[i-lineLen:i-lineLen+32]) < string(f.lines[i:i+32]))
			}
		}
	case frWant:
		ok, f.lines = len(p) > 0 && len(p)%32 == 0, p
	case frItem:
		if ok = len(p) > 4; ok {
			f.age, f.body = binary.LittleEndian.Uint32(p), p[4:]
		}
	case frEnd:
		ok = len(p) == 0
	}
	if !ok {
		return fmt.Errorf("%w: kind %d with %d bytes", errFrame, f.kind, len(p))
	}
	return nil
}
