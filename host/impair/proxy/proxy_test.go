package proxy

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nethost/host/impair"
)

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

// socket is a UDP socket of the test, closed with it. Reads end after 10 s.
func socket(t testing.TB) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(loopback))
	if err != nil {
		t.Fatal(err)
	}
	if err := enlarge(c); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	t.Cleanup(func() { c.Close() })
	return c
}

func addrOf(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// running starts a proxy to server and ends it with the test.
func running(t testing.TB, server *net.UDPConn, cfg Config) *Proxy {
	t.Helper()
	if !cfg.Listen.IsValid() {
		cfg.Listen = loopback
	}
	cfg.To = addrOf(server)
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return p
}

func send(t testing.TB, c *net.UDPConn, to netip.AddrPort, b []byte) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort(b, to); err != nil {
		t.Fatal(err)
	}
}

func receive(t testing.TB, c *net.UDPConn) (string, netip.AddrPort) {
	t.Helper()
	b := make([]byte, 65536)
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n]), from
}

// eventually polls until a condition holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// conserved: I1 for the whole proxy.
func conserved(t testing.TB, name string, d Direction) {
	t.Helper()
	lost := uint64(0)
	for _, n := range d.Lost {
		lost += n
	}
	if d.In+d.Duplicated != d.Forwarded+d.Waiting+lost {
		t.Errorf("%s: %d in and %d twice, but %d out, %d waiting and %d lost: %+v", name, d.In, d.Duplicated, d.Forwarded, d.Waiting, lost, d)
	}
}

// TestClients: I11: each client has an address of its own at the server, answers
// go to that client, and the largest and the empty datagram pass.
func TestClients(t *testing.T) {
	server, a, b := socket(t), socket(t), socket(t)
	p := running(t, server, Config{})
	big := make([]byte, impair.MaxDatagram)
	big[impair.MaxDatagram-1] = 1
	seen := map[netip.AddrPort]bool{}
	for _, c := range []*net.UDPConn{a, b} {
		send(t, c, p.LocalAddr(), []byte(c.LocalAddr().String()))
		text, from := receive(t, server)
		if text != c.LocalAddr().String() || from == addrOf(c) || from == p.LocalAddr() {
			t.Fatalf("the server got %q from %v", text, from)
		}
		seen[from] = true
		for _, answer := range []string{"answer to " + text, "", string(big)} {
			send(t, server, from, []byte(answer))
			if got, from := receive(t, c); got != answer || from != p.LocalAddr() {
				t.Fatalf("%s got %d bytes from %v, want %d", text, len(got), from, len(answer))
			}
		}
	}
	if len(seen) != 2 {
		t.Errorf("two clients share an address: %v", seen)
	}
	eventually(t, "all is counted", func() bool { s := p.Stats(); return s.Up.Forwarded == 2 && s.Down.Forwarded == 6 })
	if s := p.Stats(); s.Clients != 2 || s.Up.In != 2 || s.Down.In != 6 || s.Down.ForwardedBytes != s.Down.InBytes {
		t.Errorf("%+v", s)
	}
}

// TestRebind: I13.
func TestRebind(t *testing.T) {
	server, c := socket(t), socket(t)
	p := running(t, server, Config{})
	send(t, c, p.LocalAddr(), []byte("one"))
	_, first := receive(t, server)
	if err := p.Rebind(); err != nil {
		t.Fatal(err)
	}
	send(t, server, first, []byte("into the void"))
	eventually(t, "a datagram is counted as rebound", func() bool { return p.Stats().Down.Lost["rebound"] == 1 })
	send(t, c, p.LocalAddr(), []byte("two"))
	text, second := receive(t, server)
	if text != "two" || second == first {
		t.Fatalf("got %q from %v, before from %v", text, second, first)
	}
	send(t, server, second, []byte("answer"))
	if text, _ := receive(t, c); text != "answer" {
		t.Fatalf("the client got %q", text)
	}
	if s := p.Stats(); s.Rebinds != 1 || s.Down.In != 2 {
		t.Errorf("%+v", s)
	}
	conserved(t, "down", p.Stats().Down)
}

// TestTable: I11: a full table refuses, an idle client makes room.
func TestTable(t *testing.T) {
	server, a, b := socket(t), socket(t), socket(t)
	p := running(t, server, Config{Clients: 1, Idle: 200 * time.Millisecond, RebindEvery: time.Hour})
	send(t, a, p.LocalAddr(), []byte("a"))
	if text, _ := receive(t, server); text != "a" {
		t.Fatalf("got %q", text)
	}
	send(t, b, p.LocalAddr(), []byte("b"))
	eventually(t, "the second client is refused", func() bool { return p.Stats().Up.Lost["table"] == 1 })
	eventually(t, "the first client is forgotten", func() bool { return p.Stats().Clients == 0 })
	send(t, b, p.LocalAddr(), []byte("b again"))
	if text, _ := receive(t, server); text != "b again" {
		t.Fatalf("got %q", text)
	}
	conserved(t, "up", p.Stats().Up)
}

