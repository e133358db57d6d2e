package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"nethost/host"
	"nethost/host/kernel"
	"nethost/subprotocols/builtin/echo"
)

// liveStreams breaks the relay under a reliable stream that goes to B and back.
func liveStreams(ctx context.Context, env *benchEnv) error {
	for _, c := range []struct {
		name  string
		fault liveFault
	}{{"kill -9 of the relay", faultKill}, {"SIGSTOP of the relay", faultFreeze}, {"grey relay", faultGrey}} {
		r, err := liveStream(ctx, env, c.fault)
		if err != nil {
			return fmt.Errorf("stream, %s: %w", c.name, err)
		}
		name := "live: stream there and back, " + c.name + ": "
		env.value(name+"bytes lost or wrong", float64(r.sent-r.right), "bytes", 0.5) // none
		env.value(name+"application errors", float64(r.errors), "errors", 0.5)       // none
		env.value(name+"bytes carried", float64(r.right)/1e6, "MB", 0)
		env.value(name+"longest pause", millis(r.pause), "ms", 0)
	}
	return nil
}

// streamResult is what a fault did to a stream.
type streamResult struct {
	sent, right int // bytes written, and come back as they were
	errors      int
	pause       time.Duration // the longest without a byte at the reader
}

const (
	streamChunk = 8 << 10 // written each millisecond
	streamFor   = 2 * time.Second
)

func liveStream(ctx context.Context, env *benchEnv, fault liveFault) (r streamResult, err error) {
	d, err := newDiamond(ctx, env, kernel.ProfileDefault, fault == faultGrey, false)
	if err != nil {
		return r, err
	}
	defer d.close()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	s, err := d.a.Open(ctx, host.Target{Node: d.b.Self(), ID: echo.ID})
	if err != nil {
		return r, err
	}
	defer s.Close()
	stuck := context.AfterFunc(ctx, func() { s.Close() })
	defer stuck()
	wrote := make(chan error, 1)
	go func() { wrote <- r.write(ctx, s) }()
	done := make(chan error, 1)
	hit := time.AfterFunc(streamFor/2, func() {
		i, err := d.onPath()
		if err == nil {
			err = d.hit(i, fault)
		}
		done <- err
	})
	failed := r.read(s)
	if hit.Stop() {
		return r, fmt.Errorf("the stream ended before the fault: %v", failed)
	}
	if err := <-done; err != nil {
		return r, err
	}
	if err := <-wrote; err != nil || failed != nil {
		r.errors++
		fmt.Fprintln(os.Stderr, "nethost: stream:", errors.Join(err, failed))
	}
	return r, nil
}

func streamBytes() *rand.ChaCha8 { return rand.NewChaCha8([32]byte{7}) }

// write writes at a steady pace and ends the stream.
func (r *streamResult) write(ctx context.Context, s *host.Stream) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	source, chunk := streamBytes(), make([]byte, streamChunk)
	for range int(streamFor / time.Millisecond) {
		source.Read(chunk)
		n, err := s.Write(chunk)
		if r.sent += n; err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return s.CloseWrite()
}

// read compares what comes with what was sent.
func (r *streamResult) read(s *host.Stream) error {
	source, buf, want := streamBytes(), make([]byte, 64<<10), make([]byte, 64<<10)
	for last := time.Now(); ; last = time.Now() {
		n, err := s.Read(buf)
		r.pause = max(r.pause, time.Since(last))
		source.Read(want[:n])
		if bytes.Equal(buf[:n], want[:n]) {
			r.right += n
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}
