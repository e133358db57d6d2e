package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"nethost/host/identity"
)

// What is met on the local network is dialled once, bounded, left alone when it does
// not answer and forgotten when it is silent.
func TestKeeperMeets(t *testing.T) {
	network, err := randomNetworkKey()
	if err != nil {
		t.Fatal(err)
	}
	h, err := embed(t.Context(), network, nil)
	if err != nil {
		t.Fatal(err)
	}
	k := newKeeper(&Config{Data: t.TempDir()}, h.Host, slog.New(slog.DiscardHandler), nil)
	k.fixed = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.9:1")}
	now := time.Unix(1000, 0)
	met := func(addrs ...string) {
		var list []netip.AddrPort
		for _, a := range addrs {
			list = append(list, netip.MustParseAddrPort(a))
		}
		k.sighted(list, now)
	}
	want := func(what string, addrs ...string) {
		t.Helper()
		got := []string{}
		for _, d := range h.Snapshot().Dials {
			got = append(got, d.Addr.String())
		}
		if fmt.Sprint(got) != fmt.Sprint(addrs) {
			t.Errorf("%s: dials %v, want %v", what, got, addrs)
		}
	}
	met("127.0.0.2:1", "127.0.0.3:1")
	met("127.0.0.2:1", "127.0.0.3:1")
	met("127.0.0.9:1")
	want("one address of a node, and none that is dialled anyway", "127.0.0.2:1")
	k.change([]string{"127.0.0.9:1"})
	want("a reload takes nothing away", "127.0.0.2:1")
	now = now.Add(lanTried)
	k.lose(now)
	want("it does not answer")
	met("127.0.0.2:1", "127.0.0.3:1")
	want("its other address", "127.0.0.3:1")
	now = now.Add(lanSilent)
	k.lose(now)
	want("they are silent")
	if len(k.lan.met) != 0 {
		t.Errorf("%d silent addresses are remembered", len(k.lan.met))
	}
	for i := range 10_000 {
		met(fmt.Sprintf("127.1.%d.%d:1", i/250, i%250+1))
	}
	if n := len(h.Snapshot().Dials); n != lanMost {
		t.Errorf("%d addresses are dialled, want %d", n, lanMost)
	}
	for range 10 * lanMost { // nobody takes them out
		k.sight([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.2:1")})
	}
}

// Both current keys make marks; a fault keeps those of before.
func TestMarker(t *testing.T) {
	a, b := identity.NetworkKey{1}, identity.NetworkKey{2}
	now, second, fault, reads := time.Unix(1000, 0), b, error(nil), 0
	m := &marker{now: func() time.Time { return now }, read: func() (identity.NetworkKey, identity.NetworkKey, error) {
		reads++
		return a, second, fault
	}}
	both := fmt.Sprint([]string{a.Beacon("i", 1), b.Beacon("i", 1)})
	for range 100 {
		if got := fmt.Sprint(m.marks("i", 1)); got != both {
			t.Fatalf("marks %s, want %s", got, both)
		}
	}
	if reads != 1 {
		t.Errorf("the keys were read %d times for 100 answers", reads)
	}
	fault, now = errors.New("gone"), now.Add(markerReads)
	if got := fmt.Sprint(m.marks("i", 1)); got != both {
		t.Errorf("marks %s after a fault, want %s", got, both)
	}
	fault, second, now = nil, identity.NetworkKey{}, now.Add(markerReads)
	if got := fmt.Sprint(m.marks("i", 1)); got != fmt.Sprint([]string{a.Beacon("i", 1)}) {
		t.Errorf("marks %s of one key", got)
	}
}
