package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// A name that cannot be looked up is a warning that names the peer, told once; a name
// whose address changed is dialled where it is now, and no longer where it was.
func TestKeeperFollowsName(t *testing.T) {
	network, err := randomNetworkKey()
	if err != nil {
		t.Fatal(err)
	}
	h, err := embed(t.Context(), network, nil)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	c := &Config{Data: t.TempDir(), Peers: []string{"a.example:7700", "127.0.0.1:1"}}
	k := newKeeper(c, h.Host, slog.New(slog.NewTextHandler(&log, nil)), nil)
	var answer []netip.Addr
	k.lookup = func(context.Context, string) ([]netip.Addr, error) {
		if answer == nil {
			return nil, errors.New("no such host")
		}
		return answer, nil
	}
	now := time.Unix(1000, 0)
	dials := func(ips ...string) string {
		answer = nil
		for _, ip := range ips {
			answer = append(answer, netip.MustParseAddr(ip))
		}
		now = now.Add(lookupMost)
		k.names(t.Context(), now)
		k.names(t.Context(), now) // its time has not come
		var got []string
		for _, d := range h.Snapshot().Dials {
			got = append(got, d.Addr.String())
		}
		return strings.Join(got, " ")
	}
	for i, step := range []struct{ ips, want string }{
		{"", ""}, {"", ""},
		{"127.0.0.8 127.0.0.9", "127.0.0.8:7700 127.0.0.9:7700"},
		{"127.0.0.9", "127.0.0.9:7700"},
		{"", "127.0.0.9:7700"}, // the old address is better than none
		{"127.0.0.7", "127.0.0.7:7700"},
	} {
		if got := dials(strings.Fields(step.ips)...); got != step.want {
			t.Errorf("step %d: dials %q, want %q", i, got, step.want)
		}
	}
	if n := strings.Count(log.String(), "a.example:7700"); n != 2 {
		t.Errorf("%d warnings, want one for each time it began to fail:\n%s", n, log.String())
	}
}

// Names are looked up at once: one that nobody answers for holds none of the others up.
func TestKeeperLooksUpAtOnce(t *testing.T) {
	network, err := randomNetworkKey()
	if err != nil {
		t.Fatal(err)
	}
	h, err := embed(t.Context(), network, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &Config{Data: t.TempDir()}
	for i := range lookupsAtOnce {
		c.Peers = append(c.Peers, fmt.Sprintf("n%d.example:7700", i))
	}
	k := newKeeper(c, h.Host, slog.New(slog.DiscardHandler), nil)
	var all sync.WaitGroup // done when every name is being looked up
	all.Add(lookupsAtOnce)
	k.lookup = func(_ context.Context, name string) ([]netip.Addr, error) {
		all.Done()
		all.Wait()
		return []netip.Addr{netip.MustParseAddr("127.0.1." + strings.TrimSuffix(name[1:], ".example"))}, nil
	}
	k.names(t.Context(), time.Unix(1000, 0))
	if n := len(h.Snapshot().Dials); n != lookupsAtOnce {
		t.Errorf("%d names are dialled, want %d", n, lookupsAtOnce)
	}
}
