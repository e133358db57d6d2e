package host_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nethost/host/identity"
	"nethost/host/kernel"
	"nethost/host/link"
	"nethost/host/wire"
	"nethost/sdk"
)

// TestRulesAndKeysLive: rules and network keys change under a host that runs; its
// sessions stay.
func TestRulesAndKeysLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{t: t, sw: link.NewSwitch()}
		r := m.add("r")
		a := m.add("a", r.addr)
		b := m.add("b", r.addr)
		time.Sleep(2 * time.Second)
		wantCall(t, a.Host, b.Self(), 0x0007, "hello")

		hop, err := a.TraceHop(t.Context(), r.Self(), b.Self())
		if err != nil || hop.Verdict != wire.TraceNext || hop.Next != b.Self() {
			t.Errorf("trace: %+v, %v", hop, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.TraceHop(ctx, sdk.NodeID{1}, b.Self()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("trace of nobody: %v", err)
		}

		before := r.Snapshot().Counters.Handshakes
		r.SetPolicy(kernel.Policy{Killed: true})
		if _, err := call(a.Host, r.Self(), 0x0007, "x"); err == nil || !strings.Contains(err.Error(), "kill-switch is on") {
			t.Errorf("with the kill-switch on: %v", err)
		}
		if s := r.Snapshot(); s.Relay || !s.Killed {
			t.Errorf("relay %v, killed %v", s.Relay, s.Killed)
		}
		r.SetPolicy(kernel.Policy{})
		wantCall(t, a.Host, r.Self(), 0x0007, "again")
		if n := r.Snapshot().Counters.Handshakes; n != before {
			t.Errorf("%d handshakes, %d before", n, before)
		}

		next := identity.NetworkKey{9}
		old := identity.NetworkKey(sha256.Sum256([]byte("net")))
		for _, h := range []member{a, b, r} {
			if !h.SetNetworkKeys(old, next) || h.SetNetworkKeys(old, next) {
				t.Error("keys did not change, or changed twice")
			}
		}
		for _, h := range []member{a, b, r} {
			h.SetNetworkKeys(next, identity.NetworkKey{})
		}
		time.Sleep(40 * time.Second)
		if first, second, gone := r.KeyUse(); first != 2 || second+gone != 0 {
			t.Errorf("sessions under the first key %d, the second %d, none %d", first, second, gone)
		}
		wantCall(t, a.Host, b.Self(), 0x0007, "under the new key")
		for _, h := range []member{a, b, r} {
			h.stop()
		}
		if _, err := a.TraceHop(t.Context(), r.Self(), b.Self()); err == nil {
			t.Error("a trace on a host that ended")
		}
	})
}
