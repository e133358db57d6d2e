package process

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"nethost/sdk"
	"nethost/sdk/abi"
	"nethost/sdk/plugin"
	"nethost/sdk/plugin/frame"
)

// The price of a batch: BenchmarkRoundTrip divided by BenchmarkBareSocket should
// stay at or below 2.

func BenchmarkRoundTrip(b *testing.B) {
	d := open(b, Options{}, spec(b, "good"))
	payload := make([]byte, 1024)
	seq := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		seq++
		d.w.ResetEvents(seq, 0, 0)
		d.w.Event(sdk.Event{Kind: sdk.EvMessage, Peer: 1, Payload: payload})
		d.w.Event(sdk.Event{Kind: sdk.EvFlush})
		if _, err := d.in.Deliver(d.w.Bytes()); err != nil {
			b.Fatal(err)
		}
	}
}

// 64 messages of 1 KiB a batch: the time is that of the batch.
func BenchmarkRoundTrip64(b *testing.B) {
	d := open(b, Options{}, spec(b, "good"))
	payload := make([]byte, 1024)
	seq := uint64(0)
	b.SetBytes(64 << 10)
	b.ReportAllocs()
	for b.Loop() {
		seq++
		d.w.ResetEvents(seq, 0, 0)
		for range 64 {
			d.w.Event(sdk.Event{Kind: sdk.EvMessage, Peer: 1, Payload: payload})
		}
		d.w.Event(sdk.Event{Kind: sdk.EvFlush})
		if _, err := d.in.Deliver(d.w.Bytes()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBareSocket is 1 KiB over a unix socket to another process and back.
func BenchmarkBareSocket(b *testing.B) {
	path, _ := self()
	dir := shortDir(b)
	socket := filepath.Join(dir, "data")
	l, err := net.Listen("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	cmd := &exec.Cmd{Path: path, Args: []string{"mirror"}, Env: append(os.Environ(), plugin.EnvDataSocket+"="+socket)}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 1024)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(conn, buf); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	conn.Close()
	cmd.Wait()
}

// BenchmarkInFlight is what more than one batch on the data socket could gain: frames of
// one message of 1 KiB, each answered by a program that does nothing, with as many under
// way. The time is that of one batch.
func BenchmarkInFlight(b *testing.B) {
	for _, depth := range []int{1, 4} {
		b.Run(strconv.Itoa(depth), func(b *testing.B) {
			path, _ := self()
			dir := shortDir(b)
			socket := filepath.Join(dir, "data")
			l, err := net.Listen("unix", socket)
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			cmd := &exec.Cmd{Path: path, Args: []string{"plain"}, Env: append(os.Environ(), plugin.EnvDataSocket+"="+socket, plugin.CookieKey+"="+plugin.CookieValue)}
			if err := cmd.Start(); err != nil {
				b.Fatal(err)
			}
			conn, err := l.Accept()
			if err != nil {
				b.Fatal(err)
			}
			in, out := frame.NewReader(conn, sdk.MaxEffectBytes), frame.NewWriter(conn)
			var w abi.Writer
			payload := make([]byte, 1024)
			sent := 0
			for done := range b.N {
				for ; sent < done+depth && sent < b.N; sent++ {
					w.ResetEvents(uint64(sent+1), 0, 0)
					w.Event(sdk.Event{Kind: sdk.EvMessage, Peer: 1, Payload: payload})
					w.Event(sdk.Event{Kind: sdk.EvFlush})
					if err := out.Write(w.Bytes()); err != nil {
						b.Fatal(err)
					}
				}
				if _, err := in.Next(); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			conn.Close()
			cmd.Wait()
		})
	}
}
