package host_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"nethost/host"
	"nethost/host/identity"
	"nethost/host/link"
	"nethost/host/module"
	"nethost/host/module/inproc"
	"nethost/sdk"
)

const idParrot sdk.ID = 0x1600

// parrot answers what a stream brings with its release in front, and counts messages.
type parrot struct {
	release string
	seen    *atomic.Int64
	starts  func(string, sdk.Start)
}

func (p *parrot) Describe() sdk.Descriptor { return sdk.Descriptor{Name: "parrot", Release: p.release} }

func (p *parrot) Handle(env *sdk.Env, ev *sdk.Event) {
	switch ev.Kind {
	case sdk.EvStart:
		s, _ := sdk.ParseStart(ev.Payload)
		p.starts(p.release, s)
	case sdk.EvMessage:
		p.seen.Add(1)
	case sdk.EvStreamData:
		var answer []byte
		if len(ev.Payload) > 0 {
			answer = append([]byte(p.release+":"), ev.Payload...)
		}
		env.Write(ev.Ref, answer, ev.FIN())
	case sdk.EvDrain:
		env.Drained()
	}
}

// nest is a node whose parrot can be replaced.
type nest struct {
	*host.Host
	addr   host.PeerAddr
	stop   func()
	seen   atomic.Int64
	mu     sync.Mutex
	starts []string
}

// hatch starts a node with the first parrot.
func hatch(t *testing.T, sw *link.Switch, n byte, v sdk.Version, required bool, peers ...host.PeerAddr) *nest {
	t.Helper()
	b := &nest{}
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, 0, n}), 7700)
	l, err := sw.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	factories := map[string]func() sdk.Module{}
	for _, r := range []string{"1", "2", "3"} {
		factories["parrot"+r] = func() sdk.Module {
			return &parrot{r, &b.seen, func(r string, s sdk.Start) {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.starts = append(b.starts, fmt.Sprintf("%s:%d<%s", r, s.Reason, s.Previous))
			}}
		}
	}
	b.Host, err = host.New(host.Config{Key: identity.NewKey(sha256.Sum256([]byte{n})), NetworkKey: sha256.Sum256([]byte("net")), Incarnation: 1,
		Link: l, Peers: peers, Carriers: map[module.Kind]module.Carrier{module.Builtin: byRelease{inproc.New(factories)}},
		Modules: []module.Spec{parrotSpec("1", v, required)}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	b.addr = host.PeerAddr{Addr: addr, Node: b.Self()}
	b.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("node %d ended with %v", n, err)
		}
	}
	return b
}

// byRelease opens the factory of a release: every version has a name of its own there.
type byRelease struct{ module.Carrier }

func (c byRelease) Open(ctx context.Context, s module.Spec) (module.Instance, error) {
	s.Name += s.Release
	return c.Carrier.Open(ctx, s)
}

func parrotSpec(release string, v sdk.Version, required bool) module.Spec {
	s := module.Spec{Name: "parrot", Release: release, Kind: module.Builtin, Limits: module.DefaultLimits,
		Subprotocols: []sdk.Subprotocol{{ID: idParrot, Version: v, MinPeer: sdk.Version{Major: v.Major}, Required: required}}}
	return s
}

func (b *nest) sync(t *testing.T, specs ...module.Spec) []module.Reloaded {
	t.Helper()
	return b.Modules().Sync(t.Context(), specs, nil, nil)
}

