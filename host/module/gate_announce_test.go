package module

import (
	"slices"
	"testing"

	"nethost/sdk"
)

// TestGateAnnounceAmongOthers: what is announced stays what it is, whatever effects
// stand behind it.
func TestGateAnnounceAmongOthers(t *testing.T) {
	g := newGate(Grants{Announce: []string{"chan:"}})
	g.canAnnounce = true
	batch := effects(1, func(e *sdk.Env) {
		e.Log(sdk.LogInfo, "before")
		e.Announce([]string{"chan:a"})
		for range 3 {
			e.Write(2, []byte("later"), false)
		}
	})
	if err := g.check(batch, 1); err != nil || g.tags == nil || len(g.net) != 3 {
		t.Fatalf("%v, tags %v, %d network effects", err, g.tags, len(g.net))
	}
	if tags, err := sdk.ParseTags(g.tags.Payload); err != nil || !slices.Equal(tags, []string{"chan:a"}) {
		t.Errorf("announced are %v, %v", tags, err)
	}
}
