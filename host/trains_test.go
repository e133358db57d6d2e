package host_test

import (
	"strings"
	"testing"

	"nethost/host"
	"nethost/host/link"
)

// blunt is a socket over a card that cannot cut what it is given in one piece, and drops
// it without a word.
type blunt struct{ *link.UDP }

func (b blunt) keep(trains []link.Train) []link.Train {
	kept := make([]link.Train, 0, len(trains))
	for _, t := range trains {
		if t.Count() == 1 {
			t.Alone = true // nor is it joined to another on the way out
			kept = append(kept, t)
		}
	}
	return kept
}

func (b blunt) Write(trains []link.Train) error { return b.UDP.Write(b.keep(trains)) }

func (b blunt) TryWrite(trains, unsent []link.Train) ([]link.Train, error) {
	return b.UDP.TryWrite(b.keep(trains), unsent)
}

// TestTrainsGetLost: a transfer over such a card goes on, packet by packet, and the
// listing says why.
func TestTrainsGetLost(t *testing.T) {
	la, lb := listenUDP(t, "127.0.0.1:0"), listenUDP(t, "127.0.0.1:0")
	if la.Stats().Mode != "gso" {
		t.Skip("this system sends nothing in one piece: " + la.Stats().Note)
	}
	b := onLink(t, "B", lb)
	a := onLink(t, "A", blunt{la}, host.PeerAddr{Addr: lb.LocalAddr(), Node: b.Self()})
	wantEcho(t, a, b.Self(), 1<<20)
	s := a.Snapshot()
	if want := "trains to " + b.Self().Short() + " get lost"; !strings.Contains(s.Link.Note, want) {
		t.Errorf("the listing says %q, want %q", s.Link.Note, want)
	}
	if s := b.Snapshot(); s.Link.Note != "" {
		t.Errorf("the other end says %q", s.Link.Note)
	}
}
