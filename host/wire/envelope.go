package wire

import "encoding/binary"

// Kinds of handshake envelope (W4.2).
const (
	KindM1      = 1
	KindM2      = 2
	KindM3      = 3
	KindCookie  = 4
	KindVersion = 5
)

// Sizes of an envelope, in bytes.
const (
	EnvelopeHead = 30 // before the noise bytes
	MacSize      = 16 // of mac1 and of mac2
	EnvelopeMin  = EnvelopeHead + 2*MacSize
)

// Envelope is a handshake message (W4). Its head is the same in every version,
// so that a node can answer one it does not speak.
type Envelope struct {
	Kind, Version uint8
	PSK           uint64 // which pre-shared key; 0 = the network key
	Sender        uint32 // the sender's session index
	Receiver      uint32 // the receiver's session index, 0 in m1
	Dest          RID    // 0 = unknown
	Noise         []byte
	Mac1, Mac2    [MacSize]byte
}

// ParseEnvelope reads a whole envelope. It accepts any version; e.Noise aliases
// b.
func ParseEnvelope(b []byte) (e Envelope, ok bool) {
	if len(b) < EnvelopeMin || !IsHandshake(b) || b[4] < KindM1 || b[4] > KindVersion {
		return e, false
	}
	e.Kind, e.Version = b[4], b[5]
	e.PSK = binary.LittleEndian.Uint64(b[6:])
	e.Sender = binary.LittleEndian.Uint32(b[14:])
	e.Receiver = binary.LittleEndian.Uint32(b[18:])
	e.Dest = RID(binary.LittleEndian.Uint64(b[22:]))
	end := len(b) - 2*MacSize
	e.Noise = b[EnvelopeHead:end:end]
	e.Mac1 = [MacSize]byte(b[end:])
	e.Mac2 = [MacSize]byte(b[end+MacSize:])
	return e, true
}

// AppendEnvelope appends e.
func AppendEnvelope(b []byte, e Envelope) []byte {
	b = append(b, 0, 0, 0, 0, e.Kind, e.Version)
	b = binary.LittleEndian.AppendUint64(b, e.PSK)
	b = binary.LittleEndian.AppendUint32(b, e.Sender)
	b = binary.LittleEndian.AppendUint32(b, e.Receiver)
	b = binary.LittleEndian.AppendUint64(b, uint64(e.Dest))
	b = append(b, e.Noise...)
	b = append(b, e.Mac1[:]...)
	return append(b, e.Mac2[:]...)
}
