package invite

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"nethost/host/identity"
	"nethost/host/session"
	"nethost/host/wire"
)

// retryFirst and retryMost are how long an attempt waits for the next datagram
// before it speaks again.
const (
	retryFirst = 200 * time.Millisecond
	retryMost  = 2 * time.Second
	addrsMost  = 4 // of one name
)

// ErrRefused is wrapped when the inviter knows the invite and will not have it.
var ErrRefused = errors.New("the inviter refused")

// ErrNoAnswer is wrapped when nobody answered in time.
var ErrNoAnswer = errors.New("nobody answered the invite")

// Redeem fetches the network key with an invite, from the first of its addresses
// that answers, and says which that was. incarnation is a fresh one of key. It waits
// until ctx ends.
func Redeem(ctx context.Context, inv identity.Invite, key *identity.Key, incarnation uint64) (identity.NetworkKey, string, error) {
	var seed [32]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return identity.NetworkKey{}, "", err
	}
	conn, err := net.ListenUDP("udp", nil)
	if err != nil {
		return identity.NetworkKey{}, "", err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	c := &call{conn: conn, inv: inv, started: time.Now()}
	for _, text := range inv.Addrs {
		addrs, err := lookup(ctx, text)
		if err != nil {
			c.faults = append(c.faults, err.Error())
		}
		static := identity.NewStatic(key, seed, incarnation)
		for _, a := range addrs {
			r, err := session.NewRedeemer(key, static, inv.Secret, inv.Node)
			if err != nil {
				return identity.NetworkKey{}, "", err
			}
			c.tries = append(c.tries, try{text, a, r})
		}
	}
	if len(c.tries) == 0 {
		return identity.NetworkKey{}, "", fmt.Errorf("%w: no address of it is known: %s", ErrNoAnswer, strings.Join(c.faults, "; "))
	}
	return c.run(ctx)
}

// lookup finds the addresses of "host:port".
func lookup(ctx context.Context, text string) ([]netip.AddrPort, error) {
	name, port, err := net.SplitHostPort(text)
	if err != nil {
		return nil, err
	}
	n, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return nil, err
	}
	var out []netip.AddrPort
	for _, ip := range ips[:min(len(ips), addrsMost)] {
		out = append(out, netip.AddrPortFrom(ip.Unmap(), uint16(n)))
	}
	return out, nil
}

// try is one address.
type try struct {
	text string
	addr netip.AddrPort
	r    *session.Redeemer
}

// call speaks to all addresses at once; the first answer counts.
type call struct {
	conn    *net.UDPConn
	inv     identity.Invite
	tries   []try
	faults  []string
	started time.Time
}

func (c *call) run(ctx context.Context) (identity.NetworkKey, string, error) {
	buf := make([]byte, 2048)
	wait := retryFirst
	for ctx.Err() == nil {
		for _, t := range c.tries {
			out, err := t.r.Next(rand.Reader)
			if err != nil {
				return identity.NetworkKey{}, "", err
			}
			c.send(t, out)
		}
		c.conn.SetReadDeadline(time.Now().Add(wait))
		wait = min(2*wait, retryMost)
		for ctx.Err() == nil {
			n, from, err := c.conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				break // the time is over; that an earlier datagram was refused shows there as well
			}
			from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
			for _, t := range c.tries {
				if t.addr != from {
					continue
				}
				out, a, done, err := t.r.Receive(append([]byte(nil), buf[:n]...), rand.Reader, time.Since(c.started))
				if err != nil {
					return identity.NetworkKey{}, "", err
				}
				if done {
					return c.take(a, t)
				}
				c.send(t, out)
			}
		}
	}
	var where []string
	for _, t := range c.tries {
		where = append(where, t.addr.String())
	}
	return identity.NetworkKey{}, "", fmt.Errorf("%w at %s: is %s running and reachable there? It also stays silent to an invite that it does not know%s",
		ErrNoAnswer, strings.Join(where, ", "), c.inv.Node.Short(), strings.Join(append([]string{""}, c.faults...), "; "))
}

// send loses what cannot be sent: another address may do, or the next time.
func (c *call) send(t try, out [][]byte) {
	for _, b := range out {
		_, _ = c.conn.WriteToUDPAddrPort(b, t.addr)
	}
}

// take reads the answer.
func (c *call) take(a wire.InviteAnswer, t try) (identity.NetworkKey, string, error) {
	switch a.Status {
	case wire.InviteGranted:
		key := identity.NetworkKey(a.Key)
		return key, t.text, nil
	case wire.InviteFailed:
		return identity.NetworkKey{}, "", fmt.Errorf("%w: %s could not record the use; its log says why", ErrRefused, c.inv.Node.Short())
	}
	return identity.NetworkKey{}, "", fmt.Errorf("%w: the invite is %v; ask %s for another one", ErrRefused, a.Status, c.inv.Node.Short())
}
