package gossip

import (
	"encoding/binary"
	"math"
	"slices"
	"time"

	"nethost/sdk"
)

const (
	// Method is the stream method of G1.1.
	Method = "sync"
	// period is how often ROOT is sent again.
	period = 60 * time.Second
	// banned is how long a peer that lied or babbled is not listened to.
	banned = 30 * time.Second
	// budget bounds what one batch writes, in bytes: effects have a limit.
	budget = 256 << 10
	// patience is how long a neighbour may take to be compared with.
	patience = 5 * time.Second
	// maxBacklog bounds what a peer may ask for and not read, in bytes, maxWanted
	// what it may make us ask for, in keys.
	maxBacklog = 8 << 20
	maxWanted  = 1 << 16
	// maxVerify bounds the signatures asked for and not answered, over all peers.
	maxVerify = 256
)

// Statement is what Config.Parse finds in a body.
type Statement struct {
	Key     Key
	Version Version
	// Signer must have made Sig over Signed.
	Signer sdk.NodeID
	Sig    [64]byte
	Signed []byte
}

// Config says what a protocol's statements are. All functions are required.
type Config struct {
	ID sdk.ID
	// MaxBody bounds a statement, in bytes.
	MaxBody int
	// Parse reads a body, whoever signed it. The error's text is told to the peer.
	Parse func(body []byte) (Statement, error)
	// Admit says whether a newer statement may come in at all, before its signature
	// is looked at: a full table says no. age is how old the sender says it is.
	Admit func(s *Statement, age time.Duration) bool
	// Accept takes a statement that was verified and is newer than what is held.
	Accept func(env *sdk.Env, s *Statement, body []byte, age time.Duration)
	// Body gives a statement to send, and its age.
	Body func(k Key, now time.Duration) (body []byte, age time.Duration)
}

// Engine is the gossip of one module. The module hands it every event.
type Engine struct {
	cfg     Config
	self    sdk.NodeID
	set     *set
	peers   map[sdk.Peer]*peer
	order   []sdk.Peer // ascending
	byRef   map[sdk.Ref]*peer
	checks  map[sdk.Ref]*check
	until   map[sdk.NodeID]time.Duration // banned peers
	timer   sdk.Ref
	pending bool // a Post is under way
	more    bool // a peer has bytes that wait for signatures
}

// check is a signature that was asked for.
type check struct {
	from *peer
	st   Statement
	body []byte
	age  time.Duration
	at   time.Duration
}

// peer is a neighbour.
type peer struct {
	handle sdk.Peer
	node   sdk.NodeID
	gone   bool
	// What we write.
	out    sdk.Ref
	credit uint64
	queue  []entry
	head   int
	bytes  int // of the frames in queue that are made already
	wanted map[Key]bool
	// What it writes.
	in       sdk.Ref
	buf      []byte
	held     int // bytes that arrived and got no credit yet
	checks   int
	want     []byte
	phase    phase
	ended    bool
	compared bool
	since    time.Duration
}

// phase is where the lower side of an exchange stands.
type phase uint8

const (
	rest    phase = iota
	listing       // BUCKETS went out: LISTs and END are to come
	wanting       // WANT went out: ITEMs and END are to come
)

// entry is a frame that waits: one that is made already, or a statement.
type entry struct {
	frame []byte
	key   Key
}

// New makes an engine.
func New(cfg Config) *Engine {
	return &Engine{cfg: cfg, set: newSet(), peers: map[sdk.Peer]*peer{}, byRef: map[sdk.Ref]*peer{}, checks: map[sdk.Ref]*check{},
		until: map[sdk.NodeID]time.Duration{}}
}

// Start begins; self is this node.
func (e *Engine) Start(env *sdk.Env, self sdk.NodeID) {
	e.self, e.timer = self, env.NewRef()
	env.After(e.timer, period)
}

// Version gives what is held of a key.
func (e *Engine) Version(k Key) (Version, bool) {
	v, ok := e.set.versions[k]
	return v, ok
}

// Len is the number of statements held; Peers that of neighbours.
func (e *Engine) Len() int { return len(e.set.versions) }