// TestHotReload (host/module L3): a version takes over while a peer calls. No call
// fails, the stream that was open stays with the version that has it, the session
// survives, and the old version ends when its stream does.
func TestHotReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sw := link.NewSwitch()
		v := sdk.Version{Major: 1}
		b := hatch(t, sw, 1, v, false)
		a := hatch(t, sw, 2, v, false, b.addr)
		time.Sleep(time.Second)
		handshakes := a.Snapshot().Counters.Handshakes
		long, err := a.Open(t.Context(), host.Target{Node: b.Self(), ID: idParrot})
		if err != nil {
			t.Fatal(err)
		}
		said := func(want string) {
			t.Helper()
			buf := make([]byte, 100)
			long.Write([]byte("x"))
			if n, err := long.Read(buf); string(buf[:n]) != want {
				t.Errorf("the long stream says %q, %v; want %q", buf[:n], err, want)
			}
		}
		said("1:x")
		stop := make(chan struct{})
		var calls sync.WaitGroup
		for range 4 {
			calls.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					got, err := call(a.Host, b.Self(), idParrot, "y")
					if err != nil || !strings.HasSuffix(got, ":y") {
						t.Errorf("call %d: %q, %v", n, got, err)
						return
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		time.Sleep(50 * time.Millisecond)
		for i, release := range []string{"2", "3"} {
			c := b.sync(t, parrotSpec(release, v, false))
			if len(c) != 1 || c[0].What != "upgraded" || c[0].Err != nil {
				t.Fatalf("%+v", c)
			}
			time.Sleep(50 * time.Millisecond)
			if got, err := call(a.Host, b.Self(), idParrot, "z"); err != nil || got != release+":z" {
				t.Errorf("after upgrade %d: %q, %v", i+1, got, err)
			}
			said("1:x")
		}
		close(stop)
		calls.Wait()
		if i := b.Modules().List()[0]; i.Finishing != 1 || i.Release != "3" || i.State != module.StateReady {
			t.Errorf("the version with the stream must go on, the other not: %+v", i)
		}
		long.CloseWrite()
		time.Sleep(time.Second)
		if i := b.Modules().List()[0]; i.Finishing != 0 {
			t.Errorf("the old version outlived its last stream: %+v", i)
		}
		b.mu.Lock()
		if got := strings.Join(b.starts, " "); got != "1:1< 2:3<1 3:3<2" {
			t.Errorf("starts: %s", got)
		}
		b.mu.Unlock()
		if n := a.Snapshot().Counters.Handshakes; n != handshakes {
			t.Errorf("%d handshakes instead of %d: the session did not survive", n, handshakes)
		}
		// Removed: the id leaves the manifest of the running session. And back.
		b.sync(t)
		time.Sleep(time.Second)
		if _, err := call(a.Host, b.Self(), idParrot, "y"); code(err) != int(sdk.UnsupportedID) {
			t.Errorf("a module that was removed: %v", err)
		}
		b.sync(t, parrotSpec("2", v, false))
		time.Sleep(time.Second)
		if got, err := call(a.Host, b.Self(), idParrot, "y"); got != "2:y" {
			t.Errorf("a module that was added: %q, %v", got, err)
		}
		a.stop()
		b.stop()
	})
}

// TestRequiredSeenByBoth: an upgrade to a major that a peer does not have, and
// requires, ends the session; both sides list the same reason, and come together
// again when it is mended (registry R3.4).
func TestRequiredSeenByBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sw := link.NewSwitch()
		b := hatch(t, sw, 1, sdk.Version{Major: 1}, false)
		a := hatch(t, sw, 2, sdk.Version{Major: 1}, true, b.addr)
		time.Sleep(time.Second)
		wantPeers := func(n int) {
			t.Helper()
			if got := len(a.Snapshot().Peers); got != n {
				t.Errorf("%d peers, want %d", got, n)
			}
		}
		wantPeers(1)
		// B goes to a major that A does not have, and A requires it.
		b.sync(t, parrotSpec("2", sdk.Version{Major: 2}, false))
		time.Sleep(3 * time.Second)
		whys := map[string]bool{}
		for _, n := range []*nest{a, b} {
			s := n.Snapshot()
			if len(s.Refused) != 1 {
				t.Fatalf("%s lists %+v", n.Self().Short(), s.Refused)
			}
			whys[s.Refused[0].Why] = true
		}
		for why := range whys {
			if len(whys) != 1 || !strings.Contains(why, "0x1600 is required by "+a.Self().Short()+" and was not agreed: ") ||
				!strings.Contains(why, b.Self().Short()+" has 2.0") {
				t.Errorf("%v", whys)
			}
		}
		if s := a.Snapshot(); len(s.Dials) != 1 || !strings.Contains(s.Dials[0].Error, "is required by") {
			t.Errorf("the address says %+v", s.Dials)
		}
		if _, err := call(a.Host, b.Self(), idParrot, "y"); code(err) != int(sdk.UnsupportedID) {
			t.Errorf("a call to a refused peer: %v", err)
		}
		b.sync(t, parrotSpec("3", sdk.Version{Major: 1}, false))
		time.Sleep(20 * time.Second)
		wantPeers(1)
		if got, err := call(a.Host, b.Self(), idParrot, "y"); got != "3:y" {
			t.Errorf("after it was mended: %q, %v", got, err)
		}
		if s := a.Snapshot(); len(s.Refused) != 0 {
			t.Errorf("still refused: %+v", s.Refused)
		}
		a.stop()
		b.stop()
	})
}
