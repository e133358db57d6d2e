package wire_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"nethost/host/wire"
)

// W8.2: the bytes of an answer.
func TestInviteAnswer(t *testing.T) {
	for want, a := range map[string]wire.InviteAnswer{
		"0f000900000000000000000000000000000000000000000000000000000000000000": {Key: [32]byte{9}},
		"0f03": {Status: wire.InviteRevoked},
	} {
		b := wire.AppendInviteAnswer(nil, a)
		if hex.EncodeToString(b) != want {
			t.Errorf("%v: %x", a.Status, b)
		}
		if got, ok := wire.ParseInviteAnswer(b[1:]); !ok || got != a {
			t.Errorf("%x reads as %v, %v", b, got, ok)
		}
		for i := range b[1:] {
			if _, ok := wire.ParseInviteAnswer(b[1 : 1+i]); ok {
				t.Errorf("%x cut at %d: accepted", b, i)
			}
		}
	}
}

func FuzzParseInviteAnswer(f *testing.F) {
	f.Add(wire.AppendInviteAnswer(nil, wire.InviteAnswer{Key: [32]byte{9}})[1:])
	f.Add([]byte{3})
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, ok := wire.ParseInviteAnswer(b); ok && !bytes.Equal(wire.AppendInviteAnswer(nil, a)[1:], b) {
			t.Fatalf("%x does not write back", b)
		}
	})
}
