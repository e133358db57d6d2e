package kernel

import (
	"testing"
	"time"

	"nethost/sdk"
)

// TestSendMany: A4.6 of sdk/abi: one effect, and each peer of the list gets the
// message once; one that is gone costs the others nothing.
func TestSendMany(t *testing.T) {
	l := newLab(t, 3)
	to := []sdk.Peer{l.handle(1, 0), 9999, l.handle(1, 2)}
	l.do(1, 0, sdk.Effect{Kind: sdk.OpSendMany, ID: idChat, Payload: sdk.AppendSendMany(nil, to, []byte("all"))})
	l.run(50 * time.Millisecond)
	for _, i := range []int{0, 2} {
		if got := l.take(i, 0, sdk.EvMessage); len(got) != 1 || string(got[0].Payload) != "all" {
			t.Errorf("node %d got %d messages", i, len(got))
		}
	}
	if n := l.k[1].counters.Drops[DropNoPeer]; n != 1 {
		t.Errorf("%d messages to a peer that is gone were counted", n)
	}
}
