package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"nethost/host"
	"nethost/host/identity"
	"nethost/host/module"
	"nethost/host/module/process"
	"nethost/sdk"
)

// benchKillPlugin kills a plugin's process and calls until it serves again.
func benchKillPlugin(ctx context.Context, env *benchEnv) error {
	spec, err := env.echoSpec(module.Process)
	if err != nil {
		return err
	}
	var took []float64
	for range reloadKills {
		h, stop, err := benchHost(ctx, host.Config{Key: identity.NewKey([32]byte{2}), Modules: []module.Spec{spec},
			Carriers: map[module.Kind]module.Carrier{module.Process: process.New(process.Options{})}})
		if err != nil {
			return err
		}
		serves := func() bool { return callEcho(ctx, h, spec.Subprotocols[0].ID) == nil }
		err = poll(ctx, benchDeadline, "the plugin serves", serves)
		if err == nil {
			var d time.Duration
			if d, err = killAndCall(serves); err == nil {
				took = append(took, ms(d))
			}
		}
		stop()
		if err != nil {
			return err
		}
	}
	slices.Sort(took)
	env.value("kill -9 of a plugin to serving again, median", median(took), "ms", 50)
	env.value("kill -9 of a plugin to serving again, worst", took[len(took)-1], "ms", 0)
	return nil
}

// killAndCall kills the plugin of this process, and gives the time until a new one
// serves.
func killAndCall(serves func() bool) (time.Duration, error) {
	pid, err := childOf(os.Getpid())
	if err != nil {
		return 0, err
	}
	began := time.Now()
	plugin, err := os.FindProcess(pid)
	if err != nil {
		return 0, err
	}
	if err := plugin.Kill(); err != nil {
		return 0, err
	}
	for gone := false; time.Since(began) < benchDeadline; time.Sleep(100 * time.Microsecond) {
		if ok := serves(); ok && gone { // it answers until it is dead
			return time.Since(began), nil
		} else if !ok {
			gone = true
		} else if p, _ := childOf(os.Getpid()); p != 0 && p != pid {
			return time.Since(began), nil
		}
	}
	return 0, errors.New("the plugin does not come back")
}

// callEcho calls the echo module of a node in this process.
func callEcho(ctx context.Context, h *host.Host, id sdk.ID) error {
	s, err := h.Open(ctx, host.Target{ID: id})
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.Write([]byte("x")); err != nil {
		return err
	}
	if err := s.CloseWrite(); err != nil {
		return err
	}
	if b, err := io.ReadAll(s); err != nil || string(b) != "x" {
		return errors.Join(err, fmt.Errorf("echo said %q", b))
	}
	return nil
}

// childOf finds a process whose parent is pid, 0 when there is none.
func childOf(pid int) (int, error) {
	all, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	for _, e := range all {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[0] != "Z" && f[1] == strconv.Itoa(pid) {
			return n, nil
		}
	}
	return 0, nil
}
