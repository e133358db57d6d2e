package gossip

import (
	"fmt"
	"slices"
	"time"

	"nethost/sdk"
)

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
			if !p.compared && e.self.Compare(p.node) < 0 {
				e.end(p) // the other side may hold more by the time it gets our ROOT
			}
			p.compared = true
		} else if p.phase == rest && e.self.Compare(p.node) < 0 {
			p.phase = listing
			b, at := beginFrame(nil, frBuckets)
			p.frame(endFrame(append(b, e.set.hashes[:]...), at))
		}
	case frBuckets:
		if p.bytes > maxBacklog {
			return fmt.Errorf("%w: more is asked for than is read", errFrame)
		}
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
		if p.bytes > maxBacklog {
			return fmt.Errorf("%w: more is asked for than is read", errFrame)
		}
		e.ended(p)
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

// list compares a bucket of the peer's with ours. A bucket that needs several frames
// has what stands before their first lines sent again, which is rare and harmless.
func (e *Engine) list(p *peer, f *frame) {
	ours, i := e.set.keys[f.index], 0
	for at := 0; at < len(f.lines); at += lineLen {
		k, v := line(f.lines[at:])
		for ; i < len(ours) && string(ours[i][:]) < string(k[:]); i++ {
			p.item(ours[i])
		}
		if i < len(ours) && ours[i] == k {
			i++
		}
		mine, held := e.set.versions[k]
		switch c := mine.Compare(v); {
		case (!held || c < 0) && len(p.want) < maxWanted*32:
			p.want = append(p.want, k[:]...)
		case held && c > 0:
			p.item(k)
		}
	}
	if len(f.lines) < maxLines*lineLen { // else more of this bucket may come
		for ; i < len(ours); i++ {
			p.item(ours[i])
		}
	}
}

// ended takes END. The higher side has all that the lower one had newer, and ends
// likewise; the lower side asks for what it lacks, or has got it (G2.3).
func (e *Engine) ended(p *peer) {
	switch {
	case e.self.Compare(p.node) > 0:
		p.ended = true
		e.end(p)
	case p.phase == listing:
		p.phase, p.ended = wanting, false
		if p.want == nil {
			p.phase, p.ended = rest, true
		}
		for part := range slices.Chunk(p.want, maxWant*32) {
			b, at := beginFrame(nil, frWant)
			p.frame(endFrame(append(b, part...), at))
		}
		p.want = nil
		e.end(p)
	case p.phase == wanting:
		p.phase, p.ended = rest, true
	}
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
