package host_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"nethost/host"
	"nethost/host/identity"
	"nethost/host/kernel"
	"nethost/host/link"
	"nethost/host/module"
	"nethost/host/module/inproc"
	"nethost/sdk"
	"nethost/subprotocols/builtin/echo"
)

// mortal is an echo that panics when a stream brings "die...", and leaves its
// stream hanging otherwise until FIN.
type mortal struct{ sdk.Module }

func (m mortal) Describe() sdk.Descriptor {
	d := m.Module.Describe()
	d.Name = "mortal"
	d.Subprotocols = []sdk.Subprotocol{{ID: 0x1500, Version: sdk.Version{Major: 1}, MinPeer: sdk.Version{Major: 1}}}
	return d
}

func (m mortal) Handle(env *sdk.Env, ev *sdk.Event) {
	if ev.Kind == sdk.EvStreamData && bytes.HasPrefix(ev.Payload, []byte("die")) {
		panic("as asked")
	}
	m.Module.Handle(env, ev)
}

// mesh is hosts over links in memory, inside a synctest bubble.
type mesh struct {
	t  *testing.T
	sw *link.Switch
	n  byte
}

// member is a running host.
type member struct {
	*host.Host
	addr host.PeerAddr
	stop func()
}

func (m *mesh) add(name string, peers ...host.PeerAddr) member {
	m.t.Helper()
	m.n++
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, m.n}), 7700)
	l, err := m.sw.Listen(addr)
	if err != nil {
		m.t.Fatal(err)
	}
	factories := map[string]func() sdk.Module{"echo": echo.New, "mortal": func() sdk.Module { return mortal{echo.New()} }}
	var specs []module.Spec
	for _, name := range []string{"echo", "mortal"} {
		specs = append(specs, module.BuiltinSpec(name, factories[name]().Describe(), module.Options{}))
	}
	h, err := host.New(host.Config{Key: identity.NewKey(sha256.Sum256([]byte(name))), NetworkKey: sha256.Sum256([]byte("net")), Incarnation: 1,
		Link: l, Peers: peers, Carriers: map[module.Kind]module.Carrier{module.Builtin: inproc.New(factories)}, Modules: specs})
	if err != nil {
		m.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	stop := func() {
		cancel()
		if err := <-done; err != nil {
			m.t.Errorf("%s ended with %v", name, err)
		}
		done <- nil
	}
	return member{h, host.PeerAddr{Addr: addr, Node: h.Self()}, stop}
}

// call sends text on a stream, ends it and reads the answer.
func call(h *host.Host, to sdk.NodeID, id sdk.ID, text string) (string, error) {
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

func wantCall(t *testing.T, h *host.Host, to sdk.NodeID, id sdk.ID, text string) {
	t.Helper()
	if got, err := call(h, to, id, text); err != nil || got != text {
		t.Errorf("call: %q, %v; want %q", got, err, text)
	}
}

// code is the sdk.Code of a stream's failure, or -1.
func code(err error) int {
	var e *host.StreamError
	if errors.As(err, &e) {
		return int(e.Code)
	}
	return -1
}

func TestRelayedCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{t: t, sw: link.NewSwitch()}
		r := m.add("r")
		a, b := m.add("a", r.addr), m.add("b", r.addr)
		time.Sleep(2 * time.Second) // virtual
		wantCall(t, a.Host, b.Self(), 7, "hello")
		wantCall(t, a.Host, sdk.NodeID{}, 7, "to myself")
		if f := r.Snapshot().Counters.Forwarded; f == 0 {
			t.Error("the relay forwarded nothing")
		}
		if _, err := call(a.Host, b.Self(), 0x4321, "x"); code(err) != int(sdk.UnsupportedID) {
			t.Errorf("an id nobody has: %v", err)
		}
		var nobody sdk.NodeID
		copy(nobody[:], bytes.Repeat([]byte{9}, 32))
		if _, err := call(a.Host, nobody, 7, "x"); code(err) != int(sdk.NoRoute) {
			t.Errorf("a node nobody knows: %v", err)
		}
		for _, x := range []member{a, b, r} {
			x.stop()
		}
	})
}

// TestRelayDies ends the relay on the path in the middle of a transfer.
func TestRelayDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{t: t, sw: link.NewSwitch()}
		r, s := m.add("r"), m.add("s")
		a, b := m.add("a", r.addr, s.addr), m.add("b", r.addr, s.addr)
		time.Sleep(2 * time.Second)
		st, err := a.Open(t.Context(), host.Target{Node: b.Self(), ID: 7})
		if err != nil {
			t.Fatal(err)
		}
		const size = 4 << 20
		data := bytes.Repeat([]byte("0123456789abcdef"), size/16)
		go func() {
			st.Write(data)
			st.CloseWrite()
		}()
		first := make([]byte, size/4)
		if _, err := io.ReadFull(st, first); err != nil {
			t.Fatal(err)
		}
		via := map[sdk.NodeID]member{r.Self(): r, s.Self(): s}[pathTo(a.Host, b.Self())]
		// Silent death: its link drops everything, and it says no goodbye.
		m.sw.SetFilter(func(from, to netip.AddrPort, _ []byte) bool { return from != via.addr.Addr && to != via.addr.Addr })
		rest, err := io.ReadAll(st)
		if err != nil || !bytes.Equal(append(first, rest...), data) {
			t.Errorf("%d bytes came back: %v", len(first)+len(rest), err)
		}
		if now := pathTo(a.Host, b.Self()); now == via.Self() {
			t.Error("the path still goes through the dead relay")
		}
		for _, x := range []member{a, b, r, s} {
			x.stop()
		}
	})
}

