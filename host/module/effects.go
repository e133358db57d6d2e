package module

import (
	"fmt"
	"time"

	"nethost/sdk"
	"nethost/sdk/abi"
)

// maxCounterName bounds the name in a Count, in bytes.
const maxCounterName = 64

// parseEffects appends the effects of a batch that answers batch seq of events,
// or says why it is no such batch. The payloads alias the batch.
func parseEffects(all []sdk.Effect, batch []byte, seq uint64) ([]sdk.Effect, error) {
	h, r, err := abi.Parse(batch, sdk.MaxEffectBytes)
	switch {
	case err != nil:
		return all, fmt.Errorf("%w: %w", ErrProtocol, err)
	case h.Records > sdk.MaxEffects:
		return all, fmt.Errorf("%w: %d effects in a batch, the limit is %d", ErrProtocol, h.Records, sdk.MaxEffects)
	case h.Seq != seq:
		return all, fmt.Errorf("%w: effects carry sequence %d and answer %d", ErrProtocol, h.Seq, seq)
	}
	for {
		f, ok := r.NextEffect()
		if !ok {
			break
		}
		if fault := faultOf(&f); fault != "" {
			return all, fmt.Errorf("%w: effect %d, %s: %s", ErrProtocol, len(all)+1, kindName(f.Kind), fault)
		}
		all = append(all, f)
	}
	if err := r.Err(); err != nil {
		return all, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return all, nil
}

func kindName(k sdk.EffectKind) string {
	if s := k.String(); s != "" {
		return s
	}
	return fmt.Sprintf("kind %d", uint16(k))
}

// flagsOf are the flags that an effect may carry.
func flagsOf(k sdk.EffectKind) uint16 {
	switch k {
	case sdk.OpSend, sdk.OpSendMany:
		return sdk.FlagBulk
	case sdk.OpStreamOpen:
		return sdk.FlagApp | sdk.FlagModule
	case sdk.OpStreamWrite:
		return sdk.FlagFIN
	}
	return 0
}

// faultOf says what is wrong with an effect whatever the grants, "" when nothing.
func faultOf(f *sdk.Effect) string {
	if f.Flags&^flagsOf(f.Kind) != 0 {
		return fmt.Sprintf("flags %#x do not belong to it", f.Flags)
	}
	n := len(f.Payload)
	limit := func(max int) string {
		if n > max {
			return fmt.Sprintf("%d bytes, the limit is %d", n, max)
		}
		return ""
	}
	switch f.Kind {
	case sdk.OpSend:
		return limit(sdk.MaxMessage)
	case sdk.OpStreamWrite:
		return limit(sdk.MaxStreamData)
	case sdk.OpStreamCredit, sdk.OpCommit, sdk.OpDrained:
		return ""
	case sdk.OpTimer:
		if f.Ref == 0 {
			return "without a reference"
		}
		if time.Duration(f.Arg) < 0 {
			return "the time is too far away"
		}
		return ""
	case sdk.OpPost:
		return limit(maxPayload)
	case sdk.OpStreamOpen, sdk.OpSendMany, sdk.OpAnnounce, sdk.OpConnect, sdk.OpVerify:
		return faultOfRare(f)
	case sdk.OpStatePut:
		if _, _, err := sdk.ParseStateEntry(f.Payload); err != nil {
			return fmt.Sprintf("no key of 1 to %d bytes with a value of at most %d", sdk.MaxStateKey, sdk.MaxStateValue)
		}
		return ""
	case sdk.OpStateDelete:
		if n == 0 || n > sdk.MaxStateKey {
			return fmt.Sprintf("a key of %d bytes, want 1 to %d", n, sdk.MaxStateKey)
		}
		return ""
	case sdk.OpSign:
		return limit(sdk.MaxMessage)
	case sdk.OpLog:
		return limit(maxPayload) // cut where it is written
	case sdk.OpStreamReset, sdk.OpPenalize:
		return limit(sdk.MaxLogText)
	case sdk.OpCount:
		if n == 0 || n > maxCounterName {
			return fmt.Sprintf("a name of %d bytes, want 1 to %d", n, maxCounterName)
		}
		return ""
	}
	return "this host knows no such effect"
}

// faultOfRare is faultOf for effects that are parsed with allocations.
func faultOfRare(f *sdk.Effect) string {
	switch f.Kind {
	case sdk.OpStreamOpen:
		if _, err := sdk.ParseOpen(f.Payload); err != nil {
			return "the open is malformed or too long"
		}
		if f.Ref%2 == 0 {
			return "a module's own references are odd"
		}
	case sdk.OpSendMany:
		_, msg, ok := sdk.CutSendMany(f.Payload)
		if !ok || len(msg) > sdk.MaxMessage {
			return "the list of peers is malformed, or the message too long"
		}
	case sdk.OpAnnounce:
		if _, err := sdk.ParseTags(f.Payload); err != nil {
			return "the tags are malformed"
		}
	case sdk.OpConnect:
		if len(f.Payload) != 32 {
			return "a node id has 32 bytes"
		}
	case sdk.OpVerify:
		if len(f.Payload) < 96 {
			return "key and signature have 96 bytes"
		}
	}
	return ""
}

// parsePosts reads a batch that holds only the results of Work.
func parsePosts(batch []byte) ([]sdk.Effect, error) {
	all, err := parseEffects(nil, batch, 0)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Kind != sdk.OpPost {
			return nil, fmt.Errorf("%w: a batch on its own may hold Post only, not %v", ErrProtocol, all[i].Kind)
		}
	}
	return all, nil
}
