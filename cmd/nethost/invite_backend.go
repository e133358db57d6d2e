package main

import (
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"time"

	"nethost/host"
	"nethost/host/identity"
	"nethost/host/invite"
	"nethost/host/localapi"
	"nethost/host/wire"
	"nethost/sdk"
	v1 "nethost/sdk/client/nethostv1"
)

// inviter shows a host's invites to the local API.
type inviter struct {
	book *invite.Book
	host *host.Host
}

var _ localapi.InviteBackend = inviter{}

// openInvites opens the book of invites and lets the host redeem from it.
func openInvites(c *Config, cfg *host.Config) (*invite.Book, error) {
	book, err := invite.Open(filepath.Join(c.Data, "invites.json"), time.Now)
	if err == nil {
		cfg.Redeem = book.Redeem
	}
	return book, err
}

func newInviter(book *invite.Book, h *host.Host) inviter {
	h.SetInvites(book.Keys())
	return inviter{book, h}
}

func invalid(err error) error { return &localapi.Error{Code: sdk.InvalidArgument, Text: err.Error()} }

// CreateInvite makes one.
func (b inviter) CreateInvite(r *v1.CreateInviteRequest) (*v1.CreateInviteResponse, error) {
	network := b.host.NetworkKey()
	if network.IsOpen() {
		return nil, &localapi.Error{Code: sdk.InvalidArgument, Text: "this network is open: anybody joins with `nethost run --open --peers HOST:PORT`, without an invite"}
	}
	s := b.host.Snapshot()
	inv := identity.Invite{Node: s.Node, Network: network.Fingerprint(), Addrs: r.Addrs}
	if len(inv.Addrs) == 0 {
		inv.Addrs = reachable(s.Addr)
	}
	if _, err := inv.Text(); err != nil { // before anything is written
		return nil, invalid(err)
	}
	secret, rec, err := b.book.Create(time.Duration(r.ExpiresS*float64(time.Second)), int(r.Uses))
	if err != nil {
		return nil, invalid(err)
	}
	b.host.SetInvites(b.book.Keys())
	inv.Secret = secret
	text, err := inv.Text()
	if err != nil {
		return nil, err
	}
	return &v1.CreateInviteResponse{Text: text, Invite: inviteMessage(rec), Addrs: inv.Addrs}, nil
}

// ListInvites lists them all.
func (b inviter) ListInvites() *v1.ListInvitesResponse {
	r := &v1.ListInvitesResponse{}
	for _, rec := range b.book.List() {
		r.Invites = append(r.Invites, inviteMessage(rec))
	}
	return r
}

// RevokeInvite ends one.
func (b inviter) RevokeInvite(id string) error {
	n, err := strconv.ParseUint(id, 16, 64)
	if err == nil {
		err = b.book.Revoke(n)
	}
	if err != nil {
		return &localapi.Error{Code: sdk.NotFound, Text: "invite " + strconv.Quote(id) + ": " + err.Error()}
	}
	return nil
}

func inviteMessage(r invite.Record) *v1.Invite {
	state := "open"
	if s := r.State(time.Now()); s != wire.InviteGranted {
		state = s.String()
	}
	return &v1.Invite{Id: invite.IDText(r.ID), Created: r.Created.Format(time.RFC3339), Expires: r.Expires.Format(time.RFC3339),
		Uses: uint32(r.Uses), Redeemed: r.Redeemed, State: state}
}

// reachable lists where others may reach a node that listens on addr: that address,
// or when it is the unspecified one, those of the machine's interfaces, global ones
// first and loopback only where there is nothing else.
func reachable(addr netip.AddrPort) []string {
	if !addr.Addr().IsUnspecified() {
		return []string{addr.String()}
	}
	var far, loop []string
	ifs, _ := net.InterfaceAddrs()
	for _, a := range ifs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		ip := p.Addr().Unmap()
		if ip.IsLinkLocalUnicast() || addr.Addr().Is4() && !ip.Is4() {
			continue
		}
		if s := netip.AddrPortFrom(ip, addr.Port()).String(); ip.IsLoopback() {
			loop = append(loop, s)
		} else {
			far = append(far, s)
		}
	}
	if len(far) == 0 {
		far = loop
	}
	return far[:min(len(far), identity.MaxInviteAddrs)]
}
