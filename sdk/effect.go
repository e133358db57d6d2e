package sdk

// EffectKind tells what a module wants done. The numbers are ABI 1: never
// renumber. A host that does not know a kind traps the module.
type EffectKind uint16

// The effect kinds, with the fields that carry meaning.
const (
	OpSend         EffectKind = 1  // Peer ID, FlagBulk, Payload: the message; Ref: answer WouldBlock when it is not taken; Arg: nanoseconds from the batch's time after which it is worth nothing, 0 none
	OpSendMany     EffectKind = 2  // ID, FlagBulk, Payload: SendMany
	OpConnect      EffectKind = 3  // Ref, Payload: NodeID
	OpStreamOpen   EffectKind = 10 // Ref; Peer and ID, or ID and FlagModule, or FlagApp; Arg: extra credit granted; Payload: Open
	OpStreamWrite  EffectKind = 11 // Ref, FlagFIN, Payload: bytes
	OpStreamCredit EffectKind = 12 // Ref, Arg: bytes consumed, so the far end may write them again
	OpStreamReset  EffectKind = 13 // Ref, Arg: Code, Payload: text
	OpTimer        EffectKind = 20 // Ref, Arg: nanoseconds from the batch's time; 0 cancels
	OpStatePut     EffectKind = 21 // Payload: StateEntry
	OpStateDelete  EffectKind = 22 // Payload: key
	OpCommit       EffectKind = 23 // Ref: answer Committed when this batch is on disk
	OpPost         EffectKind = 24 // Ref, Payload: comes back as Posted
	OpAnnounce     EffectKind = 25 // Payload: tags
	OpSign         EffectKind = 26 // Ref, Payload: bytes
	OpVerify       EffectKind = 27 // Ref, Payload: key 32, signature 64, bytes
	OpLog          EffectKind = 28 // Arg: LogLevel, Payload: text
	OpCount        EffectKind = 29 // Arg: delta, Payload: counter name
	OpPenalize     EffectKind = 30 // Peer, Arg: weight, Payload: reason
	OpDrained      EffectKind = 31 // answer to Drain
)

// Effect is one thing a module wants done. It is flat, as in the ABI.
type Effect struct {
	Kind    EffectKind
	Flags   uint16
	ID      ID
	Version Version
	Peer    Peer
	Ref     Ref
	Arg     uint64
	Payload []byte
}

// String names the kind.
func (k EffectKind) String() string { return effectNames[k] }

var effectNames = map[EffectKind]string{OpSend: "Send", OpSendMany: "SendMany", OpConnect: "Connect",
	OpStreamOpen: "StreamOpen", OpStreamWrite: "StreamWrite", OpStreamCredit: "StreamCredit",
	OpStreamReset: "StreamReset", OpTimer: "Timer", OpStatePut: "StatePut", OpStateDelete: "StateDelete",
	OpCommit: "Commit", OpPost: "Post", OpAnnounce: "Announce", OpSign: "Sign", OpVerify: "Verify",
	OpLog: "Log", OpCount: "Count", OpPenalize: "Penalize", OpDrained: "Drained"}

// LogLevel of an OpLog, with slog's numbers shifted to be non-negative.
type LogLevel uint8

// Log levels.
const (
	LogDebug LogLevel = 0
	LogInfo  LogLevel = 4
	LogWarn  LogLevel = 8
	LogError LogLevel = 12
)
