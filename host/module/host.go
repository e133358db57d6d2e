package module

import (
	"io"
	"log/slog"
	"time"

	"nethost/host/store"
	"nethost/sdk"
)

// Host is what the modules need of a node. Its methods take the node's lock, so
// no lock that Deliver needs is held while one of them is called.
type Host interface {
	// Apply does the network effects of a module that passed its gate (Send,
	// Connect, Stream*, Timer), in order. The payloads are borrowed.
	Apply(slot int, effects []sdk.Effect)
	// Up says that a fresh instance takes events.
	Up(slot int)
	// Down says that the instance died: its streams are reset and its timers
	// vanish. Another one follows, unless Gone does.
	Down(slot int)
	// Gone says that no instance follows: the module is in quarantine or
	// cannot run, and its ids leave the manifest.
	Gone(slot int)
	// Swap is Up for a version that takes over from another, in one step: its ids
	// move to slot, and their streams stay with the version from. Nothing is
	// delivered to either while move runs, which names streams that from has not
	// seen: slot gets those.
	Swap(from, slot int, move func() []sdk.Ref)
	// Draining says that the instance was told to finish: nothing new is opened
	// on it.
	Draining(slot int)
	// Streams counts the open streams of a slot.
	Streams(slot int) int
}

// State is the key-value state of one module. store.Bucket is one.
type State interface {
	// Load visits every entry. The slices are valid during the call.
	Load(visit func(key, val []byte)) error
	// Apply makes all changes or none; they survive the death of the process.
	Apply(ops []store.Op) error
	// Sync makes everything applied so far survive the loss of power.
	Sync() error
}

// Config is what a Manager works with. Only Secret may be nil, and State when no
// module is granted state.
type Config struct {
	Host     Host
	Carriers map[Kind]Carrier
	// State gives a module's state by the module's full name.
	State func(name string) State
	// Clock is monotonic time since an origin that stays.
	Clock func() time.Duration
	Self  sdk.NodeID
	Log   *slog.Logger
	// Entropy is read by one goroutine at a time.
	Entropy io.Reader
	// Sign signs a message with the node's key. Without it the effect Sign is not
	// there.
	Sign func(msg []byte) [64]byte
	// Announced takes the tags that the module in a slot announces now. Without it
	// the effect Announce is not there. It is called like the methods of Host.
	Announced func(slot int, tags []string)
	// Secret derives a module's key for encryption at rest from the node's
	// own. Without it the grant secret is not there.
	Secret func(publisher, name string) [32]byte
	// Crash is a directory for crash bundles and events that kill. Default: none
	// are kept.
	Crash string
	// Kept is a directory for copies of the artifacts that run. Default: they run
	// from where they are, and an upgrade in place cannot be rolled back.
	Kept string
	// Records is a directory for the records of modules whose Spec wants one.
	// Default: none are kept.
	Records string
	// Widens says what a version asks for that the one which serves does not
	// have; it waits for approval then. Default: nothing.
	Widens func(serving, next Spec) []string
	// Disabled says that a module must not start until Enable: the operator said so
	// in an earlier life of the node. Default: none.
	Disabled func(name string) bool
}
