package discovery

import (
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

const (
	service = "_nethost._udp"
	domain  = "local"
	suffix  = "." + service + "." + domain + "."

	markPrefix = "n="

	maxRecords   = 64 // of a datagram (D2.1)
	maxInstances = 4
	maxAddrs     = 8 // of an instance
	maxMarks     = 4
)

// answer is what a datagram says of one instance.
type answer struct {
	instance string
	port     uint16
	marks    []string
	addrs    []netip.Addr // as they stand in the datagram
}

// decode reads a datagram that came as the answer to a question. What is no answer,
// or is not whole, is nothing (D2.1, D2.3).
func decode(b []byte) []answer {
	var m dns.Msg
	if m.Unpack(b) != nil || !m.Response || m.Opcode != dns.OpcodeQuery || m.Rcode != dns.RcodeSuccess {
		return nil
	}
	records := append(m.Answer, m.Extra...)
	records = records[:min(len(records), maxRecords)]
	var out []answer
	for _, rr := range records {
		srv, ok := rr.(*dns.SRV)
		if !ok || len(out) == maxInstances {
			continue
		}
		instance, ok := strings.CutSuffix(strings.ToLower(srv.Hdr.Name), suffix)
		if !ok || instance == "" || len(instance) > 63 || srv.Port == 0 {
			continue
		}
		a := answer{instance: instance, port: srv.Port}
		for _, rr := range records {
			a.add(rr, srv)
		}
		if len(a.marks) > 0 && len(a.addrs) > 0 {
			out = append(out, a)
		}
	}
	return out
}

// add takes what a record says of the instance of srv.
func (a *answer) add(rr dns.RR, srv *dns.SRV) {
	of := func(name string) bool { return strings.EqualFold(rr.Header().Name, name) }
	var ip []byte
	switch r := rr.(type) {
	case *dns.TXT:
		for _, s := range r.Txt {
			if mark, ok := strings.CutPrefix(s, markPrefix); ok && of(srv.Hdr.Name) && len(a.marks) < maxMarks {
				a.marks = append(a.marks, mark)
			}
		}
		return
	case *dns.A:
		ip = r.A.To4()
	case *dns.AAAA:
		ip = r.AAAA
	}
	if addr, ok := netip.AddrFromSlice(ip); ok && of(srv.Target) && len(a.addrs) < maxAddrs {
		a.addrs = append(a.addrs, addr.Unmap())
	}
}