func pathTo(h *host.Host, to sdk.NodeID) sdk.NodeID {
	for _, p := range h.Snapshot().Peers {
		if p.Node == to {
			return p.Via
		}
	}
	return sdk.NodeID{}
}

// TestModuleCrash: a panic resets the module's streams and nothing else.
func TestModuleCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{t: t, sw: link.NewSwitch()}
		b := m.add("b")
		a := m.add("a", b.addr)
		time.Sleep(time.Second)
		before := a.Snapshot().Counters.Handshakes
		open, err := a.Open(t.Context(), host.Target{Node: b.Self(), ID: 0x1500})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := call(a.Host, b.Self(), 0x1500, "die"); code(err) != int(sdk.ModuleRestarted) {
			t.Errorf("the call that killed it: %v", err)
		}
		if _, err := io.ReadAll(open); code(err) != int(sdk.ModuleRestarted) {
			t.Errorf("another stream of the dead instance: %v", err)
		}
		wantCall(t, a.Host, b.Self(), 7, "others live")
		synctest.Wait() // until then the answer is MODULE_RESTARTED
		wantCall(t, a.Host, b.Self(), 0x1500, "and it is back")
		if n := a.Snapshot().Counters.Handshakes; n != before {
			t.Errorf("%d handshakes instead of %d: the session did not survive", n, before)
		}
		for _, info := range b.Snapshot().Modules {
			if info.Name == "mortal" && (info.Restarts != 1 || info.State != module.StateReady || info.LastError == "") {
				t.Errorf("listing says %+v", info)
			}
		}
		// Five crashes in five minutes: quarantine, and the id leaves the manifest.
		for i := range 4 {
			call(a.Host, b.Self(), 0x1500, fmt.Sprintf("die of %d", i))
			time.Sleep(5 * time.Second)
		}
		if _, err := call(a.Host, b.Self(), 0x1500, "x"); code(err) != int(sdk.UnsupportedID) {
			t.Errorf("a module in quarantine: %v", err)
		}
		wantCall(t, a.Host, b.Self(), 7, "others live still")
		a.stop()
		b.stop()
	})
}

// TestCancel: the end of a context resets the stream and frees it.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{t: t, sw: link.NewSwitch()}
		b := m.add("b")
		a := m.add("a", b.addr)
		time.Sleep(time.Second)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := a.Open(ctx, host.Target{Node: sdk.NodeID{1}, ID: 7}); !errors.Is(err, context.Canceled) {
			t.Errorf("open with a dead context: %v", err)
		}
		s, err := a.Open(context.Background(), host.Target{Node: b.Self(), ID: 7, Deadline: 50 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(s); code(err) != int(sdk.DeadlineExceeded) {
			t.Errorf("a stream past its deadline: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
		if n := b.Snapshot().Peers[0].Streams; n != 0 {
			t.Errorf("B still has %d streams", n)
		}
		a.stop()
		if _, err := a.Open(context.Background(), host.Target{ID: 7}); !errors.Is(err, host.ErrClosed) {
			t.Errorf("open on a host that ended: %v", err)
		}
		b.stop()
	})
}

// TestWatch: a watcher hears of peers, and a slow one does not slow the node.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{t: t, sw: link.NewSwitch()}
		b := m.add("b")
		events, cancel := b.Watch()
		a := m.add("a", b.addr)
		time.Sleep(time.Second)
		a.stop()
		time.Sleep(time.Second)
		cancel()
		var seen []kernel.TraceKind
		for e := range events {
			seen = append(seen, e.Kind)
		}
		want := fmt.Sprint([]kernel.TraceKind{kernel.TracePeerUp, kernel.TracePeerDown})
		var got []kernel.TraceKind
		for _, k := range seen {
			if k == kernel.TracePeerUp || k == kernel.TracePeerDown {
				got = append(got, k)
			}
		}
		if fmt.Sprint(got) != want {
			t.Errorf("watched %v", seen)
		}
		b.stop()
	})
}

// TestSlowReader: a reader that is always a little behind does not make the
// buffer of its stream grow.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{t: t, sw: link.NewSwitch()}
		a := m.add("a")
		time.Sleep(time.Second)
		s, err := a.Open(t.Context(), host.Target{ID: 7})
		if err != nil {
			t.Fatal(err)
		}
		const size = 8 << 20
		go func() {
			s.Write(make([]byte, size))
			s.CloseWrite()
		}()
		got, p := 0, make([]byte, 1000)
		for {
			n, err := s.Read(p)
			got += n
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if c := s.Buffered(); c > 4*sdk.InitialCredit {
				t.Fatalf("after %d bytes the buffer holds room for %d", got, c)
			}
		}
		if got != size {
			t.Errorf("%d of %d bytes came back", got, size)
		}
		a.stop()
	})
}
