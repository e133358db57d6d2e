package host

import (
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"golang.org/x/sys/cpu"

	"nethost/host/identity"
	"nethost/host/kernel"
	"nethost/host/link"
	"nethost/host/module"
	"nethost/host/wire"
	"nethost/sdk"
)

// PeerAddr is an address to keep a session with.
type PeerAddr struct {
	Addr netip.AddrPort
	Node sdk.NodeID // who must answer there; zero: whoever knows the network key
}

// Config is what New needs. Zero fields take the stated default.
type Config struct {
	// Key is the node's identity. Required.
	Key *identity.Key
	// NetworkKey admits to the network. Required.
	NetworkKey identity.NetworkKey
	// NetworkKey2 is a second current key while the network changes its key: it
	// admits as well, and is dialled with when nobody answers to NetworkKey.
	// Default: none.
	NetworkKey2 identity.NetworkKey
	// Incarnation counts the starts of this identity; it must be higher than
	// at any start before. Required, see store.Incarnation.
	Incarnation uint64
	// SaveIncarnation makes a higher one durable before it is used: the node goes on
	// above what the mesh knows when its count was rolled back. Default: it is not
	// kept, and found out again after the next start. See store.SaveIncarnation.
	SaveIncarnation func(uint64) error
	// Link carries datagrams. Required; Close closes it.
	Link link.Link
	// Redeem spends an invite on a node, durably, or says why not (SetInvites). Default:
	// no invites.
	Redeem func(id uint64, node sdk.NodeID) wire.InviteStatus
	// Peers are kept connected. Default none.
	Peers []PeerAddr
	// Modules are the accepted packages, as module.Load gives them.
	Modules []module.Spec
	// Carriers open them, by kind. A module of a kind that is missing fails.
	Carriers map[module.Kind]module.Carrier
	// State gives the key-value state of a module by name. Default: none, and
	// no module gets the grant.
	State func(name string) module.State
	// Crash is a directory for crash bundles of modules. Default: none are kept.
	Crash string
	// Kept is a directory for copies of the artifacts that run, so that an upgrade
	// can be rolled back. Default: none are kept.
	Kept string
	// Records is a directory for the records of modules that are to be journalled
	// (module.Spec.Record). Default: none are kept.
	Records string
	// Widens says what a version asks for that the one which serves does not have;
	// it waits for approval then. Default: nothing.
	Widens func(serving, next module.Spec) []string
	// Disabled says that a module must not start before the operator enables it.
	// Default: none.
	Disabled func(name string) bool
	// NoRelay refuses to forward for others. Default false.
	NoRelay bool
	// Policy is what the node refuses from the start on; SetPolicy replaces it.
	// Default: nothing.
	Policy kernel.Policy
	// Memory bounds what the node holds whatever arrives, in bytes; half of it is
	// for streams. Default 256 MiB, at least 16 MiB.
	Memory int
	// MaxMTU is the largest UDP payload looked for on each link, in bytes, 1200 to
	// 65507. Default 8972: an IPv4 packet of 9000 bytes.
	MaxMTU int
	// Profile of failure detection. Default kernel.ProfileDefault.
	Profile kernel.Profile
	// DeadAfter is the silence after which a neighbour is dead. Default as Profile
	// says: 150 ms, or 50 ms.
	DeadAfter time.Duration
	// WaveInterval is the base interval of pingwaves. Default 15 s.
	WaveInterval time.Duration
	// Facts gives capability tags of the node and its machine, beside those the host
	// knows itself (cores, system, modules). It is called every 10 s while a module
	// holds 0x0C00, off the host's lock. Default: none.
	Facts func() []string
	// Log gets what an operator should see. Default: discarded.
	Log *slog.Logger
	// Entropy gives random bytes. Default crypto/rand.
	Entropy io.Reader
}

// fastAES reports whether the processor has instructions for AES-GCM.
func fastAES() bool {
	return cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ && cpu.X86.HasSSSE3 || cpu.ARM64.HasAES && cpu.ARM64.HasPMULL ||
		cpu.S390X.HasAES && cpu.S390X.HasGHASH
}

func (c *Config) fill() error {
	var faults []error
	if c.Key == nil {
		faults = append(faults, errors.New("host: Config.Key is missing"))
	}
	if c.Link == nil {
		faults = append(faults, errors.New("host: Config.Link is missing"))
	}
	if c.Incarnation == 0 {
		faults = append(faults, errors.New("host: Config.Incarnation must be at least 1"))
	}
	switch {
	case c.Memory == 0:
		c.Memory = 256 << 20
	case c.Memory < 16<<20:
		faults = append(faults, errors.New("host: Config.Memory must be at least 16 MiB"))
	}
	if c.MaxMTU == 0 {
		c.MaxMTU = 8972
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Entropy == nil {
		c.Entropy = rand.Reader
	}
	return errors.Join(faults...)
}
