package wire

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"nethost/sdk"
)

var update = flag.Bool("update", false, "rewrite testdata/vectors.txt")

type vector struct {
	name  string
	bytes []byte
}

// filled gives n bytes, counting up.
func filled(from byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = from + byte(i)
	}
	return b
}

func vectors() []vector {
	node := sdk.NodeID(bytes.Repeat([]byte{0xa1}, 32))
	wave := Wave{Origin: node, Incarnation: 7, Seq: 1 << 40, Digest: [16]byte(bytes.Repeat([]byte{0xd1}, 16)),
		Sig: [64]byte(filled(0x40, 64)), Metric: 1500, Hops: 3, MTU: 1200}
	ack := Ack{Gen: 0xcafe, Delay: 1234 * time.Microsecond, N: 3, Ranges: [MaxRanges]Range{{900, 1000}, {500, 898}, {0, 0}}}
	marked := ack
	marked.Marks = 300
	return []vector{
		{"hop-local", AppendHop(nil, Hop{Version: 1, Class: 1})},
		{"hop-forward", AppendHop(nil, Hop{Version: 1, Type: TypeForward, Class: 1, TTL: 63, Congested: true,
			LinkIndex: 0x04030201, LinkCounter: 0x08070605, Dest: 0x1817161514131211, Tag: [6]byte{1, 2, 3, 4, 5, 6}})},
		{"envelope", AppendEnvelope(nil, Envelope{Kind: KindM1, Version: 1, PSK: 0x1122334455667788, Sender: 0xaabbccdd,
			Receiver: 0x01020304, Dest: 0x1817161514131211, Noise: []byte("noise"), Mac1: [16]byte(filled(0x10, 16)), Mac2: [16]byte(filled(0x80, 16))})},
		{"frame-message", AppendFrame(nil, Frame{ID: 0x1001, Flags: 3 | 1<<FrameClassShift, Payload: []byte("hello")})},
		{"frame-stream", AppendFrame(nil, Frame{ID: 7, Flags: FlagStream | FlagFIN, Stream: 300, Offset: 1 << 20, Payload: []byte("x")})},
		{"frame-fin", AppendFrame(nil, Frame{ID: 7, Flags: FlagStream | FlagFIN, Stream: 1})},
		{"frame-fragment", AppendFrame(nil, Frame{ID: 0x1001, Flags: FlagFragment | 3 | 1<<FrameClassShift, Stream: 300, Offset: 65533, Total: MaxMessage,
			Payload: []byte("end")})},
		{"frame-padding", AppendPadding(nil, 9)},
		{"core-ack", AppendAck(nil, &ack)},
		{"core-credit", AppendCredit(nil, Credit{5, 1 << 30})},
		{"core-reset", AppendReset(nil, Reset{5, sdk.Overloaded, []byte("later")})},
		{"core-ping", AppendPing(nil, Ping{0x0102030405060708})},
		{"core-wave", AppendWave(nil, wave)},
		{"core-retract", AppendRetract(nil, Retract{node, 7})},
		{"core-seqrequest", AppendSeqRequest(nil, SeqRequest{node, 7, 9, 63})},
		{"core-unsupported", AppendUnsupported(nil, Unsupported{N: 2, IDs: [MaxUnsupported]sdk.ID{0x1000, 0xffff}})},
		{"core-goodbye", AppendGoodbye(nil, Goodbye{1})},
		{"core-challenge", AppendPathChallenge(nil, PathChallenge{99})},
		{"core-response", AppendPathResponse(nil, PathChallenge{99})},
		{"core-hello", AppendHello(nil, Hello{7, 8})},
		{"core-silence", AppendSilence(nil)},
		{"core-markedack", AppendAck(nil, &marked)},
	}
}

func TestVectors(t *testing.T) {
	var b strings.Builder
	for _, v := range vectors() {
		fmt.Fprintf(&b, "%s %s\n", v.name, hex.EncodeToString(v.bytes))
	}
	const file = "testdata/vectors.txt"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != b.String() {
		t.Errorf("the bytes changed: that breaks every other node of version 1\ngot:\n%swant:\n%s", b.String(), want)
	}
}

