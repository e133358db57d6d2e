package registry

import "nethost/sdk"

// The assigned ids (ASSIGNED.md).
const (
	Events      sdk.ID = 0x0000 // plain events
	Core        sdk.ID = 0x0001 // the kernel's own messages
	Echo        sdk.ID = 0x0007
	Chains      sdk.ID = 0x0400 // causal chains
	Migration   sdk.ID = 0x0500
	Negotiation sdk.ID = 0x0600 // manifests, the kernel's
	Continuity  sdk.ID = 0x0700
	Partition   sdk.ID = 0x0800
	Groups      sdk.ID = 0x0900
	Channels    sdk.ID = 0x0A00
	NRPC        sdk.ID = 0x0A10
	Capability  sdk.ID = 0x0C00
	Floors      sdk.ID = 0x0C10 // identity floors
	NATReflex   sdk.ID = 0x0D00
	Rendezvous  sdk.ID = 0x0D01
	RedEX       sdk.ID = 0x0E00 // replication
	NetDB       sdk.ID = 0x0E10 // CortEX and NetDB
	Dataforts   sdk.ID = 0x0F10
)

// Bounds of the ranges, inclusive.
const (
	FirstVendor       sdk.ID = 0x1000
	LastVendor        sdk.ID = 0xEFFF
	FirstExperimental sdk.ID = 0xF000
)

// Range is a range of ids with one owner.
type Range uint8

// The ranges.
const (
	RangeKernel       Range = iota + 1 // no module may hold it
	RangeCore                          // protocols of this project
	RangeVendor                        // anybody's, by publisher
	RangeExperimental                  // no owner: for trying things out
)

// RangeOf says which range an id is in.
func RangeOf(id sdk.ID) Range {
	switch {
	case id == Core || id == Negotiation:
		return RangeKernel
	case id < FirstVendor:
		return RangeCore
	case id <= LastVendor:
		return RangeVendor
	}
	return RangeExperimental
}

// String names the range.
func (r Range) String() string {
	switch r {
	case RangeKernel:
		return "kernel"
	case RangeCore:
		return "core"
	case RangeVendor:
		return "vendor"
	case RangeExperimental:
		return "experimental"
	}
	return "unknown range"
}

// Tag is the capability tag of an id, such as "subprotocol:0x1000".
func Tag(id sdk.ID) string { return "subprotocol:" + id.String() }