// TestNobodyListens: what the system refuses is counted, and the proxy lives on.
func TestNobodyListens(t *testing.T) {
	server, c := socket(t), socket(t)
	p := running(t, server, Config{})
	at := addrOf(server)
	server.Close()
	for range 20 {
		send(t, c, p.LocalAddr(), []byte("hello?"))
	}
	eventually(t, "all have arrived", func() bool { s := p.Stats().Up; return s.In == 20 && s.Waiting == 0 })
	conserved(t, "up", p.Stats().Up)
	server, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Skip("somebody else has taken the port:", err)
	}
	defer server.Close()
	server.SetReadDeadline(time.Now().Add(10 * time.Second))
	send(t, c, p.LocalAddr(), []byte("at last"))
	if text, _ := receive(t, server); text != "at last" {
		t.Errorf("got %q", text)
	}
}

// TestRate: I3, I14 on real sockets: bytes never come faster than the rate, counted
// from when they were sent.
func TestRate(t *testing.T) {
	server, c := socket(t), socket(t)
	const rate, n, size = 8_000_000, 300, 1000 // a byte a microsecond
	p := running(t, server, Config{Up: impair.Config{Rate: rate, Queue: 1 << 20}})
	start := time.Now()
	for i := range n {
		send(t, c, p.LocalAddr(), binary.BigEndian.AppendUint32(make([]byte, 0, size), uint32(i))[:size])
	}
	for i := range n {
		text, _ := receive(t, server)
		if got := binary.BigEndian.Uint32([]byte(text)); int(got) != i {
			t.Fatalf("I2: datagram %d came in place %d", got, i)
		}
		if least := time.Duration((i+1)*size) * time.Microsecond; time.Since(start) < least {
			t.Fatalf("I3: datagram %d came after %v, want at least %v", i, time.Since(start), least)
		}
	}
	conserved(t, "up", p.Stats().Up)
}

// TestEverything: I1 on real sockets, with all impairments at once and trains.
func TestEverything(t *testing.T) {
	server, c := socket(t), socket(t)
	bad := impair.Config{Rate: 200e6, Queue: 64 << 10, Delay: 2 * time.Millisecond, Jitter: time.Millisecond, Loss: 0.05, Burst: 3, Reorder: 0.05,
		ReorderDelay: 3 * time.Millisecond, Duplicate: 0.05, MTU: 1000}
	p := running(t, server, Config{Up: bad, Down: bad, Seed: 5})
	const n = 1500
	times := make([]int, n)
	ctx, cancel := context.WithCancel(t.Context())
	echoed := make(chan struct{})
	go func() { // the server echoes
		defer close(echoed)
		b := make([]byte, 2000)
		for ctx.Err() == nil {
			k, from, err := server.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			server.WriteToUDPAddrPort(b[:k], from)
		}
	}()
	for i := range n {
		size := 100 + i%910 // some above the mtu
		send(t, c, p.LocalAddr(), binary.BigEndian.AppendUint32(make([]byte, 0, size), uint32(i))[:size])
	}
	got := 0
	b := make([]byte, 2000)
	eventually(t, "all is through", func() bool {
		c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		for {
			k, _, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				break
			}
			i := binary.BigEndian.Uint32(b)
			if k != 100+int(i)%910 {
				t.Fatalf("datagram %d has %d bytes", i, k)
			}
			times[i]++
			got++
		}
		s := p.Stats()
		conserved(t, "up", s.Up)
		conserved(t, "down", s.Down)
		return s.Up.In == n && s.Up.Waiting == 0 && s.Down.In == s.Up.Forwarded && s.Down.Waiting == 0 && uint64(got) == s.Down.Forwarded
	})
	cancel()
	server.Close()
	<-echoed
	s := p.Stats()
	for _, why := range []string{"mtu", "loss"} {
		if s.Up.Lost[why] == 0 {
			t.Errorf("nothing was lost for reason %s: %+v", why, s.Up)
		}
	}
	if s.Up.Duplicated == 0 || s.Down.Lost["mtu"] != 0 {
		t.Errorf("%+v", s)
	}
	if most := slices.Max(times); most < 2 || most > 4 {
		t.Errorf("one datagram came %d times; two links that double make up to 4", most)
	}
}

