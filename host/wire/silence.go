package wire

// MsgSilence says to a peer that nothing it sent came lately (W6.20).
const MsgSilence = 20

// AppendSilence appends the message: its kind byte is all there is.
func AppendSilence(b []byte) []byte { return append(b, MsgSilence) }

// ParseSilence reads the body of a silence.
func ParseSilence(body []byte) bool { return len(body) == 0 }
