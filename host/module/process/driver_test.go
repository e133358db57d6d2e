package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"lukechampine.com/blake3"

	"nethost/host/module"
	"nethost/sdk"
	"nethost/sdk/abi"
)

// mute is a control service without Describe, as another language might have it.
type mute struct {
	goplugin.NetRPCUnsupportedPlugin
}

func (*mute) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error { return nil }
func (*mute) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

var self = sync.OnceValues(func() (string, [32]byte) {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	return path, blake3.Sum256(b)
})

// lines collects a module's log.
type lines struct {
	mu   sync.Mutex
	cond *sync.Cond
	all  []string
}

func newLines() *lines {
	l := new(lines)
	l.cond = sync.NewCond(&l.mu)
	return l
}

func (l *lines) add(level sdk.LogLevel, s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, fmt.Sprintf("%d %s", level, s))
	l.cond.Broadcast()
}

// await waits until a line holds text.
func (l *lines) await(t *testing.T, text string) {
	t.Helper()
	late := time.AfterFunc(10*time.Second, func() { l.add(99, "(the test waited long enough)") })
	defer late.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := 0; ; i++ {
		for i >= len(l.all) {
			l.cond.Wait()
		}
		if strings.Contains(l.all[i], text) {
			return
		}
		if strings.HasPrefix(l.all[i], "99 ") {
			t.Fatalf("no line with %q in %q", text, l.all)
		}
	}
}

// shortDir is a temporary directory whose path has room for unix sockets.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "p")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// spec is a package whose program is this test binary in a mode.
func spec(t testing.TB, mode string) module.Spec {
	t.Helper()
	path, sum := self()
	dir := t.TempDir()
	link := filepath.Join(dir, mode)
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	return module.Spec{Name: mode, Kind: module.Process, Dir: dir, Artifact: link, Digest: sum, Subprotocols: testSubprotocols}
}

type driver struct {
	t  testing.TB
	in module.Instance
	w  abi.Writer
	n  uint64
}

func open(t testing.TB, o Options, s module.Spec) *driver {
	t.Helper()
	in, err := New(o).Open(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return &driver{t: t, in: in}
}

func (d *driver) deliver(payload string) ([]sdk.Effect, error) {
	d.n++
	d.w.ResetEvents(d.n, 0, 0)
	d.w.Event(sdk.Event{Kind: sdk.EvMessage, Peer: 1, ID: 0xf001, Payload: []byte(payload)})
	d.w.Event(sdk.Event{Kind: sdk.EvFlush})
	b, err := d.in.Deliver(d.w.Bytes())
	if err != nil || b == nil {
		return nil, err
	}
	_, r, err := abi.Parse(b, sdk.MaxEffectBytes)
	var out []sdk.Effect
	for err == nil {
		e, ok := r.NextEffect()
		if !ok {
			break
		}
		out = append(out, e)
	}
	return out, errors.Join(err, r.Err())
}

func (d *driver) ask(payload string) string {
	d.t.Helper()
	effects, err := d.deliver(payload)
	if err != nil || len(effects) != 1 {
		d.t.Fatalf("%.40q: %v, %v", payload, effects, err)
	}
	return string(effects[0].Payload)
}
