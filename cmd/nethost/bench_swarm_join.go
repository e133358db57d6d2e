package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"nethost/sdk/client"
)

// benchSwarmJoin measures a join by invite between two processes on loopback: from
// the command `join --run` on a machine that has nothing to the answer of its first
// call to the inviter.
func benchSwarmJoin(ctx context.Context, env *benchEnv) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	a, b := filepath.Join(env.dir, "join-a"), filepath.Join(env.dir, "join-b")
	start := func(args ...string) (stop func(), log *bytes.Buffer, err error) {
		log = new(bytes.Buffer)
		cmd := exec.CommandContext(ctx, env.exe, args...)
		cmd.Stderr = log
		if err := cmd.Start(); err != nil {
			return nil, nil, err
		}
		return func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}, log, nil
	}
	if _, err := initNode(a, ""); err != nil {
		return err
	}
	stop, log, err := start("run", "--data", a, "--listen", loopback.String(), "--builtin", "echo")
	if err != nil {
		return err
	}
	defer stop()
	inviter := client.New(filepath.Join(a, "api.sock"))
	var node, text string
	if err := poll(ctx, 20*time.Second, "the inviter was up", func() bool {
		st, err := inviter.Status(ctx)
		if err == nil {
			node = st.Node
		}
		return err == nil
	}); err != nil {
		stop()
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(log.String()))
	}
	inv, err := inviter.CreateInvite(ctx, time.Hour, 1, nil)
	if err != nil {
		return err
	}
	text = inv.Text

	began := time.Now()
	stopB, log, err := start("join", text, "--data", b, "--run", "--listen", loopback.String(), "--builtin", "echo")
	if err != nil {
		return err
	}
	defer stopB()
	joiner := client.New(filepath.Join(b, "api.sock"))
	if err := poll(ctx, 20*time.Second, "the first call was answered", func() bool {
		answer, err := joiner.Call(ctx, client.Target{Node: node, Module: "echo", Timeout: 5 * time.Second}, []byte("hello"))
		return err == nil && string(answer) == "hello"
	}); err != nil {
		stopB()
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(log.String()))
	}
	env.value("join by invite to first answer", time.Since(began).Seconds(), "s", 2)
	return nil
}
