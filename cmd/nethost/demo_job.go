package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// demoStatus is what the demo reads of a node.
type demoStatus struct {
	Forwarded      uint64 `json:"forwarded,string"`
	ForwardedBytes uint64 `json:"forwarded_bytes,string"`
	Modules        int    `json:"modules"`
}

// mainJob streams a real file from A through a relay to B's echo and back, kills
// that relay in the middle, and compares.
func (d *demo) mainJob(ctx context.Context, a, b *demoNode) error {
	d.title("the main job: nethost call --peer B echo < FILE > OUT, and the relay dies on the way")
	file, size, err := d.input(ctx)
	if err != nil {
		return err
	}
	relay, err := d.relayTowards(ctx, a, b)
	if err != nil {
		return err
	}
	d.say("FILE is %.1f MB; the way to B goes through %s", float64(size)/1e6, relay.name)

	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	outPath := filepath.Join(d.dir, "out")
	outFile, err := os.Create(outPath)
	if err != nil {
		return err
	}
	defer outFile.Close()
	w := &gapWriter{w: outFile, at: size * 3 / 10}
	w.reached = func() {
		var st demoStatus
		if err := d.nethostJSON(ctx, relay, &st, "status"); err == nil {
			d.say("%s has forwarded %d packets, %.1f MB, and has %d modules", relay.name, st.Forwarded, float64(st.ForwardedBytes)/1e6, st.Modules)
		}
		relay.cmd.Process.Kill()
		w.killed = time.Now()
		d.say("kill -9 %s after %.1f MB had come back", relay.name, float64(w.n)/1e6)
	}
	cmd := exec.CommandContext(ctx, d.exe, "call", "--data", a.data, "--peer", b.id, "echo")
	var errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, w, &errOut
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(errOut.String()))
	}
	took := time.Since(began)
	if w.killed.IsZero() {
		return errors.New("the transfer ended before the relay could be killed")
	}
	if err := sameFile(file, outPath); err != nil {
		return err
	}
	other, err := d.relayTowards(ctx, a, b)
	if err != nil {
		return err
	}
	d.say("longest gap in what came back after the kill: %.0f ms; it went on through %s", w.gap.Seconds()*1e3, other.name)
	d.say("cmp FILE OUT: identical, %.1f MB there and back in %.1f s (%.0f MB/s each way)", float64(size)/1e6, took.Seconds(), float64(size)/1e6/took.Seconds())
	return nil
}

// relayTowards tells which relay A's packets to B go through.
func (d *demo) relayTowards(ctx context.Context, a, b *demoNode) (*demoNode, error) {
	var list struct {
		Peers []struct{ Node, Via string }
	}
	if err := d.nethostJSON(ctx, a, &list, "peers"); err != nil {
		return nil, err
	}
	for _, p := range list.Peers {
		for _, n := range d.nodes {
			if p.Node == b.id && n.id == p.Via && n != b {
				return n, nil
			}
		}
	}
	return nil, errors.New("A does not reach B through a relay")
}

// input gives the file to stream: the user's, or a tar of Go's own source.
func (d *demo) input(ctx context.Context) (string, int64, error) {
	path := d.file
	if path == "" {
		root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
		if err != nil {
			return "", 0, fmt.Errorf("go env GOROOT: %w: name a file with --file", err)
		}
		path = filepath.Join(d.dir, "src.tar")
		if err := tarDir(path, filepath.Join(strings.TrimSpace(string(root)), "src")); err != nil {
			return "", 0, err
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", 0, err
	}
	return path, info.Size(), nil
}

// tarDir writes the regular files below dir into a tar.
func tarDir(path, dir string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := tar.NewWriter(f)
	err = filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		if err := w.WriteHeader(&tar.Header{Name: filepath.ToSlash(rel), Mode: 0o644, Size: info.Size()}); err != nil {
			return err
		}
		src, err := os.Open(name)
		if err != nil {
			return err
		}
		defer src.Close()
		_, err = io.Copy(w, src)
		return err
	})
	return errors.Join(err, w.Close(), f.Close())
}

// sameFile compares two files byte by byte.
func sameFile(a, b string) error {
	fa, err := os.Open(a)
	if err != nil {
		return err
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if err != nil {
		return err
	}
	defer fb.Close()
	ba, bb := make([]byte, 1<<20), make([]byte, 1<<20)
	for off := int64(0); ; {
		na, erra := io.ReadFull(fa, ba)
		nb, errb := io.ReadFull(fb, bb)
		if na != nb || !bytes.Equal(ba[:na], bb[:nb]) {
			return fmt.Errorf("what came back differs from what was sent in the MiB at %d", off)
		}
		off += int64(na)
		if erra != nil || errb != nil {
			return nil
		}
	}
}

// gapWriter passes bytes on, calls reached once after at bytes, and notes the
// longest pause from then on.
type gapWriter struct {
	w       io.Writer
	n, at   int64
	reached func()
	killed  time.Time
	last    time.Time
	gap     time.Duration
}

func (g *gapWriter) Write(p []byte) (int, error) {
	now := time.Now()
	if !g.killed.IsZero() {
		g.gap = max(g.gap, now.Sub(g.last))
	}
	n, err := g.w.Write(p)
	if g.n += int64(n); g.killed.IsZero() && g.n >= g.at {
		g.reached()
	}
	g.last = time.Now()
	return n, err
}
