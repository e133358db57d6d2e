package module

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"sync"

	"nethost/host/identity"
	"nethost/registry"
	"nethost/sdk"
)

const (
	// maxStatements and maxStatementBytes bound the signatures that a module asked
	// for and that were not made or checked yet. More are denied.
	maxStatements     = 4096
	maxStatementBytes = 16 << 20
	// maxTags and maxTagBytes bound what one module announces.
	maxTags     = 4096
	maxTagBytes = 64 << 10
)

// overloaded is what Denied says when too much was asked for at once.
const overloaded = "OVERLOADED"

// statement sorts what is signed, checked or announced.
func (g *gate) statement(f *sdk.Effect) {
	switch {
	case f.Kind == sdk.OpVerify:
		g.crypto = append(g.crypto, *f)
	case f.Kind == sdk.OpSign && !g.canSign, f.Kind == sdk.OpAnnounce && !g.canAnnounce:
		g.deny(f, unimplemented, "")
	case f.Kind == sdk.OpSign && !g.grants.Sign:
		g.deny(f, "sign", "")
	case f.Kind == sdk.OpSign:
		g.crypto = append(g.crypto, *f)
	case len(f.Payload) > maxTagBytes:
		g.deny(f, overloaded, "more tags than a module may announce")
	default:
		tags, _ := sdk.ParseTags(f.Payload) // parseEffects has checked it
		if len(tags) > maxTags {
			g.deny(f, overloaded, "more tags than a module may announce")
			return
		}
		for _, t := range tags {
			if !g.mayAnnounce(t) {
				g.deny(f, "announce:"+t[:min(len(t), 64)], "")
				return
			}
		}
		kept := *f // the network effects move up over it
		g.tags = &kept
	}
}

func (g *gate) mayAnnounce(tag string) bool {
	for _, p := range g.grants.Announce {
		if strings.HasPrefix(tag, p) {
			return true
		}
	}
	return false
}

// signer makes and checks the signatures of one module, off its goroutine and off
// the reader's: an ed25519 costs some 50 us.
type signer struct {
	mu      sync.Mutex
	queue   []statement
	bytes   int
	running bool
}

// statement is a signature that is asked for.
type statement struct {
	life uint64
	f    sdk.Effect
}

// statements carries out Sign, Verify and Announce of a batch. The caller holds run.
func (s *supervisor) statements() {
	g := &s.gate
	if g.tags != nil {
		tags, _ := sdk.ParseTags(g.tags.Payload)
		s.m.cfg.Announced(s.slot, tags)
	}
	if len(g.crypto) == 0 {
		return
	}
	q := &s.signs
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range g.crypto {
		f := &g.crypto[i]
		if len(q.queue) >= maxStatements || q.bytes+len(f.Payload) > maxStatementBytes {
			g.deny(f, overloaded, "too many signatures at once")
			continue
		}
		st := statement{s.life, *f}
		st.f.Payload = bytes.Clone(f.Payload)
		q.queue, q.bytes = append(q.queue, st), q.bytes+len(f.Payload)
	}
	if !q.running && len(q.queue) > 0 {
		q.running = true
		go s.sign()
	}
}

// sign works until nothing is asked for any more. What an instance asked for that
// is gone meanwhile is nobody's: the mailbox drops it.
func (s *supervisor) sign() {
	q := &s.signs
	for {
		q.mu.Lock()
		if len(q.queue) == 0 || s.m.closed() {
			q.queue, q.bytes, q.running = nil, 0, false
			q.mu.Unlock()
			return
		}
		st := q.queue[0]
		q.queue, q.bytes = q.queue[1:], q.bytes-len(st.f.Payload)
		q.mu.Unlock()
		s.box.post(st.life, s.signed(&st.f))
		s.poke()
	}
}

func (s *supervisor) signed(f *sdk.Effect) sdk.Event {
	if f.Kind == sdk.OpSign {
		id, publisher := s.spec.Subprotocols[0].ID, s.spec.Publisher
		if registry.RangeOf(id) == registry.RangeCore {
			publisher = "" // one of ours: nodes must agree on the bytes whatever carries it
		}
		sig := s.m.cfg.Sign(sdk.AppendSigned(nil, publisher, s.spec.Name, id, f.Payload))
		return sdk.Event{Kind: sdk.EvSigned, Ref: f.Ref, Payload: sig[:]}
	}
	ev := sdk.Event{Kind: sdk.EvVerified, Ref: f.Ref}
	if key := sdk.NodeID(f.Payload); identity.CheckNodeID(key) == nil && ed25519.Verify(key[:], f.Payload[96:], f.Payload[32:96]) {
		ev.Arg = 1
	}
	return ev
}
