package host

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"nethost/host/internal/ring"
	"nethost/host/link"
)

// narrowLink makes a network of 20 Mbit/s, which takes a second or so to drain what a
// socket holds, between this machine and an address in
// a namespace of its own.
func narrowLink(t *testing.T) (here, there netip.Addr) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for a network namespace")
	}
	for _, tool := range []string{"ip", "tc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs " + tool)
		}
	}
	ns, dev := fmt.Sprintf("nh%d", os.Getpid()), fmt.Sprintf("nh%dv", os.Getpid())
	run := func(line string) {
		if out, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
			t.Skipf("%s: %v: %s", line, err, out)
		}
	}
	run("ip netns add " + ns)
	t.Cleanup(func() { exec.Command("ip", "netns", "del", ns).Run() })
	r := strings.NewReplacer("NS", ns, "DEV", dev)
	for _, line := range []string{"ip link add DEV type veth peer name peer0 netns NS", "ip addr add 10.211.7.1/30 dev DEV", "ip link set DEV up",
		"ip -n NS addr add 10.211.7.2/30 dev peer0", "ip -n NS link set peer0 up", "tc qdisc add dev DEV root tbf rate 20mbit burst 32kb limit 8mb"} {
		run(r.Replace(line))
	}
	return netip.MustParseAddr("10.211.7.1"), netip.MustParseAddr("10.211.7.2")
}

// A network that is busy is not waited for: what cannot go waits in the outbox, and
// not for long.
func TestBusyNetwork(t *testing.T) {
	here, there := narrowLink(t)
	l, err := link.ListenUDP(netip.AddrPortFrom(here, 0), link.UDPOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h := &Host{start: time.Now(), outbox: newOutbox(l)}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { defer close(done); h.write(stop) }()
	defer func() {
		close(stop)
		l.Close()
		<-done
	}()
	train := []link.Train{{Addr: netip.AddrPortFrom(there, 9), Bytes: make([]byte, 40*1200), Segment: 1200}}
	sent, slowest := 0, time.Duration(0)
	end := time.Now().Add(20 * time.Second)
	for ; h.outbox.stats().Overflow == 0; sent++ {
		began := time.Now()
		h.send(train)
		slowest = max(slowest, time.Since(began))
		if time.Now().After(end) {
			t.Fatalf("after %d trains: %+v", sent, h.outbox.stats())
		}
	}
	s := h.outbox.stats()
	if !h.outbox.active.Load() || s.Bytes == 0 || s.Bytes > ring.DefaultBytes {
		t.Errorf("%+v", s)
	}
	// Nothing more comes: what waits is too old when the network has room again.
	for h.outbox.active.Load() {
		if time.Now().After(end) {
			t.Fatalf("still waiting: %+v", h.outbox.stats())
		}
		runtime.Gosched()
	}
	if s = h.outbox.stats(); s.Late == 0 || s.Bytes != 0 {
		t.Errorf("afterwards: %+v", s)
	}
	t.Logf("%d trains, the slowest call took %v: %+v", sent, slowest, s)
	if slowest > 300*time.Millisecond { // who waits for room in the socket waits longer
		t.Errorf("a call waited %v for the network", slowest)
	}
}
