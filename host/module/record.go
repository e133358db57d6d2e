package module

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"nethost/sdk"
	"nethost/sdk/abi"
)

// recordMagic begins a record (RECORD.md R1.1).
const recordMagic = "NHREC1\r\n"

// RecordKind is the kind of a frame in a record (R1.2).
type RecordKind uint8

// The frames of a record.
const (
	RecordHead     RecordKind = 1
	RecordSnapshot RecordKind = 2
	RecordEvents   RecordKind = 3
	RecordEffects  RecordKind = 4
	RecordDied     RecordKind = 5
	RecordEnd      RecordKind = 6
)

// Why a record ends (R2.3).
const (
	EndOfLife = 1 // the instance ended
	EndOfPart = 2 // the next part goes on with a snapshot
	EndFull   = 3 // the record was full
)

// Cause is why an instance died, in a record (R2.2).
type Cause uint8

// The causes.
const (
	CauseTrap     Cause = 1
	CauseFuel     Cause = 2
	CauseGone     Cause = 3
	CauseProtocol Cause = 4
	CauseOther    Cause = 5
)

func (c Cause) String() string {
	return [...]string{"", "trap", "out of budget", "gone", "protocol", "other"}[min(c, CauseOther)]
}

// causeOf sorts an error of Deliver.
func causeOf(err error) Cause {
	for i, e := range []error{ErrTrap, ErrFuel, ErrGone, ErrProtocol} {
		if errors.Is(err, e) {
			return Cause(i + 1)
		}
	}
	return CauseOther
}

const (
	recordFrame   = 8 // kind, zeros, length
	maxRecordText = 1 << 16
	maxSnapshot   = 1 << 30
)

func recordLimit(k RecordKind) int {
	switch k {
	case RecordHead, RecordDied:
		return maxRecordText
	case RecordSnapshot:
		return maxSnapshot
	case RecordEvents:
		return sdk.MaxBatchBytes
	case RecordEffects:
		return sdk.MaxEffectBytes
	case RecordEnd:
		return 1
	}
	return -1
}

// Faults of a record.
var (
	// ErrRecordCut: the file ends where more must follow (R1.5).
	ErrRecordCut = errors.New("the record was cut off")
	// ErrRecordCorrupt: the file is not as it was written, or is no record.
	ErrRecordCorrupt = errors.New("the record is corrupt")
)

func corrupt(format string, a ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRecordCorrupt}, a...)...)
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// appendFrame appends one frame.
func appendFrame(b []byte, k RecordKind, payload []byte) []byte {
	at := len(b)
	b = append(b, byte(k), 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	b = append(b, payload...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[at:], castagnoli()))
}

// Head says whose record it is, and what a carrier needs to open the module again.
type Head struct {
	Name, Release string
	Carrier       Kind
	Digest, Seed  [32]byte
	Memory        uint64        // limit, bytes
	CPUMax        time.Duration // limit
	Began         time.Time     // of the life
	Part          uint32        // from 0
	Subprotocols  []sdk.Subprotocol
}

// headOf is the head of a version's record.
func headOf(s *Spec, began time.Time) Head {
	return Head{Name: s.Name, Release: s.Release, Carrier: s.Kind, Digest: s.Digest, Seed: s.Seed, Memory: s.Limits.Memory, CPUMax: s.Limits.CPUMax,
		Began: began, Subprotocols: s.Subprotocols}
}

func (h *Head) append(b []byte) []byte {
	le := binary.LittleEndian
	for _, s := range [...]string{h.Name, h.Release, string(h.Carrier)} {
		s = s[:min(len(s), 4096)]
		b = append(le.AppendUint16(b, uint16(len(s))), s...)
	}
	b = append(append(b, h.Digest[:]...), h.Seed[:]...)
	b = le.AppendUint64(b, h.Memory)
	b = le.AppendUint64(b, uint64(h.CPUMax))
	b = le.AppendUint64(b, uint64(h.Began.UnixNano()))
	b = le.AppendUint32(b, h.Part)
	b = le.AppendUint16(b, uint16(len(h.Subprotocols)))
	for _, p := range h.Subprotocols {
		required := byte(0)
		if p.Required {
			required = 1
		}
		b = le.AppendUint16(b, uint16(p.ID))
		b = append(b, p.Version.Major, p.Version.Minor, p.MinPeer.Major, p.MinPeer.Minor, required)
	}
	return b
}

