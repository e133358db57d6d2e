package module

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"lukechampine.com/blake3"

	"nethost/sdk"
	"nethost/sdk/abi"
)

// maxSuspects bounds the digests remembered of events that were in a batch that
// crashed an instance.
const maxSuspects = 1024

// eventDigest names an event by what it says, not by whom or where it came from.
type eventDigest [16]byte

// digestOf digests an event that somebody outside can send again. ok is false for
// all others: they are the host's own, and dropping them would break the contract.
func digestOf(ev *sdk.Event) (d eventDigest, ok bool) {
	switch ev.Kind {
	case sdk.EvMessage, sdk.EvStreamOpen, sdk.EvStreamData:
	default:
		return d, false
	}
	var head [8]byte
	binary.LittleEndian.PutUint16(head[:], uint16(ev.Kind))
	binary.LittleEndian.PutUint16(head[2:], uint16(ev.ID))
	head[4], head[5] = ev.Version.Major, ev.Version.Minor
	binary.LittleEndian.PutUint16(head[6:], ev.Flags)
	h := blake3.New(32, nil)
	h.Write(head[:])
	h.Write(ev.Payload)
	var sum [32]byte
	h.Sum(sum[:0])
	return eventDigest(sum[:16]), true
}

// suspects remembers, over all instances and versions of a module, which events
// were there when an instance died (L4). A suspect that comes again gets a batch of
// its own: then it is clear whose fault it was.
type suspects struct {
	any atomic.Bool // something is remembered: a module that never crashed pays nothing

	mu      sync.Mutex
	crashes map[eventDigest]int
	order   []eventDigest // of crashes, oldest first
	poison  map[eventDigest]bool
}

// verdict is what is known of an event.
type verdict uint8

const (
	innocent verdict = iota
	suspect
	poisonous
)

func (s *suspects) judge(ev *sdk.Event) (verdict, eventDigest) {
	d, ok := digestOf(ev)
	if !ok {
		return innocent, d
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.poison[d]:
		return poisonous, d
	case s.crashes[d] > 0:
		return suspect, d
	}
	return innocent, d
}

// died accuses the events of a batch whose instance did not survive it, and names
// the one that is proven to be poison, if there is one: it was alone, and it is the
// second instance that it killed.
func (s *suspects) died(batch []entry) (at int, d eventDigest, proven bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	candidates := 0
	for i := range batch {
		c, ok := digestOf(&batch[i].ev)
		if !ok {
			continue
		}
		if s.crashes == nil {
			s.crashes, s.poison = map[eventDigest]int{}, map[eventDigest]bool{}
		}
		if s.crashes[c] == 0 {
			s.crashes[c] = 1
			s.order = append(s.order, c)
		} else if len(batch) == 1 {
			s.crashes[c]++
		}
		at, d = i, c
		candidates++
		s.any.Store(true)
	}
	for len(s.order) > maxSuspects {
		delete(s.crashes, s.order[0])
		s.order = s.order[1:]
	}
	if candidates == 1 && len(batch) == 1 && s.crashes[d] >= 2 {
		s.poison[d] = true
		return at, d, true
	}
	return 0, d, false
}

// survived clears an event that did no harm on its own.
func (s *suspects) survived(ev *sdk.Event) {
	d, ok := digestOf(ev)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.crashes, d)
	for i := range s.order {
		if s.order[i] == d {
			s.order = append(s.order[:i], s.order[i+1:]...)
			break
		}
	}
}

// quarantine looks through the batch for what was accused. Poison is dropped, its
// stream reset; a suspect is put apart, so that the batch ends before it or holds
// nothing else. The caller holds run.
func (s *supervisor) quarantine() {
	keep := s.batch[:0]
	for i := range s.batch {
		e := s.batch[i]
		if s.spoilt[e.ev.Ref] && isStream(e.ev.Kind) {
			continue
		}
		v, d := s.u.sus.judge(&e.ev)
		switch {
		case v == poisonous:
			s.dropPoison(&e.ev, d)
		case v == suspect && len(keep) == 0 && i+1 < len(s.batch):
			s.stash = append(s.stash[:0], s.batch[i+1:]...)
			s.batch, s.alone = append(keep, e), true
			return
		case v == suspect && len(keep) == 0:
			keep, s.alone = append(keep, e), true
		case v == suspect:
			s.stash = append(s.stash[:0], s.batch[i:]...)
			s.batch = keep
			return
		default:
			keep = append(keep, e)
		}
	}
	s.batch = keep
}

func (s *supervisor) dropPoison(ev *sdk.Event, d eventDigest) {
	s.poisoned.Add(1)
	s.lim.line(sdk.LogWarn, fmt.Sprintf("a %v event was dropped: it crashed two instances (poison-%x)", ev.Kind, d))
	if ev.Kind == sdk.EvMessage {
		return
	}
	if s.spoilt == nil {
		s.spoilt = map[sdk.Ref]bool{}
	}
	s.spoilt[ev.Ref] = true // what is stashed of it
	s.box.forgetStream(ev.Ref)
	s.m.cfg.Host.Apply(s.slot, []sdk.Effect{{Kind: sdk.OpStreamReset, Ref: ev.Ref, Arg: uint64(sdk.Internal),
		Payload: []byte("what was sent crashes this module")}})
}

// autopsy accuses the events of the last batch, and keeps what an author needs to
// mend the module: poison as an event file of its own (L4.2), the rest as a crash
// bundle (L4.4).
func (s *supervisor) autopsy(cause error) {
	s.run.Lock()
	batch := s.batch
	if !s.handed { // nothing was under way: it died between batches, or while it started
		batch = nil
	}
	at, d, proven := s.u.sus.died(batch)
	var ev sdk.Event
	if proven {
		ev = batch[at].ev
		var w abi.Writer
		w.ResetEvents(1, 0, 0)
		w.Event(ev)
		name, err := s.m.files.keepPoison(s.spec.Name, fmt.Sprintf("poison-%x", d), w.Bytes())
		s.tell(sdk.LogError, fmt.Sprintf("a %v event of %d bytes crashed two instances: it is dropped from now on", ev.Kind, len(ev.Payload)), "file", name, "error", err)
	}
	if s.handed && s.m.files.crash != "" {
		name, err := s.m.files.bundle(s, cause, s.w.Bytes())
		s.tell(sdk.LogWarn, "what the module was doing when it crashed is kept", "bundle", name, "error", err)
	}
	s.handed = false
	s.run.Unlock()
}
