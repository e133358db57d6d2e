package module_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"nethost/host/module"
	"nethost/host/module/inproc"
	"nethost/sdk"
)

// priced is a carrier whose batches cost what the test says.
type priced struct {
	module.Carrier
	cost time.Duration
}

type pricedInstance struct {
	module.Instance
	cost time.Duration
}

func (c priced) Open(ctx context.Context, s module.Spec) (module.Instance, error) {
	i, err := c.Carrier.Open(ctx, s)
	return pricedInstance{i, c.cost}, err
}

func (i pricedInstance) Used() time.Duration { return i.cost }

// TestDebtIsScheduledLater: a module over its soft budget runs later, loses
// nothing that must not be dropped, and can be stopped meanwhile.
func TestDebtIsScheduledLater(t *testing.T) {
	both(t, func(t *testing.T, inline bool) {
		h := &fakeHost{began: time.Now()}
		var at []time.Duration
		handle := func(e *sdk.Env, ev *sdk.Event) {
			switch ev.Kind {
			case sdk.EvMessage:
				at = append(at, time.Since(h.began))
			case sdk.EvDrain:
				e.Drained()
			}
		}
		builtin := inproc.New(map[string]func() sdk.Module{"t": func() sdk.Module { return mod{handle} }})
		m := module.NewManager(module.Config{Host: h, Carriers: map[module.Kind]module.Carrier{module.Builtin: priced{builtin, 10 * time.Millisecond}},
			Clock: func() time.Duration { return time.Since(h.began) }, Log: slog.New(slog.DiscardHandler), Entropy: rand.Reader})
		m.Add(module.Spec{Name: "t", Kind: module.Builtin, Limits: module.Limits{CPU: time.Millisecond, CPUMax: 10 * time.Millisecond, Mailbox: 10, Inline: inline}})
		m.Start(t.Context())
		synctest.Wait()
		// Start took all savings: the first message leaves a debt of 9 ms.
		for range 4 {
			deliver(h, m, sdk.Event{Kind: sdk.EvMessage, Peer: 5})
			synctest.Wait()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		want := []time.Duration{0, 9 * time.Millisecond}
		if len(at) != 4 || at[0] != want[0] || at[1] != want[1] || at[3] != want[1] {
			t.Errorf("messages ran at %v: one at once, three in a batch after 9 ms", at)
		}
		u := m.List()[0].Usage
		if u.Late != 1 || u.Batches != 3 || u.CPU != 30*time.Millisecond || len(u.Peers) != 1 || u.Peers[0].CPU != 20*time.Millisecond {
			t.Errorf("%+v", u)
		}
		deliver(h, m, sdk.Event{Kind: sdk.EvMessage, Peer: 5})
		if d := closeIn(m); d > 100*time.Millisecond {
			t.Errorf("close took %v", d)
		}
	})
}
