package discovery

import (
	"io"
	"log"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/mdns"
	"github.com/miekg/dns"
)

// answersPerSecond bounds what a node answers, whoever asks (D1.3).
const answersPerSecond = 20

// zone is what a node answers, with a bound.
type zone struct {
	*mdns.MDNSService
	now func() time.Time

	mu    sync.Mutex // guards what follows: each interface asks on its own goroutine
	since time.Time
	n     int
}

// Records implements mdns.Zone.
func (z *zone) Records(q dns.Question) []dns.RR {
	rr := z.MDNSService.Records(q)
	if len(rr) == 0 {
		return nil
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if now := z.now(); now.Sub(z.since) >= time.Second {
		z.since, z.n = now, 0
	}
	if z.n++; z.n > answersPerSecond {
		return nil
	}
	return rr
}

// announcer answers on every interface.
type announcer struct{ servers []*mdns.Server }

// zoneOf makes what a node answers. The host name is given, so that the machine's own
// stays on it (D1.1).
func zoneOf(instance string, p place, marks []string, now func() time.Time) (*zone, error) {
	var ips []net.IP
	for _, a := range p.own() {
		ips = append(ips, a.AsSlice())
	}
	var txt []string
	for _, m := range marks {
		txt = append(txt, markPrefix+m)
	}
	s, err := mdns.NewMDNSService(instance, service, domain+".", instance+"."+domain+".", int(p.listen.Port()), ips, txt)
	return &zone{MDNSService: s, now: now}, err
}

// announce begins to answer. It fails only where no interface can.
func announce(instance string, p place, cs []card, marks []string) (*announcer, error) {
	a := &announcer{}
	if len(p.own()) == 0 || len(marks) == 0 { // nothing that others could use
		return a, nil
	}
	z, err := zoneOf(instance, p, marks, time.Now)
	if err != nil {
		return a, err
	}
	for _, c := range cs {
		// Its log is of what strangers send, a line a packet.
		server, serr := mdns.NewServer(&mdns.Config{Zone: z, Iface: &c.Interface, Logger: log.New(io.Discard, "", 0)})
		if serr != nil {
			err = serr
			continue
		}
		a.servers = append(a.servers, server)
	}
	if len(a.servers) > 0 {
		err = nil
	}
	return a, err
}

func (a *announcer) close() {
	for _, s := range a.servers {
		_ = s.Shutdown() // it gives no error
	}
}
