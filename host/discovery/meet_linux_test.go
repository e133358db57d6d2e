package discovery

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// namespace runs f on a thread in a network namespace of that name.
func namespace(t *testing.T, name string, f func()) {
	t.Helper()
	fd, err := unix.Open("/var/run/netns/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip(err)
	}
	defer unix.Close(fd)
	entered := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Setns(fd, unix.CLONE_NEWNET)
		entered <- err
		if err == nil {
			f()
		}
	}()
	if err := <-entered; err != nil {
		t.Skip(err)
	}
}

// Two nodes on one wire meet; one of another network on the same wire meets nobody.
// Where there is no interface, one line says so.
func TestTwoNodesMeet(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	pid := os.Getpid()
	names := [3]string{fmt.Sprintf("nhm%da", pid), fmt.Sprintf("nhm%db", pid), fmt.Sprintf("nhm%dc", pid)}
	t.Cleanup(func() {
		for _, n := range names {
			_ = exec.Command("ip", "netns", "del", n).Run()
		}
	})
	for _, line := range []string{"netns add A", "netns add B", "netns add C", "-n A link add v0 type veth peer name v0 netns B",
		"-n A addr add 10.99.0.1/24 dev v0", "-n A addr add fd00:99::1/64 dev v0 nodad", "-n A link set v0 up",
		"-n B addr add 10.99.0.2/24 dev v0", "-n B addr add fd00:99::2/64 dev v0 nodad", "-n B link set v0 up"} {
		args := strings.Fields(strings.NewReplacer("A", names[0], "B", names[1], "C", names[2]).Replace(line))
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Skipf("ip %s: %v: %s", line, err, out)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	found := make(chan string, 64)
	ended := make(chan bool, 4)
	var log bytes.Buffer
	alone := &runner{instance: "i", Config: Config{Listen: netip.MustParseAddrPort("0.0.0.0:7700"), Log: slog.New(slog.NewTextHandler(&log, nil)),
		Marks: func(i string, p uint16) []string { return []string{mark("ours", i, p)} }}}
	namespace(t, names[2], func() {
		for range 3 {
			alone.round(ctx)
		}
		alone.close()
		ended <- true
	})
	<-ended
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "discovery.mdns = false") {
		t.Errorf("%d lines, want one that says how to end it:\n%s", n, log.String())
	}
	node := func(ns, who, listen, key string) {
		namespace(t, ns, func() {
			Run(ctx, Config{Listen: netip.MustParseAddrPort(listen),
				Marks: func(i string, p uint16) []string { return []string{mark(key, i, p)} },
				Found: func(a []netip.AddrPort) {
					select {
					case found <- who + " finds " + fmt.Sprint(a):
					default:
					}
				}})
			ended <- true
		})
	}
	node(names[0], "a", "0.0.0.0:7700", "ours")
	node(names[1], "b", "[::]:7701", "ours")
	node(names[1], "x", "[::]:7702", "theirs")
	want := map[string]bool{"a finds [10.99.0.2:7701]": true, "b finds [10.99.0.1:7700]": true}
	for len(want) > 0 {
		select {
		case f := <-found:
			if strings.HasPrefix(f, "x") || strings.Contains(f, "7702") {
				t.Fatalf("across networks: %s", f)
			}
			delete(want, f)
		case <-ctx.Done():
			t.Fatalf("not found within 30 s: %v", want)
		}
	}
	cancel()
	for range 3 {
		<-ended
	}
}
