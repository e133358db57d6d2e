package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// make gives a node its data directory. The first one makes the network key.
func (d *demo) make(ctx context.Context, name string) error {
	n := &demoNode{name: name, data: filepath.Join(d.dir, name)}
	a := []string{"init"}
	if len(d.nodes) > 0 {
		a = append(a, "--network-key", filepath.Join(d.nodes[0].data, "network.key"))
	}
	id, err := d.nethost(ctx, n, a...)
	if err != nil {
		return err
	}
	n.id = strings.TrimSpace(id)
	d.nodes = append(d.nodes, n)
	return nil
}

// configure writes the node's config.toml.
func (d *demo) configure(n *demoNode, text string) error {
	return os.WriteFile(filepath.Join(n.data, "config.toml"), []byte(text), 0o644)
}

// launch starts a node on a free port and waits until so many of its modules are
// ready and so many peers are there.
func (d *demo) launch(ctx context.Context, n *demoNode, modules, peers int, extra ...string) error {
	log, err := os.Create(filepath.Join(n.data, "log"))
	if err != nil {
		return err
	}
	a := append([]string{"run", "--data", n.data, "--listen", "127.0.0.1:0"}, extra...)
	n.log, n.cmd, n.done = log, exec.Command(d.exe, append(a, "--dev")...), make(chan struct{})
	n.cmd.Env = append(os.Environ(), d.env...)
	n.cmd.Stdout, n.cmd.Stderr = log, log
	n.cmd.SysProcAttr = dieWithParent()
	if err := n.cmd.Start(); err != nil {
		return err
	}
	go func() {
		n.cmd.Wait()
		log.Close()
		close(n.done)
	}()
	var st struct{ Listen string }
	if err := d.nethostJSON(ctx, n, &st, "status", "--wait", "1", "--within", "15s"); err != nil {
		return d.withLog(n, err)
	}
	n.addr = st.Listen
	for verb, count := range map[string]int{"modules": modules, "peers": peers} {
		if _, err := d.nethost(ctx, n, verb, "--wait", strconv.Itoa(count), "--within", "30s"); err != nil {
			return d.withLog(n, err)
		}
	}
	return nil
}

func (d *demo) withLog(n *demoNode, err error) error {
	b, _ := os.ReadFile(filepath.Join(n.data, "log"))
	if len(b) > 2000 {
		b = b[len(b)-2000:]
	}
	return fmt.Errorf("node %s: %w\n%s", n.name, err, b)
}

// nethost runs a verb against a node and gives what it printed.
func (d *demo) nethost(ctx context.Context, n *demoNode, a ...string) (string, error) {
	cmd := exec.CommandContext(ctx, d.exe, append(a, "--data", n.data)...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("nethost %s: %w: %s", strings.Join(a, " "), err, strings.TrimSpace(errOut.String()))
	}
	return out.String(), nil
}

func (d *demo) nethostJSON(ctx context.Context, n *demoNode, v any, a ...string) error {
	out, err := d.nethost(ctx, n, append(a, "--json")...)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(out), v)
}

// stop ends a node politely, and not politely when it takes too long.
func (d *demo) stop(n *demoNode) {
	if n.cmd == nil {
		return
	}
	n.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-n.done:
	case <-time.After(8 * time.Second):
		n.cmd.Process.Kill()
		<-n.done
	}
	n.cmd = nil
}

func (d *demo) stopAll() {
	for _, n := range d.nodes {
		if n.cmd != nil {
			n.cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	for _, n := range d.nodes {
		d.stop(n)
	}
}
