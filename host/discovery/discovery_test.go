package discovery

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func header(name string, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: 120}
}

// told packs what an instance says.
func told(t testing.TB, instance string, port uint16, txt []string, ips ...string) []byte {
	t.Helper()
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true}, Compress: true}
	host := instance + ".local."
	m.Answer = []dns.RR{
		&dns.PTR{Hdr: header(service+"."+domain+".", dns.TypePTR), Ptr: instance + suffix},
		&dns.SRV{Hdr: header(instance+suffix, dns.TypeSRV), Port: port, Target: host},
	}
	if txt != nil {
		m.Extra = append(m.Extra, &dns.TXT{Hdr: header(instance+suffix, dns.TypeTXT), Txt: txt})
	}
	for _, ip := range ips {
		if a := net.ParseIP(ip); a.To4() != nil {
			m.Extra = append(m.Extra, &dns.A{Hdr: header(host, dns.TypeA), A: a})
		} else {
			m.Extra = append(m.Extra, &dns.AAAA{Hdr: header(host, dns.TypeAAAA), AAAA: a})
		}
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// D2.1, D2.3: what is whole is read, the rest is nothing.
func TestDecode(t *testing.T) {
	good := told(t, "AB12", 7700, []string{"x=1", "n=one", "n=two"}, "10.0.0.1", "fd00::1")
	got := decode(good)
	whole := answer{"ab12", 7700, []string{"one", "two"}, []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")}}
	if len(got) != 1 || !reflect.DeepEqual(got[0], whole) {
		t.Errorf("got %v, want %v", got, whole)
	}
	question := slices.Clone(good)
	question[2] &^= 0x80
	failed := slices.Clone(good)
	failed[3] |= 3
	many := make([]string, 20)
	for i := range many {
		many[i] = fmt.Sprintf("10.0.0.%d", i+1)
	}
	for what, b := range map[string][]byte{
		"a question": question, "a failure": failed, "no text": told(t, "a", 1, nil, "10.0.0.1"), "no mark": told(t, "a", 1, []string{"m=x"}, "10.0.0.1"),
		"no address": told(t, "a", 1, []string{"n=x"}), "port 0": told(t, "a", 0, []string{"n=x"}, "10.0.0.1"), "nothing": nil,
	} {
		if got := decode(b); got != nil {
			t.Errorf("%s is read as %v", what, got)
		}
	}
	if got := decode(told(t, "a", 1, []string{"n=1", "n=2", "n=3", "n=4", "n=5"}, many...)); len(got) != 1 || len(got[0].addrs) != maxAddrs || len(got[0].marks) != maxMarks {
		t.Errorf("%d addresses and %d marks are taken, want %d and %d", len(got[0].addrs), len(got[0].marks), maxAddrs, maxMarks)
	}
	for i := range good { // truncated at every byte
		for _, a := range decode(good[:i]) { // what stands before the cut may be whole
			if a.addrs = append(a.addrs, whole.addrs[len(a.addrs):]...); !reflect.DeepEqual(a, whole) {
				t.Errorf("the first %d of %d bytes are read as %v", i, len(good), a)
			}
		}
	}
	// A datagram full of instances, each whole.
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true}, Compress: true}
	for i := range 1000 {
		name := fmt.Sprintf("i%d", i)
		m.Answer = append(m.Answer, &dns.SRV{Hdr: header(name+suffix, dns.TypeSRV), Port: 1, Target: "h.local."}, &dns.TXT{Hdr: header(name+suffix, dns.TypeTXT), Txt: []string{"n=x"}})
		if i == 0 {
			m.Answer = append(m.Answer, &dns.A{Hdr: header("h.local.", dns.TypeA), A: net.IPv4(10, 0, 0, 1)})
		}
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if got := decode(b); len(got) != maxInstances {
		t.Errorf("%d instances of one datagram, want %d", len(got), maxInstances)
	}
}

// What comes by multicast is anybody's: no input may panic, or be read as more than is allowed.
func FuzzDecode(f *testing.F) {
	f.Add(told(f, "ab12", 7700, []string{"n=one"}, "10.0.0.1", "fd00::1"))
	f.Add(question())
	f.Add([]byte{0, 0, 0x84, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0xc0, 0x0c})
	f.Fuzz(func(t *testing.T, b []byte) {
		got := decode(b)
		if len(got) > maxInstances {
			t.Fatalf("%d instances", len(got))
		}
		for _, a := range got {
			if a.port == 0 || a.instance == "" || len(a.marks) == 0 || len(a.marks) > maxMarks || len(a.addrs) == 0 || len(a.addrs) > maxAddrs {
				t.Fatalf("read as %+v", a)
			}
		}
	})
}

// D2.2: an answer cannot make a node send to itself or to the world outside.
func TestCounts(t *testing.T) {
	p := placeOf(netip.MustParseAddrPort("0.0.0.0:7700"), []card{{subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.5/24"), netip.MustParsePrefix("fd00::5/64")}}})
	for addr, want := range map[string]bool{
		"10.0.0.6:7700": true, "10.0.0.5:7701": true, "10.0.0.5:7700": false, "10.0.1.6:7700": false, "8.8.8.8:53": false,
		"127.0.0.1:7701": false, "224.0.0.251:5353": false, "0.0.0.0:1": false, "10.0.0.6:0": false, "[fd00::6]:7700": false,
	} {
		if got := p.counts(netip.MustParseAddrPort(addr)); got != want {
			t.Errorf("%s counts: %v, want %v", addr, got, want)
		}
	}
	if got := fmt.Sprint(p.own()); got != "[10.0.0.5]" {
		t.Errorf("a node of IPv4 has %s", got)
	}
	p.listen = netip.MustParseAddrPort("[::]:7700")
	if got := fmt.Sprint(p.own()); got != "[10.0.0.5 fd00::5]" || !p.counts(netip.MustParseAddrPort("[fd00::6]:7700")) {
		t.Errorf("a node of both families has %s", got)
	}
}

// D1.1, D1.3: a node says nothing of its machine, and answers a flood 20 times.
func TestZone(t *testing.T) {
	p := placeOf(netip.MustParseAddrPort("0.0.0.0:7700"), []card{{subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.5/24")}}})
	a, err := announce("ab12", p, nil, []string{"mark"})
	if err != nil || len(a.servers) != 0 {
		t.Fatalf("%v with %d servers", err, len(a.servers))
	}
	now := time.Unix(1000, 0)
	z, err := zoneOf("ab12", p, []string{"mark"}, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	q := dns.Question{Name: service + "." + domain + ".", Qtype: dns.TypePTR, Qclass: dns.ClassINET}
	said := fmt.Sprint(z.Records(q))
	if name, _ := os.Hostname(); name != "" && strings.Contains(strings.ToLower(said), strings.ToLower(name)+".") {
		t.Errorf("the machine's name is told: %s", said)
	}
	for _, want := range []string{"ab12" + suffix, "ab12.local.", "7700", "n=mark", "10.0.0.5"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not told: %s", want, said)
		}
	}
	answered := 1
	for range 1000 {
		if len(z.Records(q)) > 0 {
			answered++
		}
	}
	if answered != answersPerSecond {
		t.Errorf("%d answers in one instant, want %d", answered, answersPerSecond)
	}
	if now = now.Add(time.Second); len(z.Records(q)) == 0 {
		t.Error("no answer a second later")
	}
}

// D1.2, D2.1: of 10 000 answers, foreign networks and lies among them, a node takes 64.
func TestFlood(t *testing.T) {
	taken := 0
	r := &runner{instance: "me", Config: Config{Listen: netip.MustParseAddrPort("0.0.0.0:7700"),
		Marks: func(instance string, port uint16) []string { return []string{mark("ours", instance, port)} },
		Found: func([]netip.AddrPort) { taken++ }}}
	p := placeOf(r.Listen, []card{{subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.5/8")}}})
	take := r.taker(p)
	put := func(instance string, port uint16, m string) {
		for _, a := range decode(told(t, instance, port, []string{"n=" + m}, "10.0.0.9")) {
			take(a)
		}
	}
	put("foreign", 7700, mark("theirs", "foreign", 7700))
	put("thief", 7700, mark("ours", "honest", 7700)) // the mark of another
	put("thief", 7701, mark("ours", "thief", 7700))
	put("me", 7701, mark("ours", "me", 7701)) // our own voice
	if taken != 0 {
		t.Fatalf("%d of the liars were taken", taken)
	}
	for i := range 10_000 {
		name := fmt.Sprintf("i%d", i/2) // each twice
		put(name, 7700, mark("ours", name, 7700))
	}
	if taken != maxFound {
		t.Errorf("%d instances were taken, want %d", taken, maxFound)
	}
}

func mark(key, instance string, port uint16) string {
	return fmt.Sprintf("%s-%s-%d", key, instance, port)
}

// D3.1: a node that others cannot reach does not look for them.
func TestLoopback(t *testing.T) {
	Run(t.Context(), Config{Listen: netip.MustParseAddrPort("127.0.0.1:7700")}) // it returns at once, and calls nothing
	Run(t.Context(), Config{Listen: netip.MustParseAddrPort("[::1]:7700")})
}