// parseHead is the inverse of append, strictly.
func parseHead(b []byte) (h Head, err error) {
	le := binary.LittleEndian
	bad := false
	take := func(n int) []byte {
		if len(b) < n {
			bad = true
			return make([]byte, n)
		}
		out := b[:n]
		b = b[n:]
		return out
	}
	var text [3]string
	for i := range text {
		n := int(le.Uint16(take(2)))
		if bad || n > 4096 {
			return h, corrupt("its head is malformed")
		}
		text[i] = string(take(n))
	}
	h.Name, h.Release, h.Carrier = text[0], text[1], Kind(text[2])
	copy(h.Digest[:], take(32))
	copy(h.Seed[:], take(32))
	h.Memory = le.Uint64(take(8))
	h.CPUMax = time.Duration(le.Uint64(take(8)))
	h.Began = time.Unix(0, int64(le.Uint64(take(8))))
	h.Part = le.Uint32(take(4))
	n := int(le.Uint16(take(2)))
	if bad || len(b) != 7*n {
		return h, corrupt("its head is malformed")
	}
	for range n {
		p := take(7)
		if p[6] > 1 {
			return h, corrupt("its head is malformed")
		}
		h.Subprotocols = append(h.Subprotocols, sdk.Subprotocol{ID: sdk.ID(le.Uint16(p)), Version: sdk.Version{Major: p[2], Minor: p[3]},
			MinPeer: sdk.Version{Major: p[4], Minor: p[5]}, Required: p[6] == 1})
	}
	return h, nil
}

// Step is one batch of a record, and what came of it.
type Step struct {
	Seq     uint64
	Events  []byte
	Effects []byte // nil: none
	Died    Cause  // not 0: the instance did not survive the batch
	Text    string // how it died
	Missing bool   // the host did not live to see the answer (R3.2)
}

// RecordReader reads a record. It believes nothing: a fault is told where it is.
type RecordReader struct {
	r        *bufio.Reader
	Head     Head
	Snapshot []byte // what the instance is restored from; nil: the life begins here
	End      byte   // the reason, once Next gave io.EOF (R2.3)

	last    uint64 // sequence of the last batch
	any     bool   // there was one
	died    bool
	pending RecordKind // a frame that was read too early
	body    []byte
}

// NewRecordReader reads the head of a record, and the snapshot if there is one.
func NewRecordReader(r io.Reader) (*RecordReader, error) {
	rr := &RecordReader{r: bufio.NewReaderSize(r, 1<<16)}
	var magic [len(recordMagic)]byte
	if _, err := io.ReadFull(rr.r, magic[:]); err != nil || string(magic[:]) != recordMagic {
		return nil, corrupt("it does not begin like a record of nethost (%q)", recordMagic)
	}
	k, b, err := rr.frame()
	if err != nil {
		return nil, err
	}
	if k != RecordHead {
		return nil, corrupt("it begins with a frame of kind %d, want a head", k)
	}
	if rr.Head, err = parseHead(b); err != nil {
		return nil, err
	}
	if k, b, err = rr.frame(); errors.Is(err, ErrRecordCut) {
		return rr, nil // Next says so
	} else if err != nil {
		return nil, err
	}
	if k == RecordSnapshot {
		rr.Snapshot = b
	} else {
		rr.pending, rr.body = k, b
	}
	return rr, nil
}

