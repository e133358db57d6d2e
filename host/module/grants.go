package module

import (
	"slices"

	"nethost/host/store"
	"nethost/sdk"
)

// List names the grants as a module and an operator see them: "state",
// "call:capability".
func (g *Grants) List() []string {
	var out []string
	add := func(held bool, name string) {
		if held {
			out = append(out, name)
		}
	}
	add(g.State > 0, "state")
	add(g.Data > 0, "data")
	for _, tag := range g.Announce {
		out = append(out, "announce:"+tag)
	}
	for _, name := range g.Call {
		out = append(out, "call:"+name)
	}
	add(g.Connect, "connect")
	add(g.Sign, "sign")
	add(g.Entropy, "entropy")
	add(g.Secret, "secret")
	add(g.Wall, "wall")
	return out
}

// unimplemented is what Denied says about machinery this host lacks.
const unimplemented = "UNIMPLEMENTED"

// draining is what Denied says to a version whose state another one writes now.
const draining = "DRAINING"

// denial is an effect that was refused.
type denial struct {
	kind  sdk.EffectKind
	ref   sdk.Ref
	grant string // the missing one, or unimplemented
	why   string // for the log
}

// gate sorts a batch of effects into what the module may do and what not. Every
// carrier's effects pass it. Its slices are valid until the next check.
type gate struct {
	grants Grants
	// holders names the modules of this node that answer to an id.
	holders func(sdk.ID) []string
	// canSign and canAnnounce say that this host has the machinery.
	canSign, canAnnounce bool
	sizes                map[string]int // of each state entry, key included
	used                 uint64         // their sum

	net     []sdk.Effect // for the host, in order
	ops     []store.Op
	commits []sdk.Ref
	posts   []sdk.Effect
	crypto  []sdk.Effect // Sign and Verify
	tags    *sdk.Effect  // the last Announce
	notes   []sdk.Effect // Log and Count
	denied  []denial
	drained bool
	total   int
	// frozen: another version writes the state now.
	frozen bool
}

// loaded counts a state entry that is there already.
func (g *gate) loaded(key, val []byte) {
	g.sizes[string(key)] = len(key) + len(val)
	g.used += uint64(len(key) + len(val))
}

// check parses the whole batch before it looks at any grant, so that nothing of
// a malformed batch happens. An error means that the instance must end.
func (g *gate) check(batch []byte, seq uint64) error {
	all, err := parseEffects(g.net[:0], batch, seq)
	g.net = all[:0]
	if err != nil {
		return err
	}
	g.ops, g.commits, g.posts, g.notes, g.denied, g.drained = g.ops[:0], g.commits[:0], g.posts[:0], g.notes[:0], g.denied[:0], false
	g.crypto, g.tags = g.crypto[:0], nil
	g.total = len(all)
	for i := range all {
		g.sort(&all[i])
	}
	return nil
}

// sort puts one effect where it belongs. The network effects move up in the
// slice they are in.
func (g *gate) sort(f *sdk.Effect) {
	switch f.Kind {
	case sdk.OpSend, sdk.OpStreamWrite, sdk.OpStreamCredit, sdk.OpStreamReset, sdk.OpTimer, sdk.OpPenalize, sdk.OpSendMany:
		g.net = append(g.net, *f)
	case sdk.OpStreamOpen:
		g.open(f)
	case sdk.OpConnect:
		if !g.grants.Connect {
			g.deny(f, "connect", "")
			return
		}
		g.net = append(g.net, *f)
	case sdk.OpStatePut, sdk.OpStateDelete:
		g.state(f)
	case sdk.OpCommit:
		if g.grants.State == 0 {
			g.deny(f, "state", "")
			return
		}
		g.commits = append(g.commits, f.Ref)
	case sdk.OpPost:
		g.posts = append(g.posts, *f)
	case sdk.OpLog, sdk.OpCount:
		g.notes = append(g.notes, *f)
	case sdk.OpDrained:
		g.drained = true
	case sdk.OpSign, sdk.OpVerify, sdk.OpAnnounce:
		g.statement(f)
	default: // effects that this host knows and lacks
		g.deny(f, unimplemented, "")
	}
}

func (g *gate) open(f *sdk.Effect) {
	if f.Flags&sdk.FlagApp != 0 {
		g.deny(f, unimplemented, "")
		return
	}
	if f.Flags&sdk.FlagModule != 0 {
		holders := g.holders(f.ID)
		for _, name := range holders {
			if !slices.Contains(g.grants.Call, name) {
				g.deny(f, "call:"+name, "")
				return
			}
		}
		// Nobody answers to the id: the node says so, no grant is missing.
	}
	g.net = append(g.net, *f)
}

func (g *gate) state(f *sdk.Effect) {
	if g.grants.State == 0 {
		g.deny(f, "state", "")
		return
	}
	if g.frozen {
		g.deny(f, draining, "another version of the module has taken its state over")
		return
	}
	if f.Kind == sdk.OpStateDelete {
		g.used -= uint64(g.sizes[string(f.Payload)])
		delete(g.sizes, string(f.Payload))
		g.ops = append(g.ops, store.Op{Delete: true, Key: f.Payload})
		return
	}
	key, val, _ := sdk.ParseStateEntry(f.Payload) // parseEffects has checked it
	was, size := g.sizes[string(key)], len(key)+len(val)
	if size > was && g.used+uint64(size-was) > g.grants.State {
		g.deny(f, "state", "its state would be larger than granted")
		return
	}
	g.sizes[string(key)] = size
	g.used = g.used - uint64(was) + uint64(size)
	g.ops = append(g.ops, store.Op{Key: key, Val: val})
}

func (g *gate) deny(f *sdk.Effect, grant, why string) {
	if why == "" {
		why = "grant " + grant + " is missing"
		if grant == unimplemented {
			why = "this host does not have it"
		}
	}
	g.denied = append(g.denied, denial{f.Kind, f.Ref, grant, why})
}
