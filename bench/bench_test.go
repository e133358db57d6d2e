package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain is also the node process: cells start the running binary again.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "node" {
		if err := runWorker(); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestPeers runs each peer through every kind of job that it claims to do.
func TestPeers(t *testing.T) {
	e := &env{warm: 50 * time.Millisecond, length: 150 * time.Millisecond, window: 256, rates: []float64{500}}
	for _, p := range peers() {
		t.Run(p.Name, func(t *testing.T) {
			for _, place := range []placement{together, apart} {
				if p.Messages {
					m, err := oneWay(p, p.Relays, 512, place, loopbackNet())(t.Context(), e)
					if err != nil {
						t.Fatalf("%s, messages: %v", place, err)
					}
					if reliable := p.Traits.Reliable != "no"; reliable && (m["loss %"] != 0 || m["open loss %"] != 0) {
						t.Errorf("%s: a reliable peer lost messages: %v", place, m)
					}
					if m["msg/s"] <= 0 || m["CPU us/msg"] <= 0 || p.Relays > 0 && m["p50 us"] <= 0 {
						t.Errorf("%s: %v", place, m)
					}
				}
				m, err := trips(p, p.Relays, false, true, place, loopbackNet())(t.Context(), e)
				if err != nil {
					t.Fatalf("%s, echo: %v", place, err)
				}
				if m["p50 us"] <= 0 || m["p50 us"] > m["p99 us"] || m["p50 us at 500/s"] <= 0 {
					t.Errorf("%s: %v", place, m)
				}
			}
			if p.Streams {
				m, err := streaming(p, 4096, apart, loopbackNet())(t.Context(), e)
				if err != nil || m["MB/s"] <= 0 {
					t.Errorf("stream: %v, %v", m, err)
				}
			}
			if p.Unary {
				if m, err := trips(p, 0, true, false, apart, loopbackNet())(t.Context(), e); err != nil || m["trips/s"] <= 0 {
					t.Errorf("unary: %v, %v", m, err)
				}
			}
		})
	}
}

// TestTransfer: the sink's word at the end is the number of bytes, over the proxy.
func TestTransfer(t *testing.T) {
	for _, name := range []string{"nethost stream", "quic-go stream"} {
		if s, _, err := transfers(t.Context(), findPeer(name), loopbackNet(), 0, false); err != nil || s <= 0 {
			t.Errorf("%s: %v s, %v", name, s, err)
		}
	}
}

func TestFramer(t *testing.T) {
	for _, chunk := range []int{1, 7, 20, 33, 1000} {
		m := &Meter{Counters: &Counters{}}
		f := framer{size: 20}
		var all []byte
		for i := range uint64(50) {
			b := make([]byte, 20)
			binary.LittleEndian.PutUint64(b, i)
			all = append(all, b...)
		}
		for len(all) > 0 {
			n := min(chunk, len(all))
			f.feed(m, all[:n])
			all = all[n:]
		}
		if n, next := m.Received.Load(), m.Next.Load(); n != 50 || next != 50 || m.Bytes.Load() != 1000 {
			t.Errorf("chunks of %d: %d messages, next %d", chunk, n, next)
		}
	}
}

func TestLatency(t *testing.T) {
	m := &Meter{}
	for i := range 1000 {
		m.Sample(int64(1000-i) * 1000)
	}
	l := m.Latency()
	if l.N != 1000 || l.P50 != 500 || l.P99 != 990 || l.P999 != 999 || l.Max != 1000 {
		t.Errorf("%+v", l)
	}
}

// TestPacer: a closed loop never has more on the way than its window, and an open
// one stamps when each message was due.
func TestPacer(t *testing.T) {
	c := &Counters{}
	p, err := newPacer(c, 16, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 16)
	for range 1000 {
		for range p.Take(64) {
			p.Stamp(b)
		}
		if n := c.Sent.Load() - c.Next.Load(); n > 16 {
			t.Fatalf("%d on the way", n)
		}
		c.Next.Store(c.Sent.Load())
	}
	if p, err = newPacer(c, 0, 10e3); err != nil {
		t.Fatal(err)
	}
	var at []int64
	for len(at) < 100 {
		for range p.Take(64) {
			p.Stamp(b)
			at = append(at, int64(binary.LittleEndian.Uint64(b[8:])))
		}
		if now := monotonic(); at[len(at)-1] > now {
			t.Fatalf("message %d left %d ns before it was due", len(at), at[len(at)-1]-now)
		}
	}
	for i := 1; i < len(at); i++ {
		if d := at[i] - at[i-1]; d < 99e3 || d > 101e3 {
			t.Fatalf("messages %d ns apart, want 100 000", d)
		}
	}
	p.Stop()
	if n := p.Take(1); n != 0 {
		t.Errorf("Take after Stop: %d", n)
	}
}

// TestCaution: a window that loses shrinks, one that does not grows to its limit.
func TestCaution(t *testing.T) {
	c := &Counters{}
	w := &caution{size: 64}
	for range 200 {
		w.checked = 0
		w.look(c, 512)
	}
	if w.size != 512 {
		t.Errorf("without loss the window is %g", w.size)
	}
	c.Next.Store(10)
	c.Received.Store(9)
	w.checked = 0
	if w.look(c, 512); w.size >= 512 {
		t.Errorf("after loss the window is %g", w.size)
	}
}

// TestProxy: what is too long or unlucky does not pass, and answers find back.
func TestProxy(t *testing.T) {
	sink, err := listenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	go serveEchoUDP(sink)
	p, err := newProxy(1)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	at, err := p.via(sink.LocalAddr().(*net.UDPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	comes := func(size int) bool {
		b := bytes.Repeat([]byte{7}, size)
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := c.Read(b)
		return err == nil && n == size
	}
	if !comes(1400) {
		t.Error("nothing came through a proxy without limits")
	}
	p.maxSize.Store(1280)
	if !comes(1280-headers) || comes(1280-headers+1) {
		t.Error("the limit is not 1280 bytes of IP")
	}
	p.maxSize.Store(0)
	p.loss = 1
	p.impair.Store(true)
	if comes(100) || p.dropped.Load() < 2 {
		t.Error("a datagram survived a loss of 100 %")
	}
}

func serveEchoUDP(c *net.UDPConn) {
	b := make([]byte, 2048)
	for {
		n, from, err := c.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		c.WriteToUDPAddrPort(b[:n], from)
	}
}

// TestReport: medians, ratios within a round, failures and targets reach the text.
func TestReport(t *testing.T) {
	r := &runner{o: options{root: ".."}, log: io.Discard, results: map[string]*result{}}
	all := cells(loopbackNet())
	r.choose(all)
	for i, v := range []float64{100, 300, 200} {
		for _, x := range []struct {
			peer string
			v    float64
		}{{"nethost", 3 * v}, {"NATS TLS", v + float64(i)}} {
			res := r.find("B1", "3 relays, 1024 B", x.peer, together, "loopback")
			res.rounds = append(res.rounds, metrics{"msg/s": x.v, "loss %": .05})
		}
	}
	r.find("B1", "3 relays, 1024 B", "NATS plain", apart, "loopback").faults = []string{"it broke"}
	path := filepath.Join(t.TempDir(), "r.md")
	if err := r.report(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| nethost | P | 600 [300..900] |", "NATS TLS leaf chain of 3 (P) | >= 2 | 2.99", "| NATS plain | X | failed |",
		"failed 1 of 1 times: it broke", "| yes |", "not measured"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the report lacks %q", want)
		}
	}
}