// reparse reads b as the kind of thing name says and writes it again. ok is
// whether b was accepted.
func reparse(name string, b []byte) (again []byte, ok bool) {
	switch {
	case strings.HasPrefix(name, "hop"):
		h, rest, ok := ParseHop(b)
		return append(AppendHop(nil, h), rest...), ok
	case name == "envelope":
		e, ok := ParseEnvelope(b)
		return AppendEnvelope(nil, e), ok
	case strings.HasPrefix(name, "frame"):
		f, rest, ok := ParseFrame(b)
		if ok && f.IsPadding() {
			return AppendPadding(nil, len(b)), len(rest) == 0
		}
		return append(AppendFrame(nil, f), rest...), ok
	}
	return reparseCore(b)
}

func reparseCore(b []byte) (again []byte, ok bool) {
	if len(b) == 0 {
		return nil, false
	}
	body := b[1:]
	switch b[0] {
	case MsgAck:
		var a Ack
		ok = ParseAck(body, &a)
		return AppendAck(nil, &a), ok
	case MsgMarkedAck:
		var a Ack
		ok = ParseMarkedAck(body, &a)
		return AppendAck(nil, &a), ok
	case MsgCredit:
		m, ok := ParseCredit(body)
		return AppendCredit(nil, m), ok
	case MsgReset:
		m, ok := ParseReset(body)
		return AppendReset(nil, m), ok
	case MsgPing:
		m, ok := ParsePing(body)
		return AppendPing(nil, m), ok
	case MsgWave:
		m, ok := ParseWave(body)
		return AppendWave(nil, m), ok
	case MsgRetract:
		m, ok := ParseRetract(body)
		return AppendRetract(nil, m), ok
	case MsgSeqRequest:
		m, ok := ParseSeqRequest(body)
		return AppendSeqRequest(nil, m), ok
	case MsgUnsupported:
		m, ok := ParseUnsupported(body)
		return AppendUnsupported(nil, m), ok
	case MsgGoodbye:
		m, ok := ParseGoodbye(body)
		return AppendGoodbye(nil, m), ok
	case MsgHello:
		m, ok := ParseHello(body)
		return AppendHello(nil, m), ok
	case MsgSilence:
		return AppendSilence(nil), ParseSilence(body)
	case MsgPathChallenge:
		m, ok := ParsePathChallenge(body)
		return AppendPathChallenge(nil, m), ok
	case MsgPathResponse:
		m, ok := ParsePathResponse(body)
		return AppendPathResponse(nil, m), ok
	}
	return nil, false
}

// W1.2: one encoding for every value; a cut anywhere is refused.
func TestVectorsReparse(t *testing.T) {
	for _, v := range vectors() {
		if again, ok := reparse(v.name, v.bytes); !ok || !bytes.Equal(again, v.bytes) {
			t.Errorf("%s: ok %v, reads back as %x, want %x", v.name, ok, again, v.bytes)
		}
		for n := range len(v.bytes) {
			if v.name == "envelope" && n >= EnvelopeMin { // W4.3: mac1 finds it
				continue
			}
			if v.name == "frame-padding" && n >= MinPadding {
				continue
			}
			if _, ok := reparse(v.name, v.bytes[:n]); ok {
				t.Errorf("%s: accepted when cut to %d of %d bytes", v.name, n, len(v.bytes))
			}
		}
		if strings.HasPrefix(v.name, "core") { // W6.1
			if _, ok := reparse(v.name, append(v.bytes, 0)); ok {
				t.Errorf("%s: accepted with a byte left over", v.name)
			}
		}
	}
}

func fuzz(f *testing.F, prefix string) {
	for _, v := range vectors() {
		if strings.HasPrefix(v.name, prefix) {
			f.Add(v.bytes)
			f.Add(v.bytes[:len(v.bytes)/2])
		}
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if again, ok := reparse(prefix, b); ok && !bytes.Equal(again, b) {
			t.Errorf("%x reads back as %x", b, again)
		}
	})
}

func FuzzHop(f *testing.F)      { fuzz(f, "hop") }
func FuzzFrame(f *testing.F)    { fuzz(f, "frame") }
func FuzzEnvelope(f *testing.F) { fuzz(f, "envelope") }
func FuzzCore(f *testing.F)     { fuzz(f, "core") }

func FuzzSession(f *testing.F) {
	f.Add(bytes.Repeat([]byte{1}, SessionSize+TagSize))
	f.Add(make([]byte, 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		index, _, sealed, ok := ParseSession(b)
		if ok && (index == 0 || len(sealed) != len(b)-SessionSize || len(sealed) < TagSize) {
			t.Errorf("accepted %x", b)
		}
	})
}
