package kernel

// Drop is the one reason why a packet, or a frame of one, was not delivered.
type Drop uint8

// The reasons. Each is a counter; none is ever logged per packet.
const (
	DropMalformed     Drop = iota // no hop frame, packet or envelope of ours
	DropVersion                   // a hop frame of another version
	DropNoSession                 // a session index nobody has
	DropBadTag                    // the AEAD says no
	DropReplayed                  // seen before, or older than the window
	DropExpired                   // under a key too old to accept
	DropLinkUnknown               // a forward frame under a link index nobody has
	DropHopTag                    // a forward frame whose hop tag is wrong
	DropHopReplayed               // a forward frame seen before
	DropTTL                       // hop limit reached
	DropNoRoute                   // no next hop is known
	DropNoRelay                   // this node does not relay
	DropMac1                      // a handshake of another network, or noise
	DropHandshakeSeen             // a handshake message seen before
	DropCookie                    // a first message that was asked for a cookie
	DropTooOften                  // a first message of a source that is over its share
	DropHalfOpen                  // too many handshakes under way
	DropHandshake                 // a handshake that failed
	DropBusy                      // no job slot left
	DropFrame                     // an authentic packet with a malformed frame
	DropNotAgreed                 // a frame before the manifests were agreed
	DropUnsupported               // a subprotocol nobody here handles
	DropModuleDown                // a message for a module that is being restarted
	DropWave                      // a wave that says what no honest node says
	DropQueueFull                 // our own send queue is full
	DropTooBig                    // a message of more than 64 KiB
	DropNoPeer                    // an effect names a peer that is gone
	DropFragment                  // a fragment that contradicts others, came twice, or too late
	DropIncomplete                // a message whose fragments did not all come in time, or that had to make room
	DropStale                     // a message that waited too long in our own send queue
	DropMTU                       // a relayed packet larger than the next link carries
	DropDenied                    // to, or a wave of, a node that a rule denies
	DropKilled                    // the kill-switch is on
	DropRejected                  // a subprotocol that a rule rejects
	DropLimited                   // of a peer that sends more than a rule lets it
	DropRelayQuota                // relaying for all together is over its quota
	DropNeighborQuota             // relaying for this neighbour is over its quota
	DropTrace                     // a trace query that was refused, or one too many
	DropWaveForged                // a wave whose signature is wrong
	DropWaveStale                 // a wave of an incarnation before the newest
	DropWaveRate                  // a wave of a neighbour that has had its share of signature checks
	DropWaveFull                  // a wave of a node more than may be known
	DropBarred                    // what a peer with too many demerits began
	numDrops
)

var dropNames = [numDrops]string{"malformed", "version", "no_session", "bad_tag", "replayed", "expired",
	"link_unknown", "hop_tag", "hop_replayed", "ttl", "no_route", "no_relay", "mac1", "handshake_seen",
	"cookie", "too_often", "half_open", "handshake", "busy", "frame", "not_agreed", "unsupported", "module_down", "wave", "queue_full", "too_big",
	"no_peer", "fragment", "incomplete", "stale", "mtu",
	"denied", "killed", "rejected", "limited", "relay_quota", "neighbor_quota", "trace",
	"wave_forged", "wave_stale", "wave_rate", "wave_full", "barred"}

// String is the reason as it appears in metrics.
func (d Drop) String() string { return dropNames[d] }

// Counters are plain numbers with one owner, the kernel.
type Counters struct {
	Drops          [numDrops]uint64
	PacketsIn      uint64 // datagrams given to Step
	PacketsOut     uint64
	Forwarded      uint64 // packets relayed for others
	ForwardedBytes uint64
	Delivered      uint64 // messages given to modules
	Handshakes     uint64 // sessions established
	Reroutes       uint64 // destinations whose next hop changed
}

// DropReasons lists every reason with its count, in a fixed order.
func (c *Counters) DropReasons(visit func(name string, n uint64)) {
	for i, n := range c.Drops {
		visit(dropNames[i], n)
	}
}

func (k *Kernel) drop(d Drop) { k.counters.Drops[d]++ }
