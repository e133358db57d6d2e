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
	wanted map[Key]bool
	// What it writes.
	in       sdk.Ref
	buf      []byte
	held     int // bytes that arrived and got no credit yet
	checks   int
	want     []byte
	ended    bool
	compared bool
}

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
// this node knows.
func (e *Engine) Compared() bool {
	for _, h := range e.order {
		if p := e.peers[h]; !p.compared {
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

func (p *peer) frame(b []byte) { p.queue = append(p.queue, entry{frame: b}) }

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
			if p := e.peers[h]; p.idle() {
				p.frame(e.root())
			}
		}
	default:
		return false
	}
	return true
}

func (p *peer) idle() bool { return p.out != 0 && p.head == len(p.queue) }

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
	p := &peer{handle: ev.Peer, node: info.Node, wanted: map[Key]bool{}}
	e.peers[ev.Peer] = p
	at, _ := slices.BinarySearch(e.order, ev.Peer)
	e.order = slices.Insert(e.order, at, ev.Peer)
	e.open(env, p)
}

// open begins our stream to a peer.
func (e *Engine) open(env *sdk.Env, p *peer) {
	p.out = env.OpenPeer(p.handle, e.cfg.ID, sdk.Open{Method: Method})
	p.credit, p.queue, p.head = sdk.InitialCredit, nil, 0
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
	p.in, p.buf, p.held, p.want, p.ended = ev.Ref, nil, 0, nil, false
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
		if code != sdk.PeerGone && code != sdk.UnsupportedID {
			e.open(env, p)
		}
	case ev.Kind == sdk.EvStreamCredit && ev.Ref == p.out:
		p.credit += ev.Arg
	case ev.Kind == sdk.EvStreamData && ev.Ref == p.in:
		p.buf = append(p.buf, ev.Payload...)
		p.held += len(ev.Payload)
		e.read(env, p)
	}
}

// read deals with the frames that arrived, until signatures are owed for too many.
func (e *Engine) read(env *sdk.Env, p *peer) {
	at := 0
	for p.in != 0 && len(e.checks) < maxVerify {
		f, n, err := next(p.buf[at:], e.cfg.MaxBody)
		if err == nil && n > 0 {
			err = e.take(env, p, &f)
		}
		if err != nil {
			env.Count("malformed", 1)
			e.ban(env, p, sdk.InvalidArgument, err.Error())
			return
		}
		if n == 0 {
			break
		}
		at += n
	}
	if p.in == 0 {
		return
	}
	if len(e.checks) >= maxVerify {
		e.more = true
	}
	p.buf = p.buf[:copy(p.buf, p.buf[at:])]
	e.giveCredit(env, p)
}

// giveCredit returns what was dealt with (G3.3).
func (e *Engine) giveCredit(env *sdk.Env, p *peer) {
	if p.checks > 0 || p.in == 0 {
		return
	}
	if n := p.held - len(p.buf); n > 0 {
		p.held -= n
		env.Credit(p.in, n)
	}
	if p.ended && !p.compared && len(p.buf) == 0 {
		p.compared = true
	}
}

// ban ends the peer's stream and does not listen to it for a while.
func (e *Engine) ban(env *sdk.Env, p *peer, code sdk.Code, why string) {
	env.Log(sdk.LogWarn, "gossip: "+p.node.Short()+" is not listened to for 30 s: "+why)
	if len(e.until) >= 4096 {
		clear(e.until)
	}
	e.until[p.node] = env.Now() + banned
	delete(e.byRef, p.in)
	env.Reset(p.in, code, why)
	p.in, p.buf, p.want = 0, nil, nil
	p.compared = true // nothing it says counts
}

// take does what one frame asks for.
func (e *Engine) take(env *sdk.Env, p *peer, f *frame) error {
	switch f.kind {
	case frRoot:
		if f.root == e.set.digest() {
			p.compared = true
		} else if e.self.Compare(p.node) < 0 {
			b, at := beginFrame(nil, frBuckets)
			p.frame(endFrame(append(b, e.set.hashes[:]...), at))
		}
	case frBuckets:
		e.lists(p, f.hash)
	case frList:
		e.list(p, f)
	case frWant:
		for i := 0; i < len(f.lines); i += 32 {
			if k := Key(f.lines[i:]); e.has(k) {
				p.item(k)
			}
		}
	case frItem:
		return e.item(env, p, f)
	case frEnd:
		p.ended = true
		e.answer(p)
	}
	return nil
}

func (e *Engine) has(k Key) bool { _, ok := e.set.versions[k]; return ok }

