package main

import (
	"strings"
	"testing"
	"time"

	"nethost/host"
	"nethost/host/kernel"
	"nethost/host/liveness"
	"nethost/host/module"
	"nethost/registry"
	"nethost/sdk"
	v1 "nethost/sdk/client/nethostv1"
)

// What a snapshot shows to be wrong is found, under the code that scripts look for,
// with a cure; what is well is not.
func TestDoctorFinds(t *testing.T) {
	peer, relay := sdk.NodeID{1}, sdk.NodeID{2}
	well := kernel.PeerStatus{Node: peer, Direct: true, State: liveness.Alive, Via: peer}
	with := func(change func(*kernel.PeerStatus)) host.Snapshot {
		p := well
		change(&p)
		return host.Snapshot{Peers: []kernel.PeerStatus{p}}
	}
	for code, c := range map[string]struct {
		s    host.Snapshot
		want string
	}{
		findTwin: {host.Snapshot{Peers: []kernel.PeerStatus{well}, Swarm: kernel.Swarm{Twin: true}}, "another node runs under this node's key"},
		findGrey: {with(func(p *kernel.PeerStatus) {
			p.Grey = []kernel.GreyStatus{{Hop: relay, Since: time.Second, Until: 30 * time.Second}}
		}), relay.Short() + " answers, and does not deliver what is for " + peer.Short()},
		findBarred: {with(func(p *kernel.PeerStatus) { p.Barred, p.Demerits, p.LastDemerit = true, 42, "forged" }), "is refused: 42.0 demerits, for forged"},
		findNotNegotiated: {with(func(p *kernel.PeerStatus) {
			p.Outcomes = []registry.Outcome{{ID: 0x1001, State: registry.StateMismatch}}
		}), "no common version of 0x1001"},
		findModule: {host.Snapshot{Peers: []kernel.PeerStatus{well}, Modules: []module.Info{{Name: "m", State: module.StateQuarantined, Restarts: 4, LastError: "trap"}}},
			"module m is quarantined after 5 crashes: trap"},
		"": {host.Snapshot{Peers: []kernel.PeerStatus{well}}, ""},
	} {
		x := &examination{s: c.s, c: &control{plugins: &catalogue{}}, r: &v1.DoctorResponse{}}
		x.node()
		x.peers()
		x.modules()
		if code == "" {
			if len(x.r.Findings) > 0 {
				t.Errorf("a node that is well: %v", x.r.Findings)
			}
			continue
		}
		if len(x.r.Findings) != 1 || x.r.Findings[0].Code != code || !strings.Contains(x.r.Findings[0].Text, c.want) || x.r.Findings[0].Cure == "" {
			t.Errorf("%s: found %v", code, x.r.Findings)
		}
	}
}
