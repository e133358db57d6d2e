package kernel

import (
	"slices"

	"nethost/host/wire"
	"nethost/registry"
)

// A change of our modules reaches each peer on its own: said is the newest manifest
// that it was sent, heard the newest that it has acknowledged. Frames are written under
// heard, so a peer has every manifest that a frame names, and one change at a time is
// under way, so that a bit for each side tells them apart (K4). What changes meanwhile
// is told in one, afterwards.

// firstOffer sends what an association begins with. Nothing was agreed before it, so it
// counts as heard.
func (k *Kernel) firstOffer(p *peer) {
	p.said, p.heard, p.heardPrev = k.ours, k.ours, registry.Manifest{}
	p.offerAt = k.now
	k.timers.set(&p.offering, never)
	k.sendManifest(p)
}

// declare tells a peer what has changed of ours, or sees to it that this happens later.
func (k *Kernel) declare(p *peer) {
	switch {
	case p.cur == nil || !p.manifestHeard || slices.Equal(p.said.Lines, k.ours.Lines):
		return // heardOurs comes back here
	case k.now < p.offerAt && clash(p.heardPrev.Lines, k.ours.Lines):
		k.timers.set(&p.offering, p.offerAt)
		return
	}
	p.said = registry.Manifest{Epoch: p.said.Epoch + 1, Lines: k.ours.Lines}
	k.formerSets(p)
	k.sendManifest(p)
}

// heardOurs notes that the peer has what it was sent last, and negotiates under it.
func (k *Kernel) heardOurs(p *peer) {
	p.manifestHeard = true
	if p.heard.Epoch != p.said.Epoch {
		p.heardPrev, p.heard = p.heard, p.said
		// Late frames of the one before must not be taken for frames of the next.
		p.offerAt = k.now + manifestRest
		if p.hasAgreed || p.refusal != "" {
			k.negotiate(p)
		}
	}
	k.declare(p)
}

// clash reports whether an id that is in both has other lines in one than in the other:
// a frame of one manifest that is judged by the other could come to another major.
func clash(a, b []registry.Line) bool {
	for i := range a {
		of := func(l registry.Line) bool { return l.ID != a[i].ID }
		one, two := slices.DeleteFunc(slices.Clone(a), of), slices.DeleteFunc(slices.Clone(b), of)
		if len(two) > 0 && !slices.Equal(one, two) {
			return true
		}
	}
	return false
}

// within reports whether what was agreed lies within what the module that holds the id
// now speaks.
func (k *Kernel) within(o registry.Outcome) bool {
	return slices.ContainsFunc(k.ours.Lines, func(l registry.Line) bool {
		return l.ID == o.ID && l.Version.Major == o.Version.Major && l.MinPeer.Compare(o.Version) <= 0 && o.Version.Compare(l.Version) <= 0
	})
}

// tag is the epoch bits of a frame (host/wire W5.2): of our manifest that the peer has,
// and of the peer's that we have. Together they name the agreement the frame was
// written under.
func (k *Kernel) tag(p *peer) uint8 { return tagOf(p.heard, p.theirs) }

// tagOf is the tag of frames of a side that writes under two manifests, its own first.
func tagOf(own, other registry.Manifest) uint8 {
	return uint8(own.Epoch)&1 | uint8(other.Epoch)&1<<1
}

// formerSets notes what the frames were agreed as that the peer may write: it has the
// one we said or the one before, and we have the one it writes under, or a later one.
func (k *Kernel) formerSets(p *peer) {
	p.sets = [4]registry.Agreed{p.agreed, p.agreed, p.agreed, p.agreed}
	if p.theirs.Epoch == 0 {
		return
	}
	for _, ours := range [...]registry.Manifest{p.heardPrev, p.heard, p.said} { // a later one wins
		for _, theirs := range [...]registry.Manifest{p.theirsPrev, p.theirs} {
			if ours.Epoch > 0 && theirs.Epoch > 0 {
				p.sets[tagOf(theirs, ours)] = registry.Negotiate(ours, theirs)
			}
		}
	}
}

// setOf is the agreement that a frame was written under.
func (k *Kernel) setOf(p *peer, tag uint8) *registry.Agreed {
	return &p.sets[tag&wire.FrameEpochMask]
}
