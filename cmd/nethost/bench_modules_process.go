package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"time"

	"nethost/host/module"
	"nethost/host/module/process"
	"nethost/sdk"
	"nethost/sdk/abi"
)

// processRounds is how often the three ways to another process take turns, so that a
// busy moment of the machine meets all of them.
const processRounds = 5

// benchProcess measures the data socket of a plugin beside a bare socket, and beside
// go-plugin's own way: a gRPC call for each message.
func benchProcess(ctx context.Context, env *benchEnv) error {
	const size, many = 1024, 64
	spec, err := env.echoSpec(module.Process)
	if err != nil {
		return err
	}
	spec.Log, spec.Post = func(sdk.LogLevel, string) {}, func([]byte) {}
	inst, err := process.New(process.Options{}).Open(ctx, spec)
	if err != nil {
		return err
	}
	defer inst.Close()
	run := &batcher{inst: inst}
	if err := run.start(); err != nil {
		return err
	}
	bare, hangUp, err := bareTrip(ctx, env, abi.HeaderSize+2*abi.RecordSize+size)
	if err != nil {
		return err
	}
	defer hangUp()
	peer := exec.CommandContext(ctx, env.exe, "bench", "peer", "unary", "-")
	peer.SysProcAttr = dieWithParent()
	call, stop, err := process.OpenUnary(peer)
	if err != nil {
		return fmt.Errorf("go-plugin: %w", err)
	}
	defer stop()
	payload := make([]byte, size)
	ways := []func() error{
		bare,
		func() error { return run.trip(payload, 1) },
		func() error { return run.trip(payload, many) },
		func() error { return call(ctx, payload) },
	}
	us := make([][]float64, len(ways))
	for range processRounds {
		for i, way := range ways {
			v, err := roundTrips(way)
			if err != nil {
				return err
			}
			us[i] = append(us[i], v)
		}
	}
	env.ratio("echo as a process, 1024 B, batch 1, round trip", median(us[1]), "us", "bare unix socket", median(us[0]), 1.5)
	env.reaches(fmt.Sprintf("echo as a process, 1024 B, batch %d", many), many*1e6/median(us[2]), "packets/s", "go-plugin gRPC unary, sequential", 1e6/median(us[3]), 30)
	return nil
}

// trip is one batch of n messages and its effects.
func (b *batcher) trip(payload []byte, n int) error {
	b.seq++
	b.w.ResetEvents(b.seq, time.Duration(b.seq), 0)
	for range n {
		b.w.Event(sdk.Event{Kind: sdk.EvMessage, Peer: 1, ID: 7, Version: sdk.Version{Major: 1}, Payload: payload})
	}
	b.w.Event(sdk.Event{Kind: sdk.EvFlush})
	out, err := b.inst.Deliver(b.w.Bytes())
	if err == nil && len(out) < n*(abi.RecordSize+len(payload)) {
		err = fmt.Errorf("%d events of %d bytes gave %d bytes of effects", n, len(payload), len(out))
	}
	return err
}

// bareTrip starts a process that mirrors a unix socket. once sends as many bytes and
// waits for them.
func bareTrip(ctx context.Context, env *benchEnv, bytes int) (once func() error, hangUp func(), err error) {
	path := filepath.Join(env.dir, "bare-trip")
	lis, err := net.Listen("unix", path)
	if err != nil {
		return nil, nil, err
	}
	defer lis.Close()
	child := exec.CommandContext(ctx, env.exe, "bench", "peer", "unix", path)
	child.SysProcAttr = dieWithParent()
	if err := child.Start(); err != nil {
		return nil, nil, err
	}
	conn, err := lis.Accept()
	if err != nil {
		_ = child.Process.Kill()
		_ = child.Wait()
		return nil, nil, err
	}
	buf := make([]byte, bytes)
	return func() error {
			if _, err := conn.Write(buf); err != nil {
				return err
			}
			_, err := io.ReadFull(conn, buf)
			return err
		}, func() {
			conn.Close()
			_ = child.Wait()
		}, nil
}
