package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"nethost/host"
	"nethost/host/identity"
	"nethost/host/link"
	"nethost/host/module"
	"nethost/host/module/inproc"
	"nethost/host/module/process"
	"nethost/host/module/wasm"
	"nethost/sdk"
	"nethost/subprotocols/builtin"
)

// guestCarrier is one for all hosts, so that a guest is compiled once.
var guestCarrier = sync.OnceValues(func() (*wasm.Carrier, error) { return wasm.New("") })

// testHost runs a host with the packages of a plugin directory until the test
// ends.
func testHost(t *testing.T, name, plugins string, peers ...host.PeerAddr) (*host.Host, host.PeerAddr) {
	t.Helper()
	opts := module.Options{Unsigned: true, Core: coreModules, Builtin: builtin.All()}
	var specs []module.Spec
	if plugins != "" {
		var rejected []module.Rejection
		var err error
		if specs, rejected, err = module.Load(plugins, opts); err != nil || len(rejected) > 0 {
			t.Fatal(err, rejected)
		}
	}
	specs = append(specs, module.BuiltinSpec("echo", builtin.All()["echo"]().Describe(), opts))
	guests, err := guestCarrier()
	if err != nil {
		t.Fatal(err)
	}
	l, err := link.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"), link.UDPOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(host.Config{Key: identity.NewKey(sha256.Sum256([]byte(name))), NetworkKey: sha256.Sum256([]byte(t.Name())), Incarnation: 1,
		Link: l, Peers: peers, Modules: specs, Carriers: map[module.Kind]module.Carrier{module.Builtin: inproc.New(builtin.All()),
			module.Wasm: guests, module.Process: process.New(process.Options{})}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return h, host.PeerAddr{Addr: l.LocalAddr(), Node: h.Self()}
}

func testCall(h *host.Host, to sdk.NodeID, id sdk.ID, text string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s, err := h.Open(ctx, host.Target{Node: to, ID: id})
	if err != nil {
		return "", err
	}
	defer s.Close()
	if _, err := s.Write([]byte(text)); err != nil {
		return "", err
	}
	s.CloseWrite()
	b, err := io.ReadAll(s)
	return string(b), err
}

// eventually calls until the answer is want.
func eventually(t *testing.T, h *host.Host, to sdk.NodeID, id sdk.ID, text, want string) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		got, err := testCall(h, to, id, text)
		if err == nil && strings.Contains(got, want) {
			return time.Since(began)
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("call of %v: %q, %v; want %q", id, got, err, want)
		}
		runtime.Gosched()
	}
}

// children lists the processes of this one whose program holds name.
func children(t *testing.T, name string) []int {
	t.Helper()
	var pids []int
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		rest := string(b[strings.LastIndexByte(string(b), ')')+1:])
		var state string
		var ppid int
		if fmt.Sscan(rest, &state, &ppid); ppid != os.Getpid() || state == "Z" {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); strings.Contains(string(cmdline), name) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestCarriersFail: a plugin killed with SIGKILL, a spinning guest and a trapping
// guest come back at once; the sessions and the other modules do not notice.
func TestCarriersFail(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("finds the plugin's process through /proc")
	}
	plugins := t.TempDir()
	for name, src := range map[string]string{"hostinfo": "../../plugins/hostinfo", "spin": "testdata/spin"} {
		if code := run([]string{"module", "build", "--quiet", src, "--out", filepath.Join(plugins, name)}, strings.NewReader(""), os.Stdout, os.Stderr); code != 0 {
			t.Fatalf("building %s: exit code %d", name, code)
		}
	}
	b, addr := testHost(t, "b", plugins)
	eventually(t, b, sdk.NodeID{}, 0x1600, "hello", "hello") // compiled: the other host finds it so
	a, _ := testHost(t, "a", plugins, addr)
	eventually(t, a, b.Self(), 0x1002, "", `"cores"`)
	eventually(t, a, b.Self(), 0x1600, "hello", "hello")
	before := a.Snapshot().Counters.Handshakes
	events, cancel := a.Watch()
	defer func() {
		cancel()
		for e := range events {
			if t.Failed() {
				t.Logf("A saw %s %s", e.Kind, e.Text)
			}
		}
	}()

	// Both hosts live in this process, so both plugins die.
	pids := children(t, "hostinfo")
	if len(pids) != 2 {
		t.Fatalf("hostinfo runs as %v, want one process a host", pids)
	}
	for _, pid := range pids {
		if p, err := os.FindProcess(pid); err != nil || p.Kill() != nil {
			t.Fatal(err)
		}
	}
	// Nobody calls it, and it comes back all the same.
	killed := time.Now()
	for restarted := uint64(0); restarted == 0; {
		for _, m := range b.Snapshot().Modules {
			if m.Name == "hostinfo" && m.State == module.StateReady {
				restarted = m.Restarts
			}
		}
		if time.Since(killed) > time.Minute {
			t.Fatal("hostinfo was not restarted")
		}
		runtime.Gosched()
	}
	t.Logf("hostinfo is ready again %v after kill -9", time.Since(killed))
	t.Logf("hostinfo answers after another %v", eventually(t, a, b.Self(), 0x1002, "", `"cores"`))
	for _, how := range []string{"spin", "trap"} {
		_, err := testCall(a, b.Self(), 0x1600, how)
		var e *host.StreamError
		if !errors.As(err, &e) || e.Code != sdk.ModuleRestarted {
			t.Errorf("%s: %v, want a reset with %v", how, err, sdk.ModuleRestarted)
		}
		t.Logf("the guest answers %v after %s", eventually(t, a, b.Self(), 0x1600, "hello", "hello"), how)
	}
	eventually(t, a, b.Self(), 7, "others live", "others live")
	if n := a.Snapshot().Counters.Handshakes; n != before {
		t.Errorf("%d handshakes instead of %d: a session did not survive", n, before)
	}
	for _, m := range b.Snapshot().Modules {
		want := map[string]uint64{"hostinfo": 1, "spin": 2, "echo": 0}[m.Name]
		if m.Restarts != want || m.State != module.StateReady {
			t.Errorf("%s: %d restarts, %v; want %d: %s", m.Name, m.Restarts, m.State, want, m.LastError)
		}
	}
}
