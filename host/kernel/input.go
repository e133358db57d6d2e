package kernel

import (
	"net/netip"

	"nethost/host/identity"
	"nethost/host/wire"
	"nethost/registry"
	"nethost/sdk"
)

// InputKind tells what happened to the node.
type InputKind uint8

// The inputs. The comment names the fields of Input that matter.
const (
	InTick        InputKind = iota // nothing but time passed
	InDatagram                     // Datagram, From
	InTrains                       // Trains
	InLinkError                    // From: whom we had sent to; Datagram: the quoted bytes of ours
	InRefused                      // From: where a datagram of ours of N bytes was going, which this machine does not send
	InJob                          // Job, after Run
	InEffects                      // Slot, Effects
	InModuleUp                     // Slot: a fresh instance takes events; Text: its name
	InModuleDown                   // Slot: the instance died
	InModuleSwap                   // Slot takes over from Other with Table; Text: its name
	InModuleAdopt                  // Slot gets the streams Refs of Other, which has not seen them
	InModuleDrain                  // Slot: the instance was told to finish
	InTable                        // Table: modules came, went or changed
	InDial                         // From: address, Node: who should answer (zero: anybody)
	InAppOpen                      // App, Node (zero: a local module), ID, Open, Slot when local
	InAppWrite                     // App, Data, FIN; N bytes consumed
	InAppCredit                    // App, N bytes consumed
	InAppReset                     // App, Code, Text
	InUndial                       // From: an address of InDial, no longer wanted
	InInvites                      // Invites: all there are
	InShutdown                     // say goodbye to everybody
	InPolicy                       // Policy: the rules from now on
	InKeys                         // Keys: the current network keys from now on
	InTrace                        // Node: whom to ask, Dest: about the way to it, N: token
)

// Input is one thing that happened to the node. Datagrams are decrypted, or
// rewritten and sent on, in place.
// What Output says may point into the slices of Input: they are borrowed until the
// Output was consumed.
type Input struct {
	Kind     InputKind
	Datagram []byte
	From     netip.AddrPort
	Trains   []wire.Train
	Lazy     bool // with InAppWrite: what is under way may go first, see Output.Lazy
	Busy     bool // datagrams wait for the network: relayed ones get the congestion mark
	Job      *Job
	Slot     int
	Other    int
	Refs     []sdk.Ref
	Effects  []sdk.Effect
	Table    *registry.Table
	Node     sdk.NodeID
	Dest     sdk.NodeID
	Policy   *Policy
	Keys     [2]identity.NetworkKey // the second zero: none
	ID       sdk.ID
	App      uint64
	Open     sdk.Open
	Data     []byte
	FIN      bool
	N        uint64
	Code     sdk.Code
	Text     string
	Invites  []Invite
}
