package host_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nethost/host"
	"nethost/host/link"
)

// veth is a wire between this machine and a network namespace, with both families of
// addresses, at each end.
type veth struct {
	t                      *testing.T
	ns, dev                string
	here4, here6, at4, at6 netip.Addr
}

// newVeth skips where there is no root or no such thing.
func newVeth(t *testing.T) *veth {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for a network namespace")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip")
	}
	// Networks of this process's own: another run may be under way on this machine.
	pid := os.Getpid()
	net4, net6 := fmt.Sprintf("10.%d.%d.", 100+pid%100, pid/100%250), fmt.Sprintf("fd00:211:%x:%x::", pid>>16, pid&0xffff)
	v := &veth{t: t, ns: fmt.Sprintf("nhd%d", pid), dev: fmt.Sprintf("nhd%dv", pid),
		here4: netip.MustParseAddr(net4 + "1"), at4: netip.MustParseAddr(net4 + "2"),
		here6: netip.MustParseAddr(net6 + "1"), at6: netip.MustParseAddr(net6 + "2")}
	t.Cleanup(func() {
		_ = v.ip("link del DEV") // at once; with its namespace it would go later
		_ = v.ip("netns del NS")
	})
	for _, line := range []string{"netns add NS", "link add DEV type veth peer name peer0 netns NS", "addr add HERE4/30 dev DEV",
		"addr add HERE6/64 dev DEV nodad", "link set DEV up", "-n NS addr add AT4/30 dev peer0",
		"-n NS addr add AT6/64 dev peer0 nodad", "-n NS link set peer0 up", "-n NS link set lo up"} {
		if err := v.ip(line); err != nil {
			t.Skip(err)
		}
	}
	return v
}

func (v *veth) ip(line string) error {
	line = strings.NewReplacer("NS", v.ns, "DEV", v.dev, "HERE4", v.here4.String(), "HERE6", v.here6.String(), "AT4", v.at4.String(), "AT6", v.at6.String()).Replace(line)
	if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", line, err, out)
	}
	return nil
}

// listen makes a socket in the namespace.
func (v *veth) listen(addr netip.AddrPort) *link.UDP {
	v.t.Helper()
	type result struct {
		l   *link.UDP
		err error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		f, err := os.Open("/var/run/netns/" + v.ns)
		if err == nil {
			defer f.Close()
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
		}
		if err != nil {
			made <- result{nil, err}
			return
		}
		l, err := link.ListenUDP(addr, link.UDPOptions{})
		made <- result{l, err}
	}()
	r := <-made
	if r.err != nil {
		v.t.Skipf("no socket in a namespace: %v", r.err)
	}
	return r.l
}

// wantMTU waits until a node sends packets of a size to its neighbours.
func wantMTU(t *testing.T, h *host.Host, sizes ...int) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for {
		var got []int
		good := true
		for i, p := range h.Snapshot().Peers {
			got = append(got, p.MTU)
			good = good && i < len(sizes) && p.MTU == sizes[i]
		}
		if good && len(got) == len(sizes) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("packets of %v bytes, want %v", got, sizes)
		}
	}
}

// TestDualStackNamespaces: whole nodes in two namespaces, over IPv4 and over IPv6 from
// one socket, over a wire of 1500 bytes. The own machine refuses larger probes (P1.6 of
// host/pmtu), also when the wire becomes narrower, which costs no session.
func TestDualStackNamespaces(t *testing.T) {
	v := newVeth(t)
	here, four, six := listenUDP(t, "[::]:0"), v.listen(netip.AddrPortFrom(v.at4, 0)), v.listen(netip.AddrPortFrom(v.at6, 0))
	f := onUDP(t, "four", four)
	s := onUDP(t, "six", six)
	h := onUDP(t, "here", here, host.PeerAddr{Addr: netip.AddrPortFrom(v.at4, four.LocalAddr().Port()), Node: f.Self()})
	wantEcho(t, h, f.Self(), 1<<20)
	wantMTU(t, h, 1472)
	r := onUDP(t, "relay", v.listen(netip.AddrPortFrom(netip.IPv6Unspecified(), 0)), host.PeerAddr{Addr: netip.AddrPortFrom(v.here6, here.LocalAddr().Port()), Node: h.Self()},
		host.PeerAddr{Addr: six.LocalAddr(), Node: s.Self()})
	wantMTU(t, h, 1472, 1452)
	wantEcho(t, h, s.Self(), 1<<20) // over a relay in the other namespace
	if err := v.ip("link set DEV mtu 1400"); err != nil {
		t.Skip(err)
	}
	sessions := h.Snapshot().Counters.Handshakes
	for _, to := range []*host.Host{f, r, s} {
		wantEcho(t, h, to.Self(), 1<<20)
	}
	if c := h.Snapshot().Counters; c.Handshakes != sessions {
		t.Errorf("%d handshakes more", c.Handshakes-sessions)
	}
	for _, p := range h.Snapshot().Peers {
		if p.Direct && p.MTU > 1372 {
			t.Errorf("packets of %d bytes on a wire of 1400", p.MTU)
		}
	}
}
