package host

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"time"

	"nethost/registry"
	"nethost/sdk"
)

// capabilityID is the id whose holder hears what the node and its modules are, and
// which nodes can be reached.
const capabilityID sdk.ID = 0x0C00

const (
	// routePeriod is how often the holder hears which nodes came, went or moved.
	routePeriod = 250 * time.Millisecond
	// factsPeriod is how often Config.Facts is asked.
	factsPeriod = 10 * time.Second
)

// facts is what the holder of 0x0C00 was told. The host's lock guards it.
type facts struct {
	tags    map[int][]string // by slot
	machine []string         // from Config.Facts
	self    []string         // as last told
	routes  map[sdk.NodeID]uint64
}

// holder is the slot that holds 0x0C00.
func (h *Host) holder() (int, bool) {
	_, slot, ok := h.table.Newest(capabilityID)
	return slot, ok
}

// announced takes the tags of a module (module.Config).
func (h *Host) announced(slot int, tags []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.announceLocked(slot, tags)
}

func (h *Host) announceLocked(slot int, tags []string) {
	if slices.Equal(h.facts.tags[slot], tags) {
		return
	}
	if h.facts.tags == nil {
		h.facts.tags = map[int][]string{}
	}
	h.facts.tags[slot] = tags
	h.tellTags(slot)
}

// tellTags hands the holder one module's tags.
func (h *Host) tellTags(slot int) {
	to, ok := h.holder()
	spec, known := h.mods.Spec(slot)
	if ok && known {
		p := spec.Subprotocols[0]
		h.mods.Deliver(to, sdk.Event{Kind: sdk.EvAnnounceChanged, ID: p.ID, Version: p.Version, Payload: sdk.AppendTags(nil, h.facts.tags[slot])})
	}
}

// announceUp notes that an instance is up: its ids are a fact, and a holder hears
// everything anew.
func (h *Host) announceUp(slot int) {
	if to, ok := h.holder(); ok && to == slot {
		h.facts.routes, h.facts.self = map[sdk.NodeID]uint64{}, nil
		for _, s := range slices.Sorted(maps.Keys(h.facts.tags)) {
			if len(h.facts.tags[s]) > 0 {
				h.tellTags(s)
			}
		}
		h.tellRoutes()
	}
	h.announceSelf()
}

// announceSelf tells the holder what the node is.
func (h *Host) announceSelf() {
	to, ok := h.holder()
	if !ok {
		return
	}
	tags := append([]string{fmt.Sprintf("hardware.cores=%d", runtime.NumCPU()), "software.os=" + runtime.GOOS, "software.arch=" + runtime.GOARCH}, h.facts.machine...)
	for _, l := range h.table.Manifest(0).Lines {
		tags = append(tags, "subprotocol:"+l.ID.String()+"="+l.Version.String())
	}
	for _, l := range h.table.Manifest(0).Lines {
		slot, ok := h.table.Lookup(l.ID, l.Version.Major)
		if m, known := h.mods.Spec(slot); ok && known && m.Release != "" {
			tags = append(tags, "software.module."+m.Name+"="+m.Release)
		}
	}
	if pol := h.k.Policy(); pol.NoRelay || pol.Killed {
		tags = append(tags, "software.relay=no")
	}
	slices.Sort(tags)
	tags = slices.Compact(tags)
	if slices.Equal(tags, h.facts.self) {
		return
	}
	h.facts.self = tags
	h.mods.Deliver(to, sdk.Event{Kind: sdk.EvAnnounceChanged, ID: registry.Core, Version: sdk.Version{Major: 1}, Payload: sdk.AppendTags(nil, tags)})
}

// tellRoutes hands the holder what changed about which nodes can be reached. A cost
// that moved by less than a quarter is no change.
func (h *Host) tellRoutes() {
	to, ok := h.holder()
	if !ok || h.facts.routes == nil {
		return
	}
	known, now := h.facts.routes, map[sdk.NodeID]uint64{}
	for _, r := range h.k.Routes() {
		was, had := known[r.Dest]
		cost := max(1, uint64(r.Metric))
		if had && cost*4 >= was*3 && cost*4 <= was*5 {
			now[r.Dest] = was
			continue
		}
		now[r.Dest] = cost
		h.mods.Deliver(to, sdk.Event{Kind: sdk.EvRoute, Arg: cost, Payload: r.Dest[:]})
	}
	var lost []sdk.NodeID
	for id := range known {
		if _, ok := now[id]; !ok {
			lost = append(lost, id)
		}
	}
	slices.SortFunc(lost, sdk.NodeID.Compare)
	for _, id := range lost {
		h.mods.Deliver(to, sdk.Event{Kind: sdk.EvRoute, Flags: sdk.FlagFIN, Payload: id[:]})
	}
	h.facts.routes = now
}

// tell keeps the holder of 0x0C00 informed until stop is closed.
func (h *Host) tell(stop chan struct{}) {
	tick := time.NewTicker(routePeriod)
	defer tick.Stop()
	for next := time.Duration(0); ; {
		h.mu.Lock()
		_, wanted := h.holder()
		if wanted {
			h.tellRoutes()
		}
		h.mu.Unlock()
		if now := h.Now(); wanted && now >= next {
			next = now + factsPeriod
			var machine []string
			if h.cfg.Facts != nil {
				machine = h.cfg.Facts()
			}
			h.mu.Lock()
			h.facts.machine = machine
			h.announceSelf()
			h.mu.Unlock()
		}
		h.mods.RunInline()
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}
