package module

import (
	"context"
	"errors"
	"time"

	"nethost/sdk"
)

// Carrier brings modules of one kind to life. cmd/nethost hands the carriers to
// the host, so that embedding a host drags in neither gRPC nor wazero.
type Carrier interface {
	// Open verifies the artifact, starts an instance and returns once it can
	// take a batch. It must honour ctx. The error text is shown to the
	// operator: it says what was wrong and how to mend it.
	Open(ctx context.Context, s Spec) (Instance, error)
}

// Instance is one living module. Its methods are called by one goroutine at a
// time; Close may be called while Deliver runs and must make it return.
type Instance interface {
	// Deliver hands over one batch of events (sdk/abi) and returns the batch
	// of effects, nil meaning none. The result is valid until the next
	// Deliver. Any error means that the instance is dead: the caller throws
	// the effects of this batch away and calls Close.
	Deliver(batch []byte) (effects []byte, err error)
	// Close ends the instance and frees what it holds. Calling it twice is
	// harmless.
	Close() error
}

// Exiter is implemented by instances that may end while nothing is delivered to
// them: a process does. Done is closed then, and Deliver fails from then on.
type Exiter interface{ Done() <-chan struct{} }

// Errors an instance's Deliver wraps, so that supervisors and tests can tell the
// causes apart.
var (
	// ErrTrap: the code of the module failed (wasm trap, panic, exit).
	ErrTrap = errors.New("module trapped")
	// ErrFuel: the module used more than its hard budget for one batch.
	ErrFuel = errors.New("module ran past cpu_max")
	// ErrGone: the process of the module died or closed its pipe.
	ErrGone = errors.New("module process is gone")
	// ErrProtocol: what came back is no valid batch of effects.
	ErrProtocol = errors.New("module broke the ABI")
)

// Kind names a carrier in configuration and listings.
type Kind string

// The three carriers.
const (
	Builtin Kind = "builtin"
	Wasm    Kind = "wasm"
	Process Kind = "process"
)

// Spec is one accepted module package: what a carrier needs to open it and what
// the supervisor enforces around it. It is read-only after loading.
type Spec struct {
	Name         string // "telemetry"
	Publisher    string // "ed25519:..." or "" when unsigned
	Release      string // "0.3.1"
	Kind         Kind
	Dir          string // the package's folder; "" for a builtin
	Artifact     string // absolute path of the .wasm file or program; "" for a builtin
	Digest       [32]byte
	Subprotocols []sdk.Subprotocol
	Methods      []string
	Config       []sdk.Pair
	Limits       Limits
	Grants       Grants
	Standing     Standing

	// Process bounds the process of a module with that carrier; default: nothing
	// but what bounds the host.
	Process ProcessLimits
	// Record journals every batch (RECORD.md); default false.
	Record bool

	// Seed feeds a guest's random_get, so that a run can be replayed. All zero:
	// the supervisor draws one, for all instances it starts.
	Seed [32]byte
	// Post takes a batch of effects holding only OpPost, at any time and from
	// any goroutine: the results of Env.Work. The bytes are copied.
	Post func(effects []byte)
	// Log takes what the module prints outside Env.Log (stdout and stderr of
	// a guest or process), a line at a time, without the newline.
	Log func(level sdk.LogLevel, line string)
}

// Limits bound one module. Zero fields take the defaults of DefaultLimits.
type Limits struct {
	Memory  uint64        // bytes of linear memory (wasm); default 32 MiB
	CPU     time.Duration // soft budget a batch; default 500 us
	CPUMax  time.Duration // hard budget a batch; default 20 ms
	Mailbox int           // events queued; default 4096
	Inline  bool          // run on the reader's goroutine; needs CPUMax <= 1 ms
}

// ProcessLimits bound a module that is a process. 0 is no limit of its own.
type ProcessLimits struct {
	Memory    uint64 // bytes of address space (RLIMIT_AS), for it and for each child
	OpenFiles uint64 // descriptors (RLIMIT_NOFILE)
}

// DefaultLimits are what module.toml leaves unsaid.
var DefaultLimits = Limits{Memory: 32 << 20, CPU: 500 * time.Microsecond, CPUMax: 20 * time.Millisecond, Mailbox: 4096}

// Grants are what the operator gave to a module. The zero value grants nothing.
type Grants struct {
	State    uint64   // bytes of key-value state, 0 = none
	Data     uint64   // quota of a data directory, 0 = none
	Announce []string // capability tag prefixes
	Call     []string // names of modules it may open streams to
	Connect  bool     // may ask for sessions with nodes by NodeID
	Sign     bool
	Entropy  bool
	Secret   bool
	Wall     bool
}
