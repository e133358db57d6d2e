package discovery

import (
	"net"
	"net/netip"
	"slices"
)

const maxInterfaces = 8

// card is an interface that carries multicast.
type card struct {
	net.Interface
	subnets []netip.Prefix // its addresses, with the length of their subnet
}

// cards lists the interfaces of this machine that others can be met on.
func cards() []card {
	all, _ := net.Interfaces() // where there are none, nobody is met
	var out []card
	for _, i := range all {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagMulticast == 0 || i.Flags&net.FlagLoopback != 0 || len(out) == maxInterfaces {
			continue
		}
		c := card{Interface: i}
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err == nil && !p.Addr().IsLinkLocalUnicast() {
				c.subnets = append(c.subnets, netip.PrefixFrom(p.Addr().Unmap(), p.Bits()))
			}
		}
		if len(c.subnets) > 0 {
			out = append(out, c)
		}
	}
	return out
}

// place is where a node stands: what it listens on, and the subnets around it.
type place struct {
	listen  netip.AddrPort
	subnets []netip.Prefix
}

func placeOf(listen netip.AddrPort, cs []card) place {
	p := place{listen: netip.AddrPortFrom(listen.Addr().Unmap(), listen.Port())}
	for _, c := range cs {
		p.subnets = append(p.subnets, c.subnets...)
	}
	return p
}

// own lists the addresses under which others reach the node.
func (p place) own() []netip.Addr {
	var out []netip.Addr
	for _, s := range p.subnets {
		a := s.Addr()
		if l := p.listen.Addr(); l == a || l.IsUnspecified() && (a.Is4() || l.Is6()) {
			out = append(out, a)
		}
	}
	return out[:min(len(out), maxAddrs)]
}

// counts reports whether an address that somebody told may be sent to (D2.2).
func (p place) counts(a netip.AddrPort) bool {
	ip := a.Addr()
	if a.Port() == 0 || ip.IsMulticast() || ip.IsUnspecified() || ip.IsLoopback() || p.listen.Addr().Is4() && !ip.Is4() {
		return false
	}
	here := slices.ContainsFunc(p.subnets, func(s netip.Prefix) bool { return s.Addr() == ip })
	if here && a.Port() == p.listen.Port() {
		return false
	}
	return slices.ContainsFunc(p.subnets, func(s netip.Prefix) bool { return s.Contains(ip) })
}
