package discovery

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	listenFor    = time.Second // for the answers to a question
	maxDatagrams = 256         // read of one interface and family (D2.1)
	maxDatagram  = 9000        // bytes, RFC 6762 section 17
	mdnsPort     = 5353
)

// question is the one that a node asks.
func question() []byte {
	m := new(dns.Msg)
	m.SetQuestion(service+"."+domain+".", dns.TypePTR)
	m.Question[0].Qclass |= 1 << 15 // answer to us alone, RFC 6762 section 5.4
	m.RecursionDesired = false
	b, err := m.Pack()
	if err != nil {
		panic("discovery: " + err.Error()) // it is a constant
	}
	return b
}

// ask asks on every interface and hands out what is answered, from several
// goroutines at once. It fails where nothing could be sent on any.
func ask(ctx context.Context, cs []card, each func(answer)) error {
	if len(cs) == 0 {
		return errors.New("no interface carries multicast")
	}
	q := question()
	var wg sync.WaitGroup
	var err error
	sent := 0
	for _, c := range cs {
		for _, to := range c.groups() {
			conn, aerr := askOn(to, q)
			if aerr != nil {
				err = errors.Join(err, aerr)
				continue
			}
			sent++
			wg.Go(func() { listen(ctx, conn, each) })
		}
	}
	wg.Wait()
	if sent > 0 {
		return nil
	}
	return err
}

// group is a multicast group, and the address that makes the system send to it by the
// interface meant.
type group struct{ from, to *net.UDPAddr }

func (c card) groups() []group {
	var g4, g6 []group
	for _, s := range c.subnets {
		switch a := s.Addr(); {
		case a.Is4() && g4 == nil:
			g4 = []group{{&net.UDPAddr{IP: a.AsSlice()}, &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: mdnsPort}}}
		case a.Is6() && g6 == nil:
			g6 = []group{{&net.UDPAddr{IP: net.IPv6unspecified}, &net.UDPAddr{IP: net.ParseIP("ff02::fb"), Zone: c.Name, Port: mdnsPort}}}
		}
	}
	return append(g4, g6...)
}

func askOn(g group, q []byte) (*net.UDPConn, error) {
	conn, err := net.ListenUDP("udp", g.from)
	if err != nil {
		return nil, err
	}
	if _, err = conn.WriteToUDP(q, g.to); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// listen reads answers until its time is over, or there were too many.
func listen(ctx context.Context, conn *net.UDPConn, each func(answer)) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	_ = conn.SetReadDeadline(time.Now().Add(listenFor)) // fails when it is closed: then reading does too
	b := make([]byte, maxDatagram)
	for range maxDatagrams {
		n, _, err := conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		for _, a := range decode(b[:n]) {
			each(a)
		}
	}
}

// usable gives the addresses of an answer that count (D2.2).
func (a answer) usable(p place) []netip.AddrPort {
	var out []netip.AddrPort
	for _, ip := range a.addrs {
		if at := netip.AddrPortFrom(ip, a.port); p.counts(at) {
			out = append(out, at)
		}
	}
	return out
}
