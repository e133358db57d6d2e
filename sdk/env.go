package sdk

import (
	"time"

	"nethost/sdk/internal/record"
)

// Env is what a module writes its effects into. Reads are local (the batch's
// time); everything else is write-only and answered by a later event.
//
// A carrier owns the Env and reuses it between batches: a module must not keep
// it past Handle. It is not safe for concurrent use.
type Env struct {
	out     *record.Writer
	now     time.Duration
	wall    int64
	lastRef Ref
	work    []Work
	full    map[waiting]struct{} // queues of the host; nil: none was ever full
}

// Work is a slow function a module asked to have run off the loop.
type Work struct {
	Ref Ref
	Do  func() []byte
}

// NewEnv returns an Env whose effects go into out: Records of an abi.Writer, which
// the caller resets for each batch. Carriers and tests call it.
func NewEnv(out *record.Writer) *Env { return &Env{out: out} }

// Begin sets the time of the next batch: now is monotonic since an origin the
// host keeps for the instance's life, wall is Unix nanoseconds or 0 when the
// module has no wall grant. Carriers call it before each batch.
func (e *Env) Begin(now time.Duration, wall int64) { e.now, e.wall = now, wall }

// HasWork reports that TakeWork would give something.
func (e *Env) HasWork() bool { return len(e.work) > 0 }

// TakeWork hands over what Work collected. Carriers call it after each batch.
func (e *Env) TakeWork() []Work {
	w := e.work
	e.work = nil
	return w
}

// Now is the batch's monotonic time since an arbitrary origin. It does not
// advance within a batch.
func (e *Env) Now() time.Duration { return e.now }

// Wall is the batch's wall-clock time; the zero time without the wall grant.
func (e *Env) Wall() time.Time {
	if e.wall == 0 {
		return time.Time{}
	}
	return time.Unix(0, e.wall)
}

// NewRef gives a fresh odd reference.
func (e *Env) NewRef() Ref {
	if e.lastRef == 0 {
		e.lastRef = 1
	} else {
		e.lastRef += 2
	}
	return e.lastRef
}

// Emit writes a raw effect. The methods below are shorthands for it. Payloads are
// copied before they return.
func (e *Env) Emit(f Effect) {
	e.out.Put(uint64(f.Kind)|uint64(f.Flags)<<16,
		uint64(f.Peer)|uint64(f.ID)<<32|uint64(f.Version.Major)<<48|uint64(f.Version.Minor)<<56,
		uint64(f.Ref), f.Arg, f.Payload)
}

// Send sends a datagram message of at most MaxMessage bytes. It may be lost; one
// that does not fit a packet (about 1100 bytes always do) is lost with any of its
// fragments.
func (e *Env) Send(p Peer, id ID, c Class, b []byte) {
	// Bulk is 1 and FlagBulk bit 1: without a branch it is inlined.
	e.out.Put(uint64(OpSend)|uint64(c&Bulk)<<17, uint64(p)|uint64(id)<<32, 0, 0, b)
}

// SendMany sends one message to many peers.
func (e *Env) SendMany(id ID, c Class, peers []Peer, b []byte) {
	e.Emit(Effect{Kind: OpSendMany, ID: id, Flags: classFlag(c), Payload: AppendSendMany(nil, peers, b)})
}

// Connect asks for a session with a node. The answer is PeerUp, or
// ConnectFailed with ref.
func (e *Env) Connect(ref Ref, n NodeID) {
	e.Emit(Effect{Kind: OpConnect, Ref: ref, Payload: n[:]})
}

// OpenPeer opens a stream to a peer's module that answers to id. InitialCredit
// bytes may be written at once; StreamCredit events raise that.
func (e *Env) OpenPeer(p Peer, id ID, o Open) Ref {
	ref := e.NewRef()
	e.Emit(Effect{Kind: OpStreamOpen, Ref: ref, Peer: p, ID: id, Payload: AppendOpen(nil, o)})
	return ref
}

// OpenModule opens a stream to the module on this node that answers to id. It
// needs the grant call.
func (e *Env) OpenModule(id ID, o Open) Ref {
	ref := e.NewRef()
	e.Emit(Effect{Kind: OpStreamOpen, Ref: ref, ID: id, Flags: FlagModule, Payload: AppendOpen(nil, o)})
	return ref
}

