package module

import (
	"context"
	"fmt"
	"time"

	"nethost/sdk"
)

// upgrade lets a version take over: prepare, start, hand the state over, swap, drain
// the old one (L3). Until the swap nothing that serves has changed. The caller holds
// ops.
func (m *Manager) upgrade(ctx context.Context, u *unit, spec Spec) (pause time.Duration, err error) {
	old := u.cur
	run := spec
	if err := m.files.keepArtifact(&run); err != nil {
		return 0, m.notTaken(u, spec, err)
	}
	m.mu.Lock()
	n := m.newVersion(u, run)
	m.publish()
	m.mu.Unlock()
	n.turnTo(begin)
	opening, cancel := context.WithTimeoutCause(m.ctx, openWithin, fmt.Errorf("it was not ready within %v", openWithin))
	stop := context.AfterFunc(ctx, cancel)
	inst, life, err := n.open(opening)
	stop()
	cancel()
	if err == nil {
		if old.phase() == StateReady {
			pause, err = m.handOver(old, n, inst, life)
		} else {
			err = m.succeed(ctx, old, n, inst)
		}
	}
	if err != nil {
		n.bury(inst)
		m.free(n)
		m.files.forgetArtifacts(u.name, u.cur.spec)
		return 0, m.notTaken(u, spec, err)
	}
	m.mu.Lock()
	u.wanted, u.waiting, u.widens, u.lastErr, u.refused = spec, nil, nil, "", [32]byte{}
	m.mu.Unlock()
	m.files.forgetArtifacts(u.name, run, old.spec)
	n.tell(sdk.LogInfo, "module was upgraded", "from", old.spec.Release, "to", spec.Release, "pause", pause)
	return pause, nil
}

// notTaken notes why a version does not serve.
func (m *Manager) notTaken(u *unit, spec Spec, err error) error {
	err = fmt.Errorf("module %s %s: %w (%w)", u.name, spec.Release, err, errServing)
	m.mu.Lock()
	u.lastErr = err.Error()
	m.mu.Unlock()
	u.cur.tell(sdk.LogError, "new version was not taken", "error", err)
	return err
}

// handOver lets n take over from old, which serves. Both stand still meanwhile: old
// between two batches, with nothing left to do, so that the state it leaves is
// complete; n with what it needs to begin.
func (m *Manager) handOver(old, n *supervisor, inst Instance, life uint64) (pause time.Duration, err error) {
	old.run.Lock()
	for range quietTurns {
		if res, _ := old.turn(false); res != ran {
			break
		}
	}
	if old.inst == nil || old.fault != nil || old.held {
		old.run.Unlock()
		old.poke()
		return 0, fmt.Errorf("version %s crashed just now: try again", old.spec.Release)
	}
	began := m.cfg.Clock()
	n.run.Lock()
	if err := n.prime(inst, life, sdk.StartUpgrade, old.spec.Release); err != nil {
		n.run.Unlock()
		old.run.Unlock()
		old.poke()
		return 0, err
	}
	old.gate.frozen = true
	m.mu.Lock()
	u := n.u
	u.cur, u.back = n, &backup{old.spec, m.cfg.Clock() + rollbackWithin}
	u.old++
	m.publish()
	m.mu.Unlock()
	n.arrive(func() {
		m.cfg.Host.Swap(old.slot, n.slot, func() []sdk.Ref { return old.box.moveTo(n.box, n.spec.speaks) })
	})
	pause = m.cfg.Clock() - began
	old.stop(upgradeDrain)
	n.run.Unlock()
	old.run.Unlock()
	go n.supervise(m.ctx, &living{inst})
	n.poke()
	m.RunInline()
	return pause, nil
}

// succeed puts n in the place of a version that does not serve. The instance has
// shown that n can be opened; n begins with another one, when the state is free.
func (m *Manager) succeed(ctx context.Context, old, n *supervisor, inst Instance) error {
	n.bury(inst)
	old.stop(0)
	select {
	case <-old.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	n.reason, n.previous = sdk.StartUpgrade, old.spec.Release
	m.mu.Lock()
	n.u.cur, n.u.back = n, nil
	m.publish()
	m.mu.Unlock()
	go n.supervise(m.ctx, nil)
	n.wait(ctx)
	m.free(old)
	return nil
}

// speaks reports whether a version takes what was agreed as an id at a version.
func (s *Spec) speaks(id sdk.ID, v sdk.Version) bool {
	for _, p := range s.Subprotocols {
		if p.ID == id && p.Version.Major == v.Major && v.Compare(p.MinPeer) >= 0 && v.Compare(p.Version) <= 0 {
			return true
		}
	}
	return false
}