// lists answers BUCKETS.
func (e *Engine) lists(p *peer, theirs []byte) {
	e.set.digest()
	for i := range buckets {
		if string(theirs[i*cut:(i+1)*cut]) == string(e.set.hashes[i*cut:(i+1)*cut]) {
			continue
		}
		keys := e.set.keys[i]
		for first := true; first || len(keys) > 0; first = false {
			b, at := beginFrame(nil, frList)
			b = append(b, byte(i))
			n := min(len(keys), maxLines)
			for _, k := range keys[:n] {
				b = appendLine(b, k, e.set.versions[k])
			}
			keys = keys[n:]
			p.frame(endFrame(b, at))
		}
	}
	e.end(p)
}

func (e *Engine) end(p *peer) {
	b, at := beginFrame(nil, frEnd)
	p.frame(endFrame(b, at))
}

// list compares a bucket of the peer's with ours. Buckets longer than a frame come
// in several, so what the peer does not name here is looked at within the range of
// keys that it does name.
func (e *Engine) list(p *peer, f *frame) {
	full := len(f.lines) == maxLines*lineLen
	ours, i := e.set.keys[f.index], 0
	for at := 0; at < len(f.lines); at += lineLen {
		k, v := line(f.lines[at:])
		for i < len(ours) && string(ours[i][:]) < string(k[:]) {
			if at > 0 { // before the first line may be the frame before this one
				p.item(ours[i])
			}
			i++
		}
		mine, held := e.set.versions[k]
		if held && i < len(ours) && ours[i] == k {
			i++
		}
		switch c := mine.Compare(v); {
		case !held || c < 0:
			p.want = append(p.want, k[:]...)
		case c > 0:
			p.item(k)
		}
	}
	if !full {
		for ; i < len(ours); i++ {
			p.item(ours[i])
		}
	}
	if len(f.lines) > 0 { // what we hold before the peer's first
		first := Key(f.lines[:32])
		for _, k := range ours {
			if string(k[:]) >= string(first[:]) {
				break
			}
			p.item(k)
		}
	}
}

// answer ends our side of an exchange: what we want goes out, then END, when the
// peer's LISTs are done. The other side has sent WANT before, and ends likewise.
func (e *Engine) answer(p *peer) {
	lower := e.self.Compare(p.node) < 0
	if lower {
		if p.compared && p.want == nil {
			return // the END that answers ours
		}
		for part := range slices.Chunk(p.want, maxWant*32) {
			b, at := beginFrame(nil, frWant)
			p.frame(endFrame(append(b, part...), at))
		}
		asked := len(p.want) > 0
		p.want = nil
		e.end(p)
		p.ended = !asked // the wanted statements come before the next END
		return
	}
	e.end(p)
}

// item takes a statement.
func (e *Engine) item(env *sdk.Env, p *peer, f *frame) error {
	st, err := e.cfg.Parse(f.body)
	if err != nil {
		return err
	}
	if v, ok := e.set.versions[st.Key]; ok && st.Version.Compare(v) <= 0 {
		if p.wanted[st.Key] && st.Version == v {
			delete(p.wanted, st.Key) // it has it
		}
		env.Count("old", 1)
		return nil
	}
	age := time.Duration(f.age) * time.Second
	if !e.cfg.Admit(&st, age) {
		env.Count("refused", 1)
		return nil
	}
	ref := env.NewRef()
	body := slices.Clone(f.body)
	if st, err = e.cfg.Parse(body); err != nil { // the slices point into our copy now
		return err
	}
	e.checks[ref] = &check{from: p, st: st, body: body, age: age, at: env.Now()}
	p.checks++
	env.Verify(ref, st.Signer, st.Sig, st.Signed)
	return nil
}

// verified takes the answer about a signature.
func (e *Engine) verified(env *sdk.Env, ev *sdk.Event) bool {
	c := e.checks[ev.Ref]
	if c == nil {
		return false
	}
	delete(e.checks, ev.Ref)
	p := c.from
	p.checks--
	switch v, held := e.set.versions[c.st.Key]; {
	case ev.Arg != 1:
		env.Count("forged", 1)
		if !p.gone && p.in != 0 {
			e.ban(env, p, sdk.PermissionDenied, "a statement of "+sdk.NodeID(c.st.Key).Short()+" has a bad signature")
		}
	case held && c.st.Version.Compare(v) <= 0:
		env.Count("old", 1) // it came from two sides at once
	default:
		e.put(c.st.Key, c.st.Version, p)
		e.cfg.Accept(env, &c.st, c.body, c.age+env.Now()-c.at)
	}
	if !p.gone && p.in != 0 {
		e.giveCredit(env, p)
	}
	return true
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
		delete(p.wanted, q.key)
		p.head++
	}
	if p.head == len(p.queue) {
		p.queue, p.head = p.queue[:0], 0
	}
}
