package host

import "nethost/host/kernel"

// SetInvites replaces the invites that may be redeemed here, of which 64 count.
// Config.Redeem is asked for each use.
func (h *Host) SetInvites(list []kernel.Invite) {
	h.step(func(in *kernel.Input) { *in = kernel.Input{Kind: kernel.InInvites, Invites: list} })
}
