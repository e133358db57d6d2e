package host

import (
	"context"
	"net/netip"
	"time"

	"nethost/host/identity"
	"nethost/host/kernel"
	"nethost/host/wire"
	"nethost/sdk"
)

// SetPolicy puts new rules in force at once: see kernel.Policy.
func (h *Host) SetPolicy(p kernel.Policy) {
	h.step(func(in *kernel.Input) { *in = kernel.Input{Kind: kernel.InPolicy, Policy: &p} })
}

// Policy gives the rules in force.
func (h *Host) Policy() kernel.Policy {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.k.Policy()
}

// SetNetworkKeys puts other network keys in force; a zero second is none. Sessions
// stay where both ends have one of them, and end within 30 s where not. It reports
// whether they differ from those before.
func (h *Host) SetNetworkKeys(first, second identity.NetworkKey) bool {
	keys := [2]identity.NetworkKey{first, second}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.k.HasKeys(keys) {
		return false
	}
	h.in = kernel.Input{Kind: kernel.InKeys, Keys: keys}
	h.stepLocked()
	return true
}

// Strangers lists addresses that tried to reach us under another network key of
// late.
func (h *Host) Strangers(within time.Duration) []netip.AddrPort {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.k.Strangers(max(h.Now()-within, 1))
}

// KeyUse counts the sessions under the first network key, the second one, and one
// that is not current any more.
func (h *Host) KeyUse() (first, second, gone int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.k.KeyUse()
}

// NetworkKey is the first network key in force.
func (h *Host) NetworkKey() identity.NetworkKey {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.k.NetworkKey()
}

// HopAnswer is what a node on the way said.
type HopAnswer struct {
	wire.TraceAnswer
	RTT time.Duration // from the question to its answer
}

// traceEvery is how often an unanswered question is asked again: longer than most
// round trips, and half as often as nodes answer.
const traceEvery = 200 * time.Millisecond

// TraceHop asks a node for its next hop towards dest, again and again until it
// answers or ctx ends.
func (h *Host) TraceHop(ctx context.Context, node, dest sdk.NodeID) (HopAnswer, error) {
	c := make(chan kernel.Hop, 1)
	h.mu.Lock()
	if h.down {
		h.mu.Unlock()
		return HopAnswer{}, ErrClosed
	}
	h.next++
	token := h.next
	h.traces[token] = c
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.traces, token)
		h.mu.Unlock()
	}()
	tick := time.NewTicker(traceEvery)
	defer tick.Stop()
	for {
		asked := h.Now()
		h.step(func(in *kernel.Input) { *in = kernel.Input{Kind: kernel.InTrace, Node: node, Dest: dest, N: token} })
		for waits := true; waits; {
			select {
			case a := <-c:
				if a.From == node { // anybody may answer what he was never asked
					return HopAnswer{a.TraceAnswer, h.Now() - asked}, nil
				}
			case <-tick.C:
				waits = false
			case <-ctx.Done():
				return HopAnswer{}, ctx.Err()
			}
		}
	}
}

// hop hands an answer to whoever waits for it. The caller holds h.mu.
func (h *Host) hop(a kernel.Hop) {
	if c := h.traces[a.Token]; c != nil {
		select {
		case c <- a:
		default: // it came twice
		}
	}
}
