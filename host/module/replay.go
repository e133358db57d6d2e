package module

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"nethost/sdk"
	"nethost/sdk/abi"
)

// replayBudget is what a batch may take in a replay (R4.5).
const replayBudget = time.Second

// Spec is what a carrier needs to open the module that the head names. Artifact is
// for the caller to fill in.
func (h *Head) Spec() Spec {
	l := DefaultLimits
	l.Memory, l.CPUMax = h.Memory, max(h.CPUMax, replayBudget)
	return Spec{Name: h.Name, Release: h.Release, Kind: h.Carrier, Digest: h.Digest, Seed: h.Seed, Limits: l, Subprotocols: h.Subprotocols,
		Post: func([]byte) {}, Log: func(sdk.LogLevel, string) {}}
}

// Difference is the first batch of a replay whose effects were not those of the
// record.
type Difference struct {
	Seq        uint64
	Why        string // in words
	Then, Here string // the first effect that differs; "" where there is none
}

// Replayed is what came of a replay.
type Replayed struct {
	Batches    int // that were handed over and compared
	Last       uint64
	Difference *Difference
	Notes      []string // what is told and is no difference
	Fault      error    // the record's end: nil, or wraps ErrRecordCut or ErrRecordCorrupt
}

// Replay hands the batches of a record to a fresh instance of s, and compares what
// comes of them (R4). Its error is one of opening the record or the module.
func Replay(ctx context.Context, record io.Reader, carrier Carrier, s Spec) (*Replayed, error) {
	rr, err := NewRecordReader(record)
	if err != nil {
		return nil, err
	}
	var inst Instance
	if rr.Snapshot == nil {
		inst, err = carrier.Open(ctx, s)
	} else if restorer, ok := carrier.(Restorer); ok && s.Kind == rr.Head.Carrier {
		inst, err = restorer.Restore(ctx, s, rr.Snapshot)
	} else {
		return nil, fmt.Errorf("part %d of this record begins with a snapshot: only carrier %s and the same artifact can go on from it", rr.Head.Part, rr.Head.Carrier)
	}
	if err != nil {
		return nil, err
	}
	defer inst.Close()
	out := &Replayed{}
	loose := (rr.Head.Carrier == Wasm) != (s.Kind == Wasm)
	for {
		step, err := rr.Next()
		if errors.Is(err, io.EOF) {
			if rr.End == EndFull {
				out.Notes = append(out.Notes, "the record was full then: the module went on without it")
			}
			return out, nil
		}
		if err != nil {
			out.Fault = err
			return out, nil
		}
		effects, died := inst.Deliver(step.Events)
		out.Last = step.Seq
		if step.Missing {
			out.Notes = append(out.Notes, fmt.Sprintf("batch %d has no answer: the host did not live to write it", step.Seq))
			if died != nil {
				out.Notes = append(out.Notes, fmt.Sprintf("here the instance did not survive it: %v", died))
			}
			continue
		}
		out.Batches++
		if out.Difference = step.compare(effects, died, loose); out.Difference != nil {
			return out, nil
		}
		if step.Died != 0 {
			if died == nil {
				out.Notes = append(out.Notes, fmt.Sprintf("batch %d ended the instance then (%v: %s) and not here", step.Seq, step.Died, step.Text))
			} else {
				out.Notes = append(out.Notes, fmt.Sprintf("batch %d ended the instance then (%v: %s) and here: %v", step.Seq, step.Died, step.Text, died))
			}
		}
	}
}

// compare says how what happened differs from what is recorded, nil when it does
// not. loose leaves the results of Work out (R4.2).
func (s *Step) compare(effects []byte, died error, loose bool) *Difference {
	d := &Difference{Seq: s.Seq}
	switch {
	case s.Died == CauseTrap && died == nil:
		d.Why = "the instance died of it then, and not here: " + s.Text
		return d
	case s.Died != 0:
		return nil
	case died != nil:
		d.Why = "the instance died of it here, and not then: " + died.Error()
		return d
	}
	if bytes.Equal(s.Effects, effects) {
		return nil
	}
	then, err := effectsOf(s.Effects, loose)
	if err == nil {
		var here []rawEffect
		if here, err = effectsOf(effects, loose); err == nil {
			return d.first(then, here, s, effects, loose)
		}
	}
	d.Why = "what came here is no batch of effects: " + err.Error()
	return d
}

func (d *Difference) first(then, here []rawEffect, s *Step, effects []byte, loose bool) *Difference {
	for i := range max(len(then), len(here)) {
		switch {
		case i >= len(then):
			d.Why, d.Here = fmt.Sprintf("%d effects then, %d here", len(then), len(here)), here[i].String()
		case i >= len(here):
			d.Why, d.Then = fmt.Sprintf("%d effects then, %d here", len(then), len(here)), then[i].String()
		case !bytes.Equal(then[i].raw, here[i].raw):
			d.Why, d.Then, d.Here = fmt.Sprintf("effect %d differs", i+1), then[i].String(), here[i].String()
		default:
			continue
		}
		return d
	}
	// The records are the same. The headers are compared unless Posts were left out,
	// or one side said nothing with no bytes at all (R4.1).
	if loose || len(then) == 0 || bytes.Equal(s.Effects[:abi.HeaderSize], effects[:abi.HeaderSize]) {
		return nil
	}
	d.Why = fmt.Sprintf("the headers differ: %x then, %x here", s.Effects[:abi.HeaderSize], effects[:abi.HeaderSize])
	return d
}

// rawEffect is an effect with its bytes.
type rawEffect struct {
	sdk.Effect
	raw []byte
}

// String is the effect for people: every field that is not zero, and the payload.
func (e *rawEffect) String() string {
	text := kindName(e.Kind)
	for _, f := range []struct {
		name string
		v    uint64
	}{{"flags", uint64(e.Flags)}, {"peer", uint64(e.Peer)}, {"id", uint64(e.ID)}, {"ref", uint64(e.Ref)}, {"arg", e.Arg}} {
		if f.v != 0 {
			text += fmt.Sprintf(" %s=%d", f.name, f.v)
		}
	}
	if e.Version != (sdk.Version{}) {
		text += " version=" + e.Version.String()
	}
	const shown = 120
	p := e.Payload
	more := ""
	if len(p) > shown {
		p, more = p[:shown], "..."
	}
	return fmt.Sprintf("%s, %d bytes: %q%s", text, len(e.Payload), p, more)
}

// effectsOf cuts a batch into its effects. loose leaves out the Posts at its end.
func effectsOf(b []byte, loose bool) ([]rawEffect, error) {
	if len(b) == 0 {
		return nil, nil
	}
	_, r, err := abi.Parse(b, sdk.MaxEffectBytes)
	if err != nil {
		return nil, err
	}
	var all []rawEffect
	for at := abi.HeaderSize; ; {
		e, ok := r.NextEffect()
		if !ok {
			break
		}
		n := abi.RecordSize + (len(e.Payload)+7)&^7
		all = append(all, rawEffect{e, b[at : at+n]})
		at += n
	}
	for loose && len(all) > 0 && all[len(all)-1].Kind == sdk.OpPost {
		all = all[:len(all)-1]
	}
	return all, r.Err()
}
