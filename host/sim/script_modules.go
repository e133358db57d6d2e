package sim

import (
	"fmt"
	"strings"

	"nethost/host/kernel"
	"nethost/registry"
	"nethost/sdk"
)

// execModules runs the commands that change one module of a running node, as a host does
// when packages come and go, and those that show what came of it.
func (n *Node) execModules(cmd, word string, modules func(string) (sdk.Module, error)) (string, error) {
	if n.k == nil {
		return "down", nil
	}
	switch cmd {
	case "manifest":
		return n.manifest(word), nil
	case "told":
		text := strings.Join(n.told, "\n")
		n.told = nil
		return text, nil
	case "quarantine":
		id, err := sdk.ParseID(word)
		if err != nil {
			return "", err
		}
		return "", n.quarantine(id)
	}
	m, err := modules(word)
	if err != nil {
		return "", err
	}
	if cmd == "upgrade" {
		return "", n.upgrade(m)
	}
	n.add(m)
	return "", nil
}

// manifest is what the node offers, or what it has of a peer: with the number of changes
// that came over the wire.
func (n *Node) manifest(peer string) string {
	m, text := n.k.Manifest(), "offers"
	if of := n.w.Node(peer); of != nil {
		for _, p := range n.k.Peers(n.now()) {
			if p.Node == of.ID() {
				m, text = p.Theirs, fmt.Sprintf("epoch %d", p.Theirs.Epoch)
			}
		}
	}
	for _, l := range m.Lines {
		text += fmt.Sprintf("\n%v %v", l.ID, l.Version)
	}
	return text
}

// hear notes what a module is told of a peer.
func (n *Node) hear(ev *sdk.Event) {
	if ev.Kind != sdk.EvPeerUp && ev.Kind != sdk.EvPeerDown {
		return
	}
	who := ""
	for _, p := range n.k.Peers(n.now()) {
		if p.Handle == ev.Peer {
			who = n.w.nameOf(p.Node)
		}
	}
	line := fmt.Sprintf("%v %v %s", ev.ID, ev.Kind, who)
	if ev.Kind == sdk.EvPeerUp {
		line += " " + ev.Version.String()
	} else {
		line += " " + sdk.DownReason(ev.Arg).String()
	}
	n.told = append(n.told, line)
}

// install puts a module into a slot of its own and gives that.
func (n *Node) install(m sdk.Module) (slot int) {
	n.mods = append(n.mods, &moduleRun{mod: m, inst: NewInstance(m)})
	n.cfg.Modules = nil
	for _, r := range n.mods {
		if !r.gone {
			n.cfg.Modules = append(n.cfg.Modules, r.mod)
		}
	}
	return len(n.mods) - 1
}

// lines gives the table in which a slot answers to its module's ids.
func (n *Node) lines(t *registry.Table, slot int) *registry.Table {
	for _, s := range n.mods[slot].mod.Describe().Subprotocols {
		t = t.With(registry.Entry{Line: registry.Line{ID: s.ID, Version: s.Version, MinPeer: s.MinPeer, Required: s.Required}, Slot: slot})
	}
	return t
}

func (n *Node) add(m sdk.Module) {
	slot := n.install(m)
	n.table = n.lines(n.table, slot)
	n.step(kernel.Input{Kind: kernel.InTable, Table: n.table})
	n.step(kernel.Input{Kind: kernel.InModuleUp, Slot: slot})
}

// holder is the slot that answers to an id.
func (n *Node) holder(id sdk.ID) (int, error) {
	if _, slot, ok := n.table.Newest(id); ok {
		return slot, nil
	}
	return 0, fmt.Errorf("no module of %s holds %v", n.Name, id)
}

// upgrade lets a module take over from the one that holds its first id. That one has no
// streams: it is gone at once.
func (n *Node) upgrade(m sdk.Module) error {
	old, err := n.holder(m.Describe().Subprotocols[0].ID)
	if err != nil {
		return err
	}
	n.mods[old].gone = true
	slot := n.install(m)
	n.table = n.lines(n.table.Without(old), slot)
	n.step(kernel.Input{Kind: kernel.InModuleSwap, Slot: slot, Other: old, Table: n.table})
	n.step(kernel.Input{Kind: kernel.InModuleAdopt, Slot: slot, Other: old})
	n.step(kernel.Input{Kind: kernel.InModuleDown, Slot: old})
	return nil
}

// quarantine ends the module that holds an id, and none follows.
func (n *Node) quarantine(id sdk.ID) error {
	slot, err := n.holder(id)
	if err != nil {
		return err
	}
	n.step(kernel.Input{Kind: kernel.InModuleDown, Slot: slot})
	n.mods[slot].gone, n.mods[slot].queue = true, nil
	n.table = n.table.Without(slot)
	n.step(kernel.Input{Kind: kernel.InTable, Table: n.table})
	return nil
}