// Write writes stream bytes; fin ends our side. Writing above credit resets the
// stream with FlowControl. At most MaxStreamData bytes go into one effect; Write
// splits.
func (e *Env) Write(ref Ref, b []byte, fin bool) {
	for len(b) > MaxStreamData {
		e.onStream(OpStreamWrite, 0, ref, 0, b[:MaxStreamData])
		b = b[MaxStreamData:]
	}
	var flags uint16
	if fin {
		flags = FlagFIN
	}
	e.onStream(OpStreamWrite, flags, ref, 0, b)
}

// Credit tells the far end that n bytes were consumed, so that it may write as
// many more. Call it when the bytes are done with, not when they arrive.
func (e *Env) Credit(ref Ref, n int) {
	e.onStream(OpStreamCredit, 0, ref, uint64(n), nil)
}

// Reset abandons a stream in both directions.
func (e *Env) Reset(ref Ref, c Code, text string) {
	e.Emit(Effect{Kind: OpStreamReset, Ref: ref, Arg: uint64(c), Payload: []byte(text)})
}

// After arms the timer ref, replacing an earlier one of that ref. Timers shorter
// than MinTimer are raised to it.
func (e *Env) After(ref Ref, d time.Duration) {
	e.Emit(Effect{Kind: OpTimer, Ref: ref, Arg: uint64(max(d, MinTimer))})
}

// CancelTimer disarms the timer ref.
func (e *Env) CancelTimer(ref Ref) { e.Emit(Effect{Kind: OpTimer, Ref: ref}) }

// Put stores a state entry, committed with the batch. It needs the grant state.
func (e *Env) Put(key, val []byte) {
	e.Emit(Effect{Kind: OpStatePut, Payload: AppendStateEntry(nil, key, val)})
}

// Delete removes a state entry.
func (e *Env) Delete(key []byte) { e.Emit(Effect{Kind: OpStateDelete, Payload: key}) }

// Commit asks for Committed{ref} once this batch is on disk.
func (e *Env) Commit(ref Ref) { e.Emit(Effect{Kind: OpCommit, Ref: ref}) }

// Post sends bytes to ourselves; they come back as Posted{ref}.
func (e *Env) Post(ref Ref, b []byte) { e.Emit(Effect{Kind: OpPost, Ref: ref, Payload: b}) }

// Work runs do off the loop (builtin, process: a bounded pool; wasm: after
// Flush) and brings its result back as Posted{ref}. do must not touch the module
// or Env.
func (e *Env) Work(ref Ref, do func() []byte) { e.work = append(e.work, Work{ref, do}) }

// Announce replaces this module's capability tags.
func (e *Env) Announce(tags []string) {
	e.Emit(Effect{Kind: OpAnnounce, Payload: AppendTags(nil, tags)})
}

// Sign asks for a signature of the node over b under this module's own domain: over
// AppendSigned of it. It needs the grant sign.
func (e *Env) Sign(ref Ref, b []byte) { e.Emit(Effect{Kind: OpSign, Ref: ref, Payload: b}) }

// Verify asks whether sig is key's signature over b, and nothing put in front of it
// (AppendSigned gives what Sign signs).
func (e *Env) Verify(ref Ref, key NodeID, sig [64]byte, b []byte) {
	p := append(append(key[:len(key):len(key)], sig[:]...), b...)
	e.Emit(Effect{Kind: OpVerify, Ref: ref, Payload: p})
}

// Log writes one line to the module's log, cut at MaxLogText bytes.
func (e *Env) Log(l LogLevel, text string) {
	e.Emit(Effect{Kind: OpLog, Arg: uint64(l), Payload: []byte(text[:min(len(text), MaxLogText)])})
}

// Count adds delta to one of the module's own counters.
func (e *Env) Count(name string, delta uint64) {
	e.Emit(Effect{Kind: OpCount, Arg: delta, Payload: []byte(name)})
}

// Penalize lowers the reputation of a peer.
func (e *Env) Penalize(p Peer, weight uint32, reason string) {
	e.Emit(Effect{Kind: OpPenalize, Peer: p, Arg: uint64(weight), Payload: []byte(reason)})
}

// Drained answers Drain: nothing is pending any more.
func (e *Env) Drained() { e.Emit(Effect{Kind: OpDrained}) }

func (e *Env) onStream(k EffectKind, flags uint16, ref Ref, arg uint64, b []byte) {
	e.out.Put(uint64(k)|uint64(flags)<<16, 0, uint64(ref), arg, b)
}

func classFlag(c Class) uint16 {
	if c == Bulk {
		return FlagBulk
	}
	return 0
}
