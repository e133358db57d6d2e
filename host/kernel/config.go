package kernel

import (
	"errors"
	"io"
	"time"

	"nethost/host/identity"
	"nethost/host/liveness"
	"nethost/host/session"
	"nethost/host/wire"
	"nethost/registry"
	"nethost/sdk"
)

// Config is what a kernel needs to know at birth.
type Config struct {
	// Key is the node's identity. Required.
	Key *identity.Key
	// Static is the X25519 key of this process, signed by Key. Required.
	Static *identity.Static
	// NetworkKey admits to the network. Required.
	NetworkKey identity.NetworkKey
	// NetworkKey2 is a second current key while the network changes its key: it
	// admits as well, and is dialled with when nobody answers to NetworkKey.
	// Zero: none.
	NetworkKey2 identity.NetworkKey
	// AES says that this machine has instructions for AES-256-GCM: see
	// session.LocalConfig.
	AES bool
	// Entropy gives random bytes. Required. The kernel reads it only inside
	// New and Step.
	Entropy io.Reader
	// Table says which module slot answers to which id. Nil: none, a pure
	// relay.
	Table *registry.Table
	// Modules names the first module slots, for principals and listings; what
	// comes later is named by InModuleUp and InModuleSwap.
	Modules []string
	// Redeem spends an invite on a node and makes that durable, or says why not. It
	// runs in a Job, off the lock. Nil: no invites.
	Redeem func(id uint64, node sdk.NodeID) wire.InviteStatus
	// NoRelay refuses to forward packets of others.
	NoRelay bool
	// Policy is what the node refuses from the start on; an InPolicy replaces it.
	Policy Policy
	// MTU is the largest UDP payload that needs no proof, in bytes. Default 1200.
	MTU int
	// MaxMTU is the largest that is looked for on each link (host/pmtu). Default
	// MTU: none is looked for.
	MaxMTU int
	// Memory bounds what the streams of all peers hold together, in bytes. Default
	// 128 MiB.
	Memory int
	// Profile of failure detection. Default ProfileDefault.
	Profile Profile
	// DeadAfter is the silence after which a neighbour is declared dead while
	// probes stay unanswered. Default as Profile says.
	DeadAfter time.Duration
	// BlindToHealth takes no account of the node's own health when it judges
	// others. For measurements.
	BlindToHealth bool
	// Verify checks a signature. Default identity.Verify.
	Verify func(id sdk.NodeID, domain string, sig []byte, parts ...[]byte) bool
	// WaveInterval is the base interval of pingwaves. Default 15 s.
	WaveInterval time.Duration
}

// Defaults of Config.
const (
	DefaultMTU          = 1200
	DefaultDeadAfter    = liveness.DefaultDead
	DefaultWaveInterval = 15 * time.Second
)

// Protocol constants that are not negotiated.
const (
	openTimeout     = 10 * time.Second       // an open without a deadline waits this long for a session
	handshakeRetry  = 500 * time.Millisecond // first retry; doubles
	handshakeTries  = 6
	simultaneous    = 4 * handshakeRetry     // two handshakes this close are a simultaneous open
	confirmRetry    = 200 * time.Millisecond // m3 is sent again until a packet proves that it arrived
	redialMin       = 250 * time.Millisecond
	redialMax       = 15 * time.Second
	redialSoonest   = 50 * time.Millisecond // after a neighbour was lost
	oldKeyKept      = 30 * time.Second      // the key before the current one still opens packets
	silenceRekey    = 3 * time.Second       // end-to-end silence while sending: handshake again
	silenceDown     = 10 * time.Second      // ... and then give the peer up
	idleRelayedDown = 180 * time.Second
	noRouteDown     = 5 * time.Second
	maxMTU          = 65507 // what a UDP socket takes
	maxJobs         = 512   // outstanding jobs; above, what would need one is dropped and counted
	maxWaveJobs     = 256   // ... above which waves have to wait
	maxFlush        = 64    // packets to one peer in one Step
	maxManifest     = 16 << 10
	maxPeers        = 65536
	maxAppStreams   = 4096
	maxModStreams   = 10000
	challengeFor    = 3 * time.Second
	challengeEvery  = 50 * time.Millisecond
	openingTimeout  = 10 * time.Second       // ... and that must arrive within this time
	manifestRetry   = 100 * time.Millisecond // when ours found no room
	partWithin      = time.Second            // a refused peer gets this long to learn why
	manifestRest    = 500 * time.Millisecond // between a manifest that a peer has and the next but one
	maxRefused      = 1024                   // refused peers that are remembered for listings
	maxOpening      = 256                    // streams of a peer whose open has not arrived completely
	maxWaiting      = 1024                   // opens that wait for a session, for each peer
	unsupportedRate = 100 * time.Millisecond // <= 10 answers a second
	droppedEvery    = 10 * time.Millisecond
	minRTTPeriod    = 10 * time.Second
	leastCost       = 1000 // of a link, in microseconds
)

func (c *Config) fill() error {
	switch {
	case c.Key == nil || c.Static == nil:
		return errors.New("kernel: Config.Key and Config.Static are required")
	case c.Entropy == nil:
		return errors.New("kernel: Config.Entropy is required")
	case c.MaxMTU > maxMTU:
		return errors.New("kernel: Config.MaxMTU must be at most 65507 bytes")
	case c.MTU == 0:
		c.MTU = DefaultMTU
	case c.MTU < DefaultMTU:
		return errors.New("kernel: Config.MTU must be at least 1200 bytes")
	}
	if c.Memory == 0 {
		c.Memory = 128 << 20
	}
	if c.Verify == nil {
		c.Verify = identity.Verify
	}
	if c.DeadAfter == 0 {
		c.DeadAfter = c.Profile.Dead()
	}
	if c.DeadAfter != c.Profile.Dead() {
		c.Profile = profileCustom
	}
	if c.WaveInterval == 0 {
		c.WaveInterval = DefaultWaveInterval
	}
	if c.Table == nil {
		c.Table = registry.NewTable()
	}
	return nil
}

// newLocal is what handshakes need of us.
func (c *Config) newLocal() (*session.Local, error) {
	return session.NewLocal(session.LocalConfig{Key: c.Key, Static: c.Static,
		PSK: c.NetworkKey[:], PSK2: c.secondKey(), AES: c.AES, MinVersion: wire.Version, MaxVersion: wire.Version})
}

// secondKey is NetworkKey2, nil for none.
func (c *Config) secondKey() []byte {
	if c.NetworkKey2 == (identity.NetworkKey{}) {
		return nil
	}
	return c.NetworkKey2[:]
}
