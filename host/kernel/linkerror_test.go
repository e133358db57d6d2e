package kernel

import (
	"bytes"
	"testing"
	"time"

	"nethost/host/liveness"
)

// TestUnreachable: an error of the network about something just sent makes the
// neighbour suspect at once, traffic moves, and a probe decides; one that quotes what
// was never sent, or long ago, means nothing.
func TestUnreachable(t *testing.T) {
	l := newLab(t, 2)
	var sent []byte
	l.wire = func(to int, b []byte) {
		if to == 1 {
			sent = bytes.Clone(b)
		}
	}
	l.run(2 * time.Second) // a probe of the idle link
	old := sent
	l.run(5 * time.Second)
	quote := func(b []byte) { l.step(0, Input{Kind: InLinkError, From: addrOf(1), Datagram: b[:min(len(b), 28)]}) }
	state := func() PeerStatus { return l.k[0].Peers(l.now)[0] }
	forged := bytes.Clone(sent)
	forged[3] ^= 1 // of an index that is not the peer's
	l.cut = func(int, int) bool { return true }
	quote(forged)
	quote(old)
	if s := state(); s.State != liveness.Alive {
		t.Fatalf("believed a forged error, or one of long ago: %v", s.State)
	}
	begin := l.now
	quote(sent)
	if s := state(); s.State != liveness.Suspect || s.Why != "the network reports it unreachable" {
		t.Errorf("%v because %q", s.State, s.Why)
	}
	for l.now < begin+time.Minute && len(l.k[0].Peers(l.now)) > 0 && state().Direct {
		l.run(time.Millisecond)
	}
	if took := l.now - begin; took > 500*time.Millisecond {
		t.Errorf("dead after %v", took)
	}

	// A neighbour that lives refutes it with its answer to the probe.
	l = newLab(t, 2)
	l.wire = func(to int, b []byte) {
		if to == 1 {
			sent = bytes.Clone(b)
		}
	}
	l.run(2 * time.Second)
	quote = func(b []byte) { l.step(0, Input{Kind: InLinkError, From: addrOf(1), Datagram: b[:min(len(b), 28)]}) }
	quote(sent)
	l.run(50 * time.Millisecond)
	if s := state(); s.State != liveness.Alive || s.Why != "" {
		t.Errorf("%v because %q", s.State, s.Why)
	}
}
