package wire

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"nethost/sdk"
)

func TestHopStrict(t *testing.T) {
	forward := AppendHop(nil, Hop{Version: 1, Type: TypeForward, TTL: 5, Dest: 9})
	with := func(b []byte, at int, v byte) []byte { b = bytes.Clone(b); b[at] = v; return b }
	for name, b := range map[string][]byte{
		"W2.1 type 2":          {1<<6 | 2<<3, 0},
		"W2.1 type 7":          with(forward, 0, 1<<6|7<<3),
		"W2.2 version 0":       with(forward, 0, TypeForward<<3),
		"W2.2 version 2":       {2 << 6, 0},
		"W2.3 byte 1 of local": {1 << 6, 1},
		"W2.4 reserved bit":    with(forward, 1, 0x80|5),
		"empty":                {},
		"local of one byte":    {1 << 6},
	} {
		if _, rest, ok := ParseHop(b); ok || rest != nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if h, _, ok := ParseHop([]byte{3 << 6, 1}); ok || h.Version != 3 { // W2.2
		t.Errorf("version 3: got %d, ok %v", h.Version, ok)
	}
	for class := range uint8(MaxClass + 1) { // W2.5
		h, rest, ok := ParseHop(append(AppendHop(nil, Hop{Version: 1, Type: TypeForward, Class: class}), 'x'))
		if !ok || h.Class != class || string(rest) != "x" {
			t.Errorf("class %d: got %+v", class, h)
		}
	}
}

// W2.5: a relay rewrites the frame in place and the rest stays.
func TestHopRewrite(t *testing.T) {
	b := append(AppendHop(nil, Hop{Version: 1, Type: TypeForward, Class: 1, TTL: 9, Dest: 77}), "body"...)
	h, _, _ := ParseHop(b)
	h.TTL--
	h.Congested = true
	AppendHop(b[:0], h)
	got, rest, ok := ParseHop(b)
	if !ok || got != h || string(rest) != "body" {
		t.Errorf("got %+v %q, want %+v", got, rest, h)
	}
}

func TestFrameStrict(t *testing.T) {
	frame := func(id sdk.ID, flags byte, rest ...byte) []byte {
		return append(append(binary.LittleEndian.AppendUint16(nil, uint16(id)), flags), rest...)
	}
	for name, b := range map[string][]byte{
		"W1.3 long varint":            frame(7, FlagStream, 0x81, 0x00, 0, 0, 0),
		"W1.3 varint above 2^62-1":    frame(7, FlagStream, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x40, 0, 0, 0),
		"W5.1 offset missing":         frame(7, FlagStream, 1, 0, 0),
		"W5.2 stream and fragment":    frame(7, FlagFragment|FlagStream, 1, 0, 9, 1, 0, 'x'),
		"W5.3 FIN of a fragment":      frame(7, FlagFragment|FlagFIN, 1, 0, 9, 1, 0, 'x'),
		"W5.5 core fragment":          frame(1, FlagFragment, 1, 0, 9, 1, 0, 'x'),
		"W5.9 message 0":              frame(7, FlagFragment, 0, 0, 9, 1, 0, 'x'),
		"W5.10 total above 65536":     frame(7, FlagFragment, 1, 0, 0x81, 0x80, 4, 1, 0, 'x'),
		"W5.10 above the total":       frame(7, FlagFragment, 1, 8, 9, 2, 0, 'x', 'y'),
		"W5.10 offset above it":       frame(7, FlagFragment, 1, 9, 9, 1, 0, 'x'),
		"W5.10 offset far above it":   append(binary.AppendUvarint(frame(7, FlagFragment, 1), MaxVarint), 9, 1, 0, 'x'),
		"W5.10 empty":                 frame(7, FlagFragment, 1, 0, 9, 0, 0),
		"W5.10 empty of nothing":      frame(7, FlagFragment, 1, 0, 0, 0, 0),
		"W5.10 the whole":             frame(7, FlagFragment, 1, 0, 1, 1, 0, 'x'),
		"W5.1 total missing":          frame(7, FlagFragment, 1, 0),
		"W1.3 long total":             frame(7, FlagFragment, 1, 0, 0x89, 0, 1, 0, 'x'),
		"W5.3 stream without flag":    frame(7, 0, 1, 0, 0),
		"W5.3 flag without stream":    frame(7, FlagStream, 0, 0, 0, 0),
		"W5.3 FIN of a message":       frame(7, FlagFIN, 0, 0, 0),
		"W5.4 offset overflow":        append(AppendFrame(nil, Frame{ID: 7, Flags: FlagStream, Stream: 1, Offset: MaxVarint})[:13], 1, 0, 'x'),
		"W5.5 core stream":            frame(1, FlagStream, 1, 0, 0, 0),
		"W5.6 padding with flags":     frame(1, 1, 0, 0, 0),
		"W5.6 padding not zero":       frame(1, 0, 0, 0, 0, 0, 1),
		"payload longer than packet":  frame(7, 0, 0, 2, 0, 'x'),
		"length of one byte":          frame(7, 0, 0, 1),
		"W1.3 varint never ends":      frame(7, FlagStream, bytes.Repeat([]byte{0xff}, 20)...),
		"W1.3 offset is a long one":   frame(7, FlagStream, 1, 0x80, 0, 0, 0),
		"W1.3 varint cut by the end ": frame(7, FlagStream, 0x80),
	} {
		if f, rest, ok := ParseFrame(b); ok || rest != nil || f.Payload != nil {
			t.Errorf("%s: accepted as %+v", name, f)
		}
	}
	if n := len(AppendPadding(nil, MinPadding-1)); n != 0 {
		t.Errorf("padding of 5 bytes gave %d", n)
	}
	defer func() {
		if recover() == nil {
			t.Error("a payload of 65536 bytes did not panic")
		}
	}()
	AppendFrame(nil, Frame{ID: 7, Payload: make([]byte, 1<<16)})
}

// W5: frames back to back, then padding; FrameOverhead is exact.
func TestFramesProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want []Frame
		var b []byte
		for range rapid.IntRange(0, 8).Draw(t, "frames") {
			f := Frame{ID: sdk.ID(rapid.Uint16Range(2, 0xffff).Draw(t, "id")), Flags: rapid.Byte().Draw(t, "flags") & 0x1f,
				Payload: rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "payload")}
			overhead := FrameOverhead(0, 0, false)
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 1:
				f.Flags |= FlagStream
				f.Stream = rapid.Uint64Range(1, MaxVarint).Draw(t, "id")
				f.Offset = rapid.Uint64Range(0, MaxVarint-100).Draw(t, "offset")
				overhead = FrameOverhead(f.Stream, f.Offset, true)
			case 2:
				f.Flags |= FlagFragment
				f.Payload = append(f.Payload, 'x')
				f.Stream = rapid.Uint64Range(1, MaxVarint).Draw(t, "number")
				f.Total = rapid.Uint32Range(uint32(len(f.Payload))+1, MaxMessage).Draw(t, "total")
				f.Offset = rapid.Uint64Range(0, uint64(f.Total)-uint64(len(f.Payload))).Draw(t, "offset")
				overhead = FragmentOverhead(f.Stream, f.Offset, int(f.Total))
			}
			n := len(b)
			b = AppendFrame(b, f)
			if got := len(b) - n - len(f.Payload); got != overhead {
				t.Fatalf("overhead %d, want %d", overhead, got)
			}
			want = append(want, f)
		}
		b = AppendPadding(b, rapid.IntRange(0, 20).Draw(t, "padding"))
		for _, w := range want {
			f, rest, ok := ParseFrame(b)
			if !ok || f.ID != w.ID || f.Flags != w.Flags || f.Stream != w.Stream || f.Offset != w.Offset || f.Total != w.Total || !bytes.Equal(f.Payload, w.Payload) {
				t.Fatalf("got %+v %v, want %+v", f, ok, w)
			}
			b = rest
		}
		if len(b) > 0 {
			if f, rest, ok := ParseFrame(b); !ok || !f.IsPadding() || len(rest) != 0 {
				t.Fatalf("padding: got %+v %v", f, ok)
			}
		}
	})
}

