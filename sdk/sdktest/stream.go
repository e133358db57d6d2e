package sdktest

import (
	"slices"

	"nethost/sdk"
)

// Stream is the far end of a stream with the module: what a peer, an application
// or another module would hold.
type Stream struct {
	Ref    sdk.Ref
	Peer   sdk.Peer // 0 for an application or module
	ID     sdk.ID
	Open   sdk.Open
	Module bool // the module under test opened it to a module, not to a peer

	// Got is what the module wrote; FIN tells that it ended its side.
	Got []byte
	FIN bool
	// Credit is how many bytes the far end may still write.
	Credit uint64
	// WasReset tells that the module, or the crash of it, reset the stream.
	WasReset  bool
	ResetCode sdk.Code
	ResetText string

	h       *Harness
	granted uint64 // what the module may still write
	unacked uint64 // delivered to the module, no credit given back
	sentFIN bool
}

// OpenStream opens a stream to the module, which may write InitialCredit bytes.
// A peer of 0 means an application.
func (h *Harness) OpenStream(p sdk.Peer, id sdk.ID, o sdk.Open) *Stream {
	return h.OpenStreamCredit(p, id, o, sdk.InitialCredit)
}

// OpenStreamCredit opens a stream on which the module may write credit bytes.
func (h *Harness) OpenStreamCredit(p sdk.Peer, id sdk.ID, o sdk.Open, credit uint64) *Stream {
	h.lastRef += 2
	if o.From == 0 {
		if o.From = sdk.FromApp; p != 0 {
			o.From = sdk.FromPeer
		}
	}
	s := &Stream{Ref: h.lastRef, Peer: p, ID: id, Open: o, Credit: sdk.InitialCredit, h: h, granted: credit}
	h.streams[s.Ref] = s
	h.Queue(sdk.Event{Kind: sdk.EvStreamOpen, Ref: s.Ref, Peer: p, ID: id, Version: h.peers[p].v, Arg: credit,
		Payload: sdk.AppendOpen(nil, o)})
	return s
}

// Opened gives the streams the module opened since the last call.
func (h *Harness) Opened() []*Stream {
	s := h.opened
	h.opened = nil
	return s
}

// Call opens a stream as an application, writes request with FIN, runs the module
// and returns the stream: a unary call.
func (h *Harness) Call(id sdk.ID, method string, request []byte) *Stream {
	h.t.Helper()
	s := h.OpenStream(0, id, sdk.Open{Method: method})
	s.Write(request, true)
	h.Run()
	return s
}

// Write queues bytes for the module. It fails the test above the credit that the
// module gave: a host resets such a stream before the module sees it.
func (s *Stream) Write(b []byte, fin bool) {
	s.h.t.Helper()
	if s.WasReset {
		return
	}
	if uint64(len(b)) > s.Credit || s.sentFIN {
		s.h.t.Fatalf("sdktest: stream %d: the far end may write %d bytes (FIN sent: %v), the test wants %d", s.Ref, s.Credit, s.sentFIN, len(b))
	}
	s.Credit -= uint64(len(b))
	s.unacked += uint64(len(b))
	for part := range slices.Chunk(b, sdk.MaxStreamData) {
		b = b[len(part):]
		var flags uint16
		if fin && len(b) == 0 {
			flags, s.sentFIN = sdk.FlagFIN, true
		}
		s.h.Queue(sdk.Event{Kind: sdk.EvStreamData, Ref: s.Ref, Flags: flags, Payload: part})
	}
	if fin && !s.sentFIN {
		s.sentFIN = true
		s.h.Queue(sdk.Event{Kind: sdk.EvStreamData, Ref: s.Ref, Flags: sdk.FlagFIN})
	}
}

// Grant lets the module write n more bytes.
func (s *Stream) Grant(n uint64) {
	s.granted += n
	s.h.Queue(sdk.Event{Kind: sdk.EvStreamCredit, Ref: s.Ref, Arg: n})
}

// Reset abandons the stream from the far end.
func (s *Stream) Reset(c sdk.Code, text string) {
	if s.WasReset {
		return
	}
	s.WasReset, s.ResetCode, s.ResetText = true, c, text
	delete(s.h.streams, s.Ref)
	s.h.Queue(sdk.Event{Kind: sdk.EvStreamReset, Ref: s.Ref, Arg: uint64(c), Payload: []byte(text)})
}

func (s *Stream) written(f sdk.Effect) {
	t := s.h.t
	t.Helper()
	n := uint64(len(f.Payload))
	switch {
	case s.FIN:
		t.Fatalf("sdktest: stream %d: the module writes after its FIN", s.Ref)
	case n > s.granted:
		t.Fatalf("sdktest: stream %d: the module writes %d bytes, its credit is %d", s.Ref, n, s.granted)
	case n > sdk.MaxStreamData:
		t.Fatalf("sdktest: stream %d: one write of %d bytes, the limit is %d", s.Ref, n, sdk.MaxStreamData)
	}
	s.granted -= n
	s.Got = append(s.Got, f.Payload...)
	s.FIN = f.Flags&sdk.FlagFIN != 0
	if s.FIN && s.sentFIN {
		delete(s.h.streams, s.Ref)
	}
}