// frame reads one frame.
func (rr *RecordReader) frame() (RecordKind, []byte, error) {
	if k := rr.pending; k != 0 {
		rr.pending = 0
		return k, rr.body, nil
	}
	var head [recordFrame]byte
	if _, err := io.ReadFull(rr.r, head[:]); err != nil {
		return 0, nil, rr.short(err)
	}
	k, n := RecordKind(head[0]), binary.LittleEndian.Uint32(head[4:])
	if head[1]|head[2]|head[3] != 0 {
		return 0, nil, corrupt("a frame has no zeros where they belong")
	}
	if limit := recordLimit(k); limit < 0 || int64(n) > int64(limit) {
		return 0, nil, corrupt("a frame of kind %d with %d bytes", k, n)
	}
	var body []byte
	for left := int(n) + 4; left > 0; { // memory follows what is there, not what is claimed
		step := min(left, 1<<20)
		at := len(body)
		body = append(body, make([]byte, step)...)
		if _, err := io.ReadFull(rr.r, body[at:]); err != nil {
			return 0, nil, rr.short(err)
		}
		left -= step
	}
	sum := crc32.Update(crc32.Checksum(head[:], castagnoli()), castagnoli(), body[:n])
	if binary.LittleEndian.Uint32(body[n:]) != sum {
		return 0, nil, corrupt("a frame of kind %d does not have the checksum it says", k)
	}
	return k, body[:n:n], nil
}

func (rr *RecordReader) short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrRecordCut
	}
	return err
}

// Next gives the next batch. io.EOF is an orderly end; ErrRecordCut and
// ErrRecordCorrupt are wrapped otherwise, and what came before counts.
func (rr *RecordReader) Next() (Step, error) {
	k, b, err := rr.frame()
	switch {
	case err != nil:
		return Step{}, err
	case k == RecordEnd:
		return Step{}, rr.end(b)
	case k != RecordEvents || rr.died:
		return Step{}, corrupt("a frame of kind %d stands where none can", k)
	}
	h, err := checkBatch(b, sdk.MaxBatchBytes, false)
	if err != nil {
		return Step{}, err
	}
	first := !rr.any && rr.Snapshot != nil
	if h.Seq == 0 || !first && h.Seq != rr.last+1 {
		return Step{}, corrupt("batch %d follows batch %d", h.Seq, rr.last)
	}
	s := Step{Seq: h.Seq, Events: b}
	k, b, err = rr.frame()
	switch {
	case errors.Is(err, ErrRecordCut):
		s.Missing = true
	case err != nil:
		return Step{}, err
	case k == RecordEffects && len(b) == 0:
	case k == RecordEffects:
		h, err := checkBatch(b, sdk.MaxEffectBytes, true)
		if err == nil && h.Seq != s.Seq {
			err = corrupt("effects of batch %d answer batch %d", h.Seq, s.Seq)
		}
		if err != nil {
			return Step{}, err
		}
		s.Effects = b
	case k == RecordDied && len(b) > 0 && b[0] >= byte(CauseTrap) && b[0] <= byte(CauseOther):
		s.Died, s.Text, rr.died = Cause(b[0]), string(b[1:]), true
	default:
		return Step{}, corrupt("a frame of kind %d does not answer batch %d", k, s.Seq)
	}
	rr.last, rr.any = s.Seq, true
	return s, nil
}

func (rr *RecordReader) end(b []byte) error {
	if len(b) != 1 || b[0] < EndOfLife || b[0] > EndFull {
		return corrupt("its last frame is malformed")
	}
	if _, err := rr.r.ReadByte(); !errors.Is(err, io.EOF) {
		return corrupt("bytes follow its last frame")
	}
	rr.End = b[0]
	return io.EOF
}

// checkBatch walks a batch from end to end.
func checkBatch(b []byte, limit int, effects bool) (abi.Header, error) {
	h, r, err := abi.Parse(b, limit)
	if err == nil {
		for ok := true; ok; {
			if effects {
				_, ok = r.NextEffect()
			} else {
				_, ok = r.NextEvent()
			}
		}
		err = r.Err()
	}
	if err != nil {
		return h, corrupt("%v", err)
	}
	return h, nil
}