// Peers is the number of neighbours.
func (e *Engine) Peers() int { return len(e.peers) }

// Root is the digest of what is held.
func (e *Engine) Root() [32]byte { return e.set.digest() }

// Compared reports that every neighbour was compared with (G2.4): what they know,
// this node knows. A neighbour that does not answer is waited for 5 s.
func (e *Engine) Compared(now time.Duration) bool {
	for _, h := range e.order {
		if p := e.peers[h]; !p.compared && now-p.since < patience {
			return false
		}
	}
	return true
}

// Put takes a statement of our own making, newer than what is held, and tells the
// neighbours.
func (e *Engine) Put(k Key, v Version) { e.put(k, v, nil) }

func (e *Engine) put(k Key, v Version, from *peer) {
	e.set.put(k, v)
	for _, h := range e.order {
		if p := e.peers[h]; p != from {
			p.item(k)
		} else {
			delete(p.wanted, k) // it has it
		}
	}
}

// Remove forgets a statement; it may come back from a neighbour that has not.
func (e *Engine) Remove(k Key) { e.set.remove(k) }

func (p *peer) item(k Key) {
	if p.wanted[k] || p.out == 0 {
		return
	}
	p.wanted[k] = true
	p.queue = append(p.queue, entry{key: k})
}

func (p *peer) frame(b []byte) {
	if p.out != 0 {
		p.queue, p.bytes = append(p.queue, entry{frame: b}), p.bytes+len(b)
	}
}

// Handle takes an event and reports whether it was the engine's.
func (e *Engine) Handle(env *sdk.Env, ev *sdk.Event) bool {
	switch ev.Kind {
	case sdk.EvPeerUp:
		e.up(env, ev)
	case sdk.EvPeerDown:
		e.down(env, ev.Peer)
	case sdk.EvStreamOpen:
		o, err := sdk.ParseOpen(ev.Payload)
		if err != nil || o.From != sdk.FromPeer || o.Method != Method {
			return false
		}
		e.opened(env, ev)
	case sdk.EvStreamData, sdk.EvStreamCredit, sdk.EvStreamReset:
		p := e.byRef[ev.Ref]
		if p == nil {
			return false
		}
		e.onStream(env, p, ev)
	case sdk.EvVerified:
		return e.verified(env, ev)
	case sdk.EvDenied:
		if c := e.checks[ev.Ref]; c != nil { // too many at once: as if it never came
			delete(e.checks, ev.Ref)
			c.from.checks--
		}
		return false
	case sdk.EvTimer:
		if ev.Ref != e.timer {
			return false
		}
		env.After(e.timer, period)
		for _, h := range e.order {
			if p := e.peers[h]; p.out == 0 {
				e.open(env, p)
			} else if p.head == len(p.queue) {
				p.frame(e.root())
			}
		}
	default:
		return false
	}
	return true
}

func (e *Engine) root() []byte {
	root := e.set.digest()
	b, at := beginFrame(nil, frRoot)
	b = binary.LittleEndian.AppendUint32(append(b, root[:]...), uint32(len(e.set.versions)))
	return endFrame(b, at)
}

func (e *Engine) up(env *sdk.Env, ev *sdk.Event) {
	info, err := sdk.ParsePeerInfo(ev.Payload)
	if err != nil || e.peers[ev.Peer] != nil {
		return
	}
	p := &peer{handle: ev.Peer, node: info.Node, wanted: map[Key]bool{}, since: env.Now()}
	e.peers[ev.Peer] = p
	at, _ := slices.BinarySearch(e.order, ev.Peer)
	e.order = slices.Insert(e.order, at, ev.Peer)
	e.open(env, p)
}

// open begins our stream to a peer.
func (e *Engine) open(env *sdk.Env, p *peer) {
	p.out = env.OpenPeer(p.handle, e.cfg.ID, sdk.Open{Method: Method})
	p.credit, p.queue, p.head, p.bytes = sdk.InitialCredit, nil, 0, 0
	clear(p.wanted)
	e.byRef[p.out] = p
	p.frame(e.root())
}

