package host

import (
	"nethost/host/kernel"
	"nethost/host/module"
	"nethost/registry"
	"nethost/sdk"
)

// Modules is what runs the node's modules: it lists them, and lets new versions
// take over.
func (h *Host) Modules() *module.Manager { return h.mods }

// Up notes that a fresh instance takes events (module.Host): its ids join the
// manifest, and it hears of the peers that are there.
func (h *Host) Up(slot int) {
	spec, ok := h.mods.Spec(slot)
	if !ok {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.setTable(withLines(h.table, slot, spec))
	h.traced(kernel.Trace{Kind: TraceModule, Text: spec.Name + " is ready"})
	h.in = kernel.Input{Kind: kernel.InModuleUp, Slot: slot, Text: spec.Name}
	h.stepLocked()
	h.announceUp(slot)
}

// withLines gives a table in which a slot answers to a version's ids: the same one
// when it does already, so that a restart changes no manifest.
func withLines(t *registry.Table, slot int, spec module.Spec) *registry.Table {
	for _, s := range spec.Subprotocols {
		if owner, ok := t.Lookup(s.ID, s.Version.Major); !ok || owner != slot {
			t = t.With(registry.Entry{Line: registry.Line{ID: s.ID, Version: s.Version, MinPeer: s.MinPeer, Required: s.Required}, Slot: slot})
		}
	}
	return t
}

// Swap lets the version in a slot take over from another (module.Host): in one
// hold of the lock its ids move, the peers are negotiated with again, and what the
// other has not seen is handed over. No packet comes in between.
func (h *Host) Swap(from, slot int, move func() []sdk.Ref) {
	spec, ok := h.mods.Spec(slot)
	if !ok {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.table = withLines(h.table.Without(from), slot, spec)
	h.in = kernel.Input{Kind: kernel.InModuleSwap, Slot: slot, Other: from, Table: h.table, Text: spec.Name}
	h.stepLocked()
	h.in = kernel.Input{Kind: kernel.InModuleAdopt, Slot: slot, Other: from, Refs: move()}
	h.stepLocked()
	h.traced(kernel.Trace{Kind: TraceModule, Text: spec.Name + " " + spec.Release + " took over"})
	h.announceLocked(from, nil)
	h.announceUp(slot)
}

// Down notes that an instance died (module.Host). Its ids stay in the manifest
// while a restart is coming.
func (h *Host) Down(slot int) {
	spec, _ := h.mods.Spec(slot)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.traced(kernel.Trace{Kind: TraceModule, Text: spec.Name + " is down"})
	h.in = kernel.Input{Kind: kernel.InModuleDown, Slot: slot}
	h.stepLocked()
	h.announceLocked(slot, nil)
}

// Gone notes that no instance follows (module.Host): the module's ids leave the
// manifest, and peers hear of it.
func (h *Host) Gone(slot int) {
	spec, _ := h.mods.Spec(slot)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range spec.Subprotocols {
		if owner, ok := h.table.Lookup(s.ID, s.Version.Major); ok && owner == slot {
			h.setTable(h.table.Without(slot))
			h.traced(kernel.Trace{Kind: TraceModule, Text: spec.Name + " is gone: its ids left the manifest"})
			break
		}
	}
	h.announceLocked(slot, nil)
	h.announceSelf()
}

// Draining notes that an instance was told to finish (module.Host).
func (h *Host) Draining(slot int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.in = kernel.Input{Kind: kernel.InModuleDrain, Slot: slot}
	h.stepLocked()
}

// Streams counts the open streams of an instance (module.Host).
func (h *Host) Streams(slot int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.k.Streams(slot)
}
