package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"nethost/host"
)

const (
	memorySessions = 200
	mebibyte       = 1 << 20
)

// benchMemory measures what a node holds: idle, with idle sessions, and above that
// while it gets far more to relay than it can.
func benchMemory(ctx context.Context, env *benchEnv) error {
	if err := idleMemory(ctx, env); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f, far, err := relayNode(ctx, env)
	if err != nil {
		return err
	}
	defer far.stop()
	defer f.link.Close()
	if err := f.warm(); err != nil {
		return err
	}
	if _, err := f.feed(relayFor, relayWindow); err != nil {
		return err
	}
	steady, err := memoryOf(far.pid, "VmHWM")
	if err != nil {
		return err
	}
	if _, err := f.feed(relayFor, math.MaxUint64>>1); err != nil { // as fast as the socket takes it
		return err
	}
	peak, err := memoryOf(far.pid, "VmHWM")
	if err != nil {
		return err
	}
	env.value("memory, overload above steady relaying", (peak-steady)/mebibyte, "MiB", 16)
	return nil
}

func idleMemory(ctx context.Context, env *benchEnv) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	network, err := randomNetworkKey()
	if err != nil {
		return err
	}
	far, err := startChild(ctx, env, network)
	if err != nil {
		return err
	}
	defer far.stop()
	idle, err := memoryOf(far.pid, "VmRSS")
	if err != nil {
		return err
	}
	env.value("memory, idle node", idle/mebibyte, "MiB", 25)
	var before float64
	for i := range memorySessions + 1 {
		a, err := embed(ctx, network, []host.PeerAddr{far.peer})
		if err != nil {
			return err
		}
		for began := time.Now(); len(a.Snapshot().Peers) == 0 || !a.Snapshot().Peers[0].Agreed; time.Sleep(time.Millisecond) {
			if time.Since(began) > 20*time.Second {
				return fmt.Errorf("session %d was not agreed within twenty seconds", i+1)
			}
		}
		if i == 0 { // what the first one brings along is not a session's
			if before, err = settledMemory(far.pid); err != nil {
				return err
			}
		}
	}
	after, err := settledMemory(far.pid)
	if err != nil {
		return err
	}
	env.value(fmt.Sprintf("memory, one of %d idle sessions", memorySessions), (after-before)/memorySessions/1024, "KiB", 8)
	return nil
}

// settledMemory waits until a process has given back what it only used for a
// moment: two minutes at most, until the figure has not fallen for 25 s.
func settledMemory(pid int) (float64, error) {
	least, at := math.Inf(1), time.Now()
	for began := time.Now(); time.Since(at) < 25*time.Second && time.Since(began) < 2*time.Minute; time.Sleep(500 * time.Millisecond) {
		n, err := memoryOf(pid, "VmRSS")
		if err != nil {
			return 0, err
		}
		if n < least-64*1024 {
			least, at = n, time.Now()
		}
	}
	return least, nil
}

// memoryOf reads a figure of /proc/PID/status, in bytes.
func memoryOf(pid int, key string) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("memory of the node: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		var kb float64
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			if _, err := fmt.Sscan(rest, &kb); err != nil {
				return 0, err
			}
			return kb * 1024, nil
		}
	}
	return 0, fmt.Errorf("memory of the node: no %s in /proc/%d/status", key, pid)
}