// TestNewFaults: what New refuses.
func TestNewFaults(t *testing.T) {
	taken := socket(t)
	to := addrOf(taken)
	if _, err := New(Config{Listen: to, To: to}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a taken address: %v", err)
	}
	for _, cfg := range []Config{{}, {Listen: loopback}, {Listen: loopback, To: loopback}, {Listen: loopback, To: to, Clients: -1},
		{Listen: loopback, To: to, Up: impair.Config{Loss: 2}}, {Listen: loopback, To: to, Down: impair.Config{MTU: -1}}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
	p, err := New(Config{Listen: loopback, To: to})
	if err != nil {
		t.Fatal(err)
	}
	if p.Set(impair.Config{Loss: -1}, impair.Config{}) == nil {
		t.Error("Set took a loss below 0")
	}
	p.Close()
	p.Close()
}

// TestSet: a link changes while it works; Cut drops all.
func TestSet(t *testing.T) {
	server, c := socket(t), socket(t)
	p := running(t, server, Config{})
	if err := p.Set(impair.Config{MTU: 3}, impair.Config{}); err != nil {
		t.Fatal(err)
	}
	send(t, c, p.LocalAddr(), []byte("long"))
	eventually(t, "the datagram is dropped", func() bool { return p.Stats().Up.Lost["mtu"] == 1 })
	p.Cut(true)
	send(t, c, p.LocalAddr(), []byte("a"))
	eventually(t, "the datagram is dropped", func() bool { return p.Stats().Up.Lost["cut"] == 1 })
	p.Cut(false)
	send(t, c, p.LocalAddr(), []byte("b"))
	if text, _ := receive(t, server); text != "b" {
		t.Errorf("got %q", text)
	}
}

// TestQueue: packets leave by time, and in order of arrival where times are equal:
// against a stable sort.
func TestQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		var want []held
		for i, at := range rapid.SliceOf(rapid.Int64Range(0, 20)).Draw(t, "times") {
			c := &client{}
			c.heard.Store(int64(i))
			q.push(time.Duration(at), packet{c: c})
			want = append(want, held{at: time.Duration(at), packet: packet{c: c}})
		}
		slices.SortStableFunc(want, func(a, b held) int { return int(a.at - b.at) })
		for i, w := range want {
			if got := q.pop(); got.c != w.c {
				t.Fatalf("place %d: packet %d, want %d", i, got.c.heard.Load(), w.c.heard.Load())
			}
		}
	})
}

// TestPool: a buffer that is given back is lent again, and the whole is bounded.
func TestPool(t *testing.T) {
	var p pool
	for _, n := range []int{0, 1, 2048, 2049, 9216, 65507} {
		b, ok := p.copyOf(make([]byte, n))
		if !ok || len(b) != n {
			t.Fatalf("%d bytes: %v, %d", n, ok, len(b))
		}
		before := p.bytes
		p.release(b)
		if b, _ = p.copyOf(make([]byte, n)); p.bytes != before {
			t.Errorf("%d bytes: a free buffer was not lent again", n)
		}
		p.release(b)
	}
	p.bytes = maxHeld - 2048
	big := make([]byte, 65507)
	if _, ok := p.copyOf(big); !ok {
		t.Error("a free buffer was not lent")
	}
	if _, ok := p.copyOf(big); ok {
		t.Error("the bound was passed")
	}
}

// TestShared: I12: two clients have the rate together, not each.
func TestShared(t *testing.T) {
	server, a, b := socket(t), socket(t), socket(t)
	const rate, n, size = 8_000_000, 200, 1000 // a byte a microsecond
	p := running(t, server, Config{Up: impair.Config{Rate: rate, Queue: 1 << 20}})
	start := time.Now()
	for i := range n {
		send(t, []*net.UDPConn{a, b}[i%2], p.LocalAddr(), make([]byte, size))
	}
	from := map[netip.AddrPort]int{}
	for i := range n {
		_, at := receive(t, server)
		from[at]++
		if least := time.Duration((i+1)*size) * time.Microsecond; time.Since(start) < least {
			t.Fatalf("datagram %d came after %v, want at least %v", i, time.Since(start), least)
		}
	}
	if len(from) != 2 {
		t.Errorf("datagrams came from %v", from)
	}
}

// TestLateness: I14: whoever looks late finds all that is due, and what comes after
// it is due when it was.
func TestLateness(t *testing.T) {
	now := time.Duration(0)
	f := newFlow(impair.Config{Rate: 8e6}, 1, func() time.Duration { return now }) // 1000 bytes a millisecond
	w := newWriter(nil)
	var in []packet
	for range 10 {
		in = append(in, packet{b: make([]byte, 1000)})
	}
	f.carry(in, w)
	for _, step := range []struct {
		at    time.Duration
		count int
		sleep time.Duration
	}{{0, 0, 1000}, {999, 0, 1}, {5500, 5, 0}, {5500, 0, 500}, {10_000, 5, 0}, {10_001, 0, -1}} {
		now = step.at * time.Microsecond
		sleep := f.take(w)
		if len(w.out) != step.count || step.sleep >= 0 && sleep != step.sleep*time.Microsecond || step.sleep < 0 && sleep < time.Hour {
			t.Errorf("at %v: %d packets, sleep %v", now, len(w.out), sleep)
		}
		f.giveBack(w)
	}
}

// TestStop: what is under way when the proxy ends counts as that, not as refused.
func TestStop(t *testing.T) {
	for range 20 {
		server, c := socket(t), socket(t)
		p, err := New(Config{Listen: loopback, To: addrOf(server), Up: impair.Config{Delay: time.Millisecond, Jitter: 5 * time.Second}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx) }()
		for range 500 {
			send(t, c, p.LocalAddr(), make([]byte, 200))
		}
		receive(t, server)
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		s := p.Stats()
		conserved(t, "up", s.Up)
		if s.Up.Lost["send"] != 0 || s.Up.Waiting == 0 || s.Clients != 0 {
			t.Fatalf("%+v", s)
		}
	}
}
