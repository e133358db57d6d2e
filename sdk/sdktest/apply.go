package sdktest

import (
	"bytes"
	"time"

	"nethost/sdk"
)

// apply does what a host does with one effect, and fails the test where a host
// would trap or deny for a reason that lies in the module.
func (h *Harness) apply(f sdk.Effect) {
	h.t.Helper()
	switch f.Kind {
	case sdk.OpSend:
		h.send(f)
	case sdk.OpSendMany:
		peers, msg, err := sdk.ParseSendMany(f.Payload)
		if err != nil {
			h.t.Fatalf("sdktest: SendMany: %v", err)
		}
		for _, p := range peers {
			h.send(sdk.Effect{Peer: p, ID: f.ID, Flags: f.Flags, Payload: msg})
		}
	case sdk.OpConnect:
		if len(f.Payload) != 32 {
			h.t.Fatalf("sdktest: Connect: %d bytes of node id, want 32", len(f.Payload))
		}
	case sdk.OpStreamOpen, sdk.OpStreamWrite, sdk.OpStreamCredit, sdk.OpStreamReset:
		h.applyStream(f)
	case sdk.OpTimer:
		h.timer(f)
	case sdk.OpStatePut:
		key, val, err := sdk.ParseStateEntry(f.Payload)
		if err != nil {
			h.t.Fatalf("sdktest: StatePut: %v", err)
		}
		h.State[string(key)] = bytes.Clone(val)
	case sdk.OpStateDelete:
		delete(h.State, string(f.Payload))
	case sdk.OpCommit:
		h.Queue(sdk.Event{Kind: sdk.EvCommitted, Ref: f.Ref})
	case sdk.OpPost:
		h.Queue(sdk.Event{Kind: sdk.EvPosted, Ref: f.Ref, Payload: f.Payload})
	case sdk.OpAnnounce, sdk.OpSign, sdk.OpVerify, sdk.OpLog, sdk.OpCount, sdk.OpPenalize, sdk.OpDrained:
		// The test finds these in Effects.
	default:
		h.t.Fatalf("sdktest: effect of unknown kind %d: a host traps the module", f.Kind)
	}
}

func (h *Harness) send(f sdk.Effect) {
	h.t.Helper()
	if _, up := h.peers[f.Peer]; !up {
		return // the peer went down while the batch ran: a host drops it too
	}
	if len(f.Payload) > sdk.MaxMessage {
		h.t.Fatalf("sdktest: message of %d bytes, the limit is %d", len(f.Payload), sdk.MaxMessage)
	}
	c := sdk.Realtime
	if f.Flags&sdk.FlagBulk != 0 {
		c = sdk.Bulk
	}
	if h.blocks(f, c) {
		return
	}
	h.Sent = append(h.Sent, Message{Peer: f.Peer, ID: f.ID, Class: c, Payload: bytes.Clone(f.Payload)})
}

func (h *Harness) timer(f sdk.Effect) {
	h.t.Helper()
	if f.Arg == 0 {
		delete(h.timers, f.Ref)
		return
	}
	if f.Ref == 0 {
		h.t.Fatalf("sdktest: timer without a ref")
	}
	h.timers[f.Ref] = h.now + max(time.Duration(f.Arg), sdk.MinTimer)
	if len(h.timers) > sdk.MaxTimers {
		h.t.Fatalf("sdktest: %d timers are armed, the limit is %d", len(h.timers), sdk.MaxTimers)
	}
}

func (h *Harness) applyStream(f sdk.Effect) {
	h.t.Helper()
	if f.Kind == sdk.OpStreamOpen {
		h.moduleOpened(f)
		return
	}
	s := h.streams[f.Ref]
	if s == nil || s.WasReset {
		if f.Ref > h.lastRef && f.Ref%2 == 0 {
			h.t.Fatalf("sdktest: %v names stream %d, which never was", f.Kind, f.Ref)
		}
		return // ended or reset while the effect was on its way
	}
	switch f.Kind {
	case sdk.OpStreamWrite:
		s.written(f)
	case sdk.OpStreamCredit:
		if f.Arg > s.unacked {
			h.t.Fatalf("sdktest: stream %d: credit for %d bytes, only %d were delivered and not yet credited", s.Ref, f.Arg, s.unacked)
		}
		s.unacked -= f.Arg
		s.Credit += f.Arg
	case sdk.OpStreamReset:
		s.WasReset, s.ResetCode, s.ResetText = true, sdk.Code(f.Arg), string(f.Payload)
		delete(h.streams, s.Ref)
	}
}

func (h *Harness) moduleOpened(f sdk.Effect) {
	h.t.Helper()
	o, err := sdk.ParseOpen(f.Payload)
	if err != nil {
		h.t.Fatalf("sdktest: StreamOpen: %v", err)
	}
	if f.Ref%2 != 1 || h.streams[f.Ref] != nil {
		h.t.Fatalf("sdktest: StreamOpen with ref %d: want a fresh odd one (Env.NewRef)", f.Ref)
	}
	s := &Stream{Ref: f.Ref, Peer: f.Peer, ID: f.ID, Open: o, Module: f.Flags&sdk.FlagModule != 0,
		Credit: sdk.InitialCredit + f.Arg, h: h, granted: sdk.InitialCredit}
	h.streams[f.Ref] = s
	h.opened = append(h.opened, s)
}
