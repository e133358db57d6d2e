package sdk

import "time"

// Limits every side of the contract relies on. They are part of ABI 1.
const (
	// MaxBatchEvents bounds the events of one batch, Flush included.
	MaxBatchEvents = 256
	// MaxBatchBytes bounds one batch of events, in bytes with its header.
	MaxBatchBytes = 256 << 10
	// MaxEffectBytes bounds the effects of one batch, in bytes with the
	// header. A module that writes more traps.
	MaxEffectBytes = 1 << 20
	// MaxEffects bounds the effects of one batch, in records.
	MaxEffects = 8192
	// MaxMessage bounds one datagram message, in bytes. One that does not fit
	// a packet travels in fragments and is lost with any of them.
	MaxMessage = 64 << 10
	// MaxStreamData bounds the bytes of one StreamData event or StreamWrite
	// effect.
	MaxStreamData = 64 << 10
	// InitialCredit is what each side of a stream may write before the far
	// end has granted anything, in bytes.
	InitialCredit = 256 << 10
	// MaxOpen bounds method, meta and principal of a stream open together, in
	// bytes.
	MaxOpen = 4 << 10
	// MaxHops bounds how many modules an open may pass through.
	MaxHops = 8
	// MaxStateKey and MaxStateValue bound one state entry, in bytes.
	MaxStateKey   = 1 << 10
	MaxStateValue = 64 << 10
	// MaxLogText bounds one log line, in bytes; the host cuts the rest.
	MaxLogText = 1 << 10
	// MaxTimers bounds the timers a module has armed at once.
	MaxTimers = 4096
	// MinTimer is the shortest timer: shorter ones are raised to it.
	MinTimer = time.Millisecond
)