// W6.2.2: ranges as sets come back as they were.
func TestAckProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		points := rapid.SliceOfNDistinct(rapid.Uint64Range(0, 200), 1, 100, rapid.ID[uint64]).Draw(t, "counters")
		base := rapid.SampledFrom([]uint64{0, 1, 1 << 31, MaxVarint - 200}).Draw(t, "base")
		slices.Sort(points)
		var a, got Ack
		for i := len(points) - 1; i >= 0 && a.N < MaxRanges; i-- {
			n := base + points[i]
			if a.N > 0 && a.Ranges[a.N-1].First == n+1 {
				a.Ranges[a.N-1].First = n
			} else {
				a.Ranges[a.N] = Range{n, n}
				a.N++
			}
		}
		b := AppendAck(nil, &a)
		if !ParseAck(b[1:], &got) || got != a {
			t.Fatalf("got %+v, want %+v", got, a)
		}
	})
}

func TestAckAppendLeavesOutDisorder(t *testing.T) {
	a := Ack{N: 3, Ranges: [MaxRanges]Range{{5, 9}, {4, 4}, {0, 1}}}
	var got Ack
	if b := AppendAck(nil, &a); !ParseAck(b[1:], &got) || got.N != 1 {
		t.Errorf("touching ranges: got %d", got.N)
	}
	for _, a := range []Ack{{}, {N: 1, Ranges: [MaxRanges]Range{{2, 1}}}, {N: -1}} {
		if b := AppendAck(nil, &a); len(b) != 0 {
			t.Errorf("%v: appended %x", a.N, b)
		}
	}
	if b := AppendUnsupported(nil, Unsupported{}); len(b) != 0 {
		t.Errorf("unsupported without ids: %x", b)
	}
}

