package wire

import (
	"encoding/binary"

	"nethost/sdk"
)

// Sizes of routing messages, in bytes without the kind byte.
const (
	waveSize       = 135
	retractSize    = 40
	seqRequestSize = 49
)

// Wave is an origin's signed statement that it lives, and what the path to it
// costs from the sender (W6.6). The signature covers the first four fields; the
// others change at every hop and are trusted as far as the neighbour is.
type Wave struct {
	Origin           sdk.NodeID
	Incarnation, Seq uint64
	Digest           [16]byte // of the origin's capabilities
	Sig              [64]byte
	Metric           uint32 // microseconds; 2^32-1 is infinity
	Hops             uint8  // at most MaxTTL
	MTU              uint16 // UDP payload the path carries
}

// WaveSize is the length of what AppendWave appends, in bytes.
const WaveSize = 1 + waveSize

// AppendWave appends w with its kind byte.
func AppendWave(b []byte, w Wave) []byte {
	b = WaveSigned(append(b, MsgWave), &w)
	b = append(b, w.Sig[:]...)
	b = binary.LittleEndian.AppendUint32(b, w.Metric)
	b = append(b, w.Hops)
	return binary.LittleEndian.AppendUint16(b, w.MTU)
}

// ParseWave reads the body of a Wave.
func ParseWave(body []byte) (w Wave, ok bool) {
	if len(body) != waveSize || body[132] > MaxTTL {
		return w, false
	}
	w.Origin = sdk.NodeID(body[:32])
	w.Incarnation = binary.LittleEndian.Uint64(body[32:])
	w.Seq = binary.LittleEndian.Uint64(body[40:])
	w.Digest = [16]byte(body[48:])
	w.Sig = [64]byte(body[64:])
	w.Metric = binary.LittleEndian.Uint32(body[128:])
	w.Hops = body[132]
	w.MTU = binary.LittleEndian.Uint16(body[133:])
	return w, true
}

// WaveSigned appends the 64 bytes that the origin signs: Origin, Incarnation,
// Seq, Digest.
func WaveSigned(b []byte, w *Wave) []byte {
	b = append(b, w.Origin[:]...)
	b = binary.LittleEndian.AppendUint64(b, w.Incarnation)
	b = binary.LittleEndian.AppendUint64(b, w.Seq)
	return append(b, w.Digest[:]...)
}

// Retract says that the sender has no route to the origin any more (W6.7).
type Retract struct {
	Origin      sdk.NodeID
	Incarnation uint64
}

// AppendRetract appends r with its kind byte.
func AppendRetract(b []byte, r Retract) []byte {
	return binary.LittleEndian.AppendUint64(append(append(b, MsgRetract), r.Origin[:]...), r.Incarnation)
}

// ParseRetract reads the body of a Retract.
func ParseRetract(body []byte) (r Retract, ok bool) {
	if len(body) != retractSize {
		return r, false
	}
	return Retract{sdk.NodeID(body[:32]), binary.LittleEndian.Uint64(body[32:])}, true
}

// SeqRequest asks the origin for a wave at least as new as Seq (W6.8).
type SeqRequest struct {
	Origin           sdk.NodeID
	Incarnation, Seq uint64
	TTL              uint8 // at most MaxTTL
}

// AppendSeqRequest appends r with its kind byte.
func AppendSeqRequest(b []byte, r SeqRequest) []byte {
	b = append(append(b, MsgSeqRequest), r.Origin[:]...)
	b = binary.LittleEndian.AppendUint64(b, r.Incarnation)
	b = binary.LittleEndian.AppendUint64(b, r.Seq)
	return append(b, r.TTL)
}

// ParseSeqRequest reads the body of a SeqRequest.
func ParseSeqRequest(body []byte) (r SeqRequest, ok bool) {
	if len(body) != seqRequestSize || body[48] > MaxTTL {
		return r, false
	}
	return SeqRequest{sdk.NodeID(body[:32]), binary.LittleEndian.Uint64(body[32:]),
		binary.LittleEndian.Uint64(body[40:]), body[48]}, true
}
