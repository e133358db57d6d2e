package measure

import (
	"testing"
	"time"

	"nethost/host/kernel"
)

// TestGaps: traffic moves away from a relay that fails, by whichever way it fails,
// in the times that the failure detector and the end-to-end evidence promise.
func TestGaps(t *testing.T) {
	for _, c := range []struct {
		ring    bool
		profile kernel.Profile
		fault   Fault
		most    time.Duration
		report  bool
	}{
		{false, kernel.ProfileDefault, Silent, 50 * time.Millisecond, false},
		{false, kernel.ProfileFast, Silent, 50 * time.Millisecond, false},
		{false, kernel.ProfileDefault, Grey, 200 * time.Millisecond, true},
		{true, kernel.ProfileDefault, Silent, 100 * time.Millisecond, false},
		{true, kernel.ProfileDefault, Grey, 250 * time.Millisecond, true},
		{false, kernel.ProfileFast, Cut, 100 * time.Millisecond, false},
	} {
		run := func() (GapResult, error) { return Diamond(1, c.profile, c.fault) }
		if c.ring {
			run = func() (GapResult, error) { return Ring(1, 8, c.profile, c.fault) }
		}
		r, err := run()
		if err != nil {
			t.Fatal(err)
		}
		if r.Longest > c.most || r.Got < 2500 || (r.Reported > 0) != c.report {
			t.Errorf("%v, ring %v, %v: gap %v, %d came, %d hops reported", c.fault, c.ring, c.profile, r.Longest, r.Got, r.Reported)
		}
	}
}

// TestStarved: own health is what keeps starved nodes from killing healthy ones.
func TestStarved(t *testing.T) {
	cfg := StarvedConfig{Nodes: 10, Starved: 3, Seed: 1, Span: 15 * time.Second}
	on, err := Starved(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Blind = true
	off, err := Starved(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if on.FalseDead != 0 || off.FalseDead == 0 || on.AtHealthy+off.AtHealthy != 0 {
		t.Errorf("false deaths: %d with own health, %d without", on.FalseDead, off.FalseDead)
	}
	if on.Undetected != 0 || len(on.Detection) != 6 || on.Percentile(0.99) > 3*time.Second {
		t.Errorf("the real death: %v, not seen by %d", on.Detection, on.Undetected)
	}
}

// TestScale: a node of a small mesh spends little, and what it spends is counted.
func TestScale(t *testing.T) {
	r, err := Scale(10, 4, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if r.Reachable == 0 || r.Reachable > time.Second || r.Steady.Bytes < 100 || r.Steady.Bytes > 3000 || r.Steady.MostBytes < r.Steady.Bytes {
		t.Errorf("%+v", r)
	}
}