func TestCoreStrict(t *testing.T) {
	wave := AppendWave(nil, Wave{Hops: MaxTTL})
	wave[1+132]++
	request := AppendSeqRequest(nil, SeqRequest{TTL: MaxTTL})
	request[1+48]++
	long := append([]byte{MsgReset, 1, 0, 0, 0, 0, MaxResetText + 1}, make([]byte, MaxResetText+1)...)
	for name, b := range map[string][]byte{
		"W6.13 no marks":       {MsgMarkedAck, 0, 0, 0, 0, 0, 0, 1, 5, 0},
		"W6.13 no ack":         {MsgMarkedAck, 1},
		"W6.13 no range":       {MsgMarkedAck, 1, 0, 0, 0, 0, 0, 0, 5, 0},
		"W6.2 no range":        {MsgAck, 0, 0, 0, 0, 0, 0, 5, 0},
		"W6.2 33 ranges":       append([]byte{MsgAck, 0, 0, 0, 0, 0, 33, 100, 0}, make([]byte, 64)...),
		"W6.2 delay":           {MsgAck, 0, 0, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x10, 1, 5, 0},
		"W6.2.2 below 0":       {MsgAck, 0, 0, 0, 0, 0, 1, 5, 6},
		"W6.2.2 gap below 0":   {MsgAck, 0, 0, 0, 0, 0, 2, 5, 4, 0, 0},
		"W6.2.2 second below":  {MsgAck, 0, 0, 0, 0, 0, 2, 5, 0, 0, 4},
		"W6.3 stream 0":        {MsgCredit, 0, 5},
		"W6.4 stream 0":        {MsgReset, 0, 0, 0, 0, 0, 0},
		"W6.4 long text":       long,
		"W6.6 hops 64":         wave,
		"W6.8 ttl 64":          request,
		"W6.9 none":            {MsgUnsupported, 0},
		"W6.9 seventeen":       append([]byte{MsgUnsupported, 17}, make([]byte, 34)...),
		"W6.9 fewer than said": {MsgUnsupported, 2, 0, 0},
	} {
		if again, ok := reparseCore(b); ok {
			t.Errorf("%s: accepted as %x", name, again)
		}
	}
	r, ok := ParseReset(AppendReset(nil, Reset{1, 2, make([]byte, 1000)})[1:]) // W6.4
	if !ok || len(r.Text) != MaxResetText {
		t.Errorf("long reset text: %d bytes, ok %v", len(r.Text), ok)
	}
}

