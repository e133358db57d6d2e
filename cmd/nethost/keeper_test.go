package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
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