func (e *Engine) down(env *sdk.Env, h sdk.Peer) {
	p := e.peers[h]
	if p == nil {
		return
	}
	p.gone = true
	delete(e.peers, h)
	delete(e.byRef, p.out)
	delete(e.byRef, p.in)
	if at, ok := slices.BinarySearch(e.order, h); ok {
		e.order = slices.Delete(e.order, at, at+1)
	}
}

// opened takes the peer's stream.
func (e *Engine) opened(env *sdk.Env, ev *sdk.Event) {
	p := e.peers[ev.Peer]
	if p == nil {
		env.Reset(ev.Ref, sdk.PeerGone, "no such peer")
		return
	}
	if until, ok := e.until[p.node]; ok {
		if env.Now() < until {
			env.Reset(ev.Ref, sdk.PermissionDenied, "what you sent before was no honest gossip: wait 30 s")
			return
		}
		delete(e.until, p.node)
	}
	if p.in != 0 {
		delete(e.byRef, p.in)
		env.Reset(p.in, sdk.Cancelled, "another sync stream took its place")
	}
	p.in, p.buf, p.held, p.want, p.phase, p.ended = ev.Ref, nil, 0, nil, rest, false
	e.byRef[ev.Ref] = p
}

func (e *Engine) onStream(env *sdk.Env, p *peer, ev *sdk.Event) {
	switch {
	case ev.Kind == sdk.EvStreamReset:
		delete(e.byRef, ev.Ref)
		if ev.Ref == p.in {
			p.in, p.buf = 0, nil
			return
		}
		// Ours: the peer's module restarted, or does not listen. Try again later.
		p.out = 0
		code := sdk.Code(ev.Arg)
		if code == sdk.PermissionDenied || code == sdk.InvalidArgument {
			env.Log(sdk.LogWarn, "gossip: "+p.node.Short()+" does not take ours: "+string(ev.Payload))
			p.compared = true // nothing comes of waiting
			return
		}
		if code == sdk.ModuleRestarted {
			e.open(env, p)
		} // else the timer tries again
	case ev.Kind == sdk.EvStreamCredit && ev.Ref == p.out:
		p.credit += ev.Arg
	case ev.Kind == sdk.EvStreamData && ev.Ref == p.in:
		p.buf = append(p.buf, ev.Payload...)
		p.held += len(ev.Payload)
		e.read(env, p)
	}
}

// Flush writes what waits. The module calls it last of each batch.
func (e *Engine) Flush(env *sdk.Env) {
	if e.more && len(e.checks) < maxVerify {
		e.more = false
		for _, h := range e.order {
			if p := e.peers[h]; len(p.buf) > 0 {
				e.read(env, p)
			}
		}
	}
	left := budget
	for _, h := range e.order {
		if p := e.peers[h]; p.out != 0 {
			e.write(env, p, &left)
		}
	}
	if left <= 0 && !e.pending {
		e.pending = true
		env.Post(e.timer, nil)
	}
}

// Posted takes the event that Flush asked for; it reports whether it was that.
func (e *Engine) Posted(ev *sdk.Event) bool {
	if ev.Ref == e.timer {
		e.pending = false
		return true
	}
	return false
}

func (e *Engine) write(env *sdk.Env, p *peer, left *int) {
	for p.head < len(p.queue) && *left > 0 {
		q := &p.queue[p.head]
		b := q.frame
		if b == nil {
			if !p.wanted[q.key] || !e.has(q.key) {
				delete(p.wanted, q.key)
				p.head++
				continue
			}
			body, age := e.cfg.Body(q.key, env.Now())
			var at int
			b, at = beginFrame(nil, frItem)
			b = binary.LittleEndian.AppendUint32(b, uint32(min(age/time.Second, math.MaxUint32)))
			b = endFrame(append(b, body...), at)
		}
		if uint64(len(b)) > p.credit {
			return
		}
		env.Write(p.out, b, false)
		p.credit -= uint64(len(b))
		*left -= len(b)
		p.bytes -= len(q.frame)
		if q.frame == nil {
			delete(p.wanted, q.key)
		}
		p.head++
	}
	if p.head == len(p.queue) {
		p.queue, p.head = p.queue[:0], 0
	}
}