// W6.6.1
func TestWaveSigned(t *testing.T) {
	w := Wave{Origin: sdk.NodeID{1}, Incarnation: 2, Seq: 3, Digest: [16]byte{4}}
	a := WaveSigned(nil, &w)
	w.Metric, w.Hops, w.MTU, w.Sig = 9, 9, 9, [64]byte{9}
	if b := WaveSigned(nil, &w); len(a) != 64 || !bytes.Equal(a, b) {
		t.Errorf("%x and %x", a, b)
	}
}

// W3.1, W3.2, W4.1, W4.2
func TestSessionOrHandshake(t *testing.T) {
	b := make([]byte, SessionSize+TagSize)
	if _, _, _, ok := ParseSession(b); ok || !IsHandshake(b) {
		t.Error("index 0 read as a session packet")
	}
	b[0] = 1
	index, counter, sealed, ok := ParseSession(b)
	if !ok || IsHandshake(b) || index != 1 || counter != 0 || len(sealed) != TagSize {
		t.Error("the shortest session packet was refused")
	}
	if _, _, _, ok := ParseSession(b[:len(b)-1]); ok {
		t.Error("27 bytes read as a session packet")
	}
	if IsHandshake([]byte{0, 0, 0}) {
		t.Error("three bytes read as a handshake")
	}
	e := AppendEnvelope(nil, Envelope{Kind: KindVersion, Version: 9})
	if got, ok := ParseEnvelope(e); !ok || got.Version != 9 {
		t.Error("another version's envelope was refused")
	}
	for _, kind := range []byte{0, 6, 255} {
		if e[4] = kind; true {
			if _, ok := ParseEnvelope(e); ok {
				t.Errorf("kind %d accepted", kind)
			}
		}
	}
}

func TestNoAllocations(t *testing.T) {
	hop := append(AppendHop(nil, Hop{Version: 1, Type: TypeForward}), make([]byte, 100)...)
	frame := AppendFrame(nil, Frame{ID: 7, Flags: FlagStream, Stream: 300, Offset: 1 << 20, Payload: make([]byte, 100)})
	a := Ack{N: 2, Ranges: [MaxRanges]Range{{9, 9}, {1, 2}}}
	var got Ack
	ack := AppendAck(nil, &a)
	buf := make([]byte, 0, 2048)
	if n := testing.AllocsPerRun(100, func() {
		h, _, _ := ParseHop(hop)
		AppendHop(hop[:0], h)
		f, _, _ := ParseFrame(frame)
		AppendFrame(buf, f)
		ParseAck(ack[1:], &got)
		AppendAck(buf, &got)
		ParseSession(hop)
		AppendWave(buf, Wave{})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkHop(b *testing.B) {
	hop := append(AppendHop(nil, Hop{Version: 1, Type: TypeForward, TTL: 9}), make([]byte, 100)...)
	for b.Loop() {
		h, _, _ := ParseHop(hop)
		AppendHop(hop[:0], h)
	}
}

func BenchmarkFrame(b *testing.B) {
	frame := AppendFrame(nil, Frame{ID: 7, Flags: FlagStream, Stream: 300, Offset: 1 << 20, Payload: make([]byte, 1000)})
	for b.Loop() {
		ParseFrame(frame)
	}
}

func TestSetTTL(t *testing.T) {
	for _, congested := range []bool{false, true} {
		h := Hop{Version: Version, Type: TypeForward, Class: 3, TTL: 63, Congested: congested, LinkIndex: 7, LinkCounter: 8, Dest: 9}
		b := AppendHop(nil, h)
		SetTTL(b, 62)
		h.TTL = 62
		if got, _, ok := ParseHop(b); !ok || got != h {
			t.Errorf("%+v, want %+v", got, h)
		}
	}
}
