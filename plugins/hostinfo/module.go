package main

import (
	"encoding/json"
	"runtime"

	"nethost/sdk"
)

const (
	// ID is hostinfo's subprotocol id.
	ID sdk.ID = 0x1002

	method = "get"
	// maxPending bounds the answers being read at once: each is some file
	// reads, and a hanging file system must not collect goroutines.
	maxPending = 64
)

// Info is the answer. Sizes are bytes; a field that the system does not tell is
// left out.
type Info struct {
	OS              string   `json:"os"`
	Arch            string   `json:"arch"`
	Cores           int      `json:"cores"`
	MemoryTotal     uint64   `json:"memory_total,omitempty"`
	MemoryAvailable uint64   `json:"memory_available,omitempty"`
	Load1           *float64 `json:"load1,omitempty"` // nil: not known; an idle machine has 0
	DiskTotal       uint64   `json:"disk_total,omitempty"`
	DiskFree        uint64   `json:"disk_free,omitempty"` // for users without privileges
	Hostname        string   `json:"hostname,omitempty"`
}

// settings are the [config] of module.toml.
type settings struct {
	disk     string
	hostname bool
}

type hostinfo struct {
	cfg settings
	// calls are the streams opened and not yet answered; jobs leads from the
	// reference of a Work to the stream that waits for it.
	calls map[sdk.Ref]struct{}
	jobs  map[sdk.Ref]sdk.Ref
	read  func(settings) Info // tests put in their own

	draining bool

	// What is announced: the prefixes granted, and the tags last told.
	prefixes []string
	told     []string
	timer    sdk.Ref
	factsJob sdk.Ref
	parts    func() []string
}

func newModule() *hostinfo {
	return &hostinfo{cfg: settings{disk: "/"}, calls: make(map[sdk.Ref]struct{}), jobs: make(map[sdk.Ref]sdk.Ref), read: readInfo, parts: machineParts}
}

// Describe implements sdk.Module.
func (h *hostinfo) Describe() sdk.Descriptor {
	v := sdk.Version{Major: 1}
	return sdk.Descriptor{Name: "hostinfo", Release: "1.0.0", Methods: []string{method},
		Subprotocols: []sdk.Subprotocol{{ID: ID, Version: v, MinPeer: v}}}
}

// Handle implements sdk.Module.
func (h *hostinfo) Handle(env *sdk.Env, ev *sdk.Event) {
	switch ev.Kind {
	case sdk.EvConfig:
		h.configure(env, ev.Payload)
	case sdk.EvStart:
		h.started(env, ev.Payload)
	case sdk.EvTimer:
		h.lookAround(env)
	case sdk.EvStreamOpen:
		h.open(env, ev)
	case sdk.EvStreamData:
		h.data(env, ev)
	case sdk.EvStreamReset:
		delete(h.calls, ev.Ref)
	case sdk.EvPosted:
		if ev.Ref == h.factsJob && h.factsJob != 0 {
			h.announce(env, ev.Payload)
			return
		}
		h.answer(env, ev)
	case sdk.EvDrain:
		h.draining = true
	case sdk.EvFlush:
		if h.draining && len(h.calls) == 0 {
			h.draining = false
			env.Drained()
		}
	}
}

func (h *hostinfo) configure(env *sdk.Env, payload []byte) {
	pairs, err := sdk.ParsePairs(payload)
	if err != nil {
		env.Log(sdk.LogError, "the configuration cannot be read; defaults are used")
		return
	}
	for _, p := range pairs {
		switch p.Key {
		case "disk":
			h.cfg.disk = p.Value
		case "hostname":
			h.cfg.hostname = p.Value == "true"
		}
	}
}

func (h *hostinfo) open(env *sdk.Env, ev *sdk.Event) {
	o, err := sdk.ParseOpen(ev.Payload)
	switch {
	case err != nil:
		env.Reset(ev.Ref, sdk.InvalidArgument, "the open cannot be read")
	case o.Method != "" && o.Method != method:
		env.Reset(ev.Ref, sdk.Unimplemented, "no method "+o.Method+"; there is get")
	default:
		h.calls[ev.Ref] = struct{}{}
	}
}

// data waits for the end of the request, whose bytes mean nothing.
func (h *hostinfo) data(env *sdk.Env, ev *sdk.Event) {
	if _, known := h.calls[ev.Ref]; !known {
		return
	}
	if !ev.FIN() {
		env.Credit(ev.Ref, len(ev.Payload))
		return
	}
	if len(h.jobs) >= maxPending {
		delete(h.calls, ev.Ref)
		env.Reset(ev.Ref, sdk.Overloaded, "too many answers are being read: try again later")
		return
	}
	job, cfg, read := env.NewRef(), h.cfg, h.read
	h.jobs[job] = ev.Ref
	env.Work(job, func() []byte {
		b, err := json.Marshal(read(cfg))
		if err != nil {
			return nil
		}
		return append(b, '\n')
	})
}

func (h *hostinfo) answer(env *sdk.Env, ev *sdk.Event) {
	stream, ours := h.jobs[ev.Ref]
	if !ours {
		return
	}
	delete(h.jobs, ev.Ref)
	if _, waiting := h.calls[stream]; !waiting {
		return // it was reset meanwhile
	}
	delete(h.calls, stream)
	if len(ev.Payload) == 0 {
		env.Reset(stream, sdk.Internal, "the machine's facts cannot be written as JSON")
		return
	}
	// An answer is far below the credit every stream starts with.
	env.Write(stream, ev.Payload, true)
}

// base is what every system tells.
func base() Info {
	return Info{OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU()}
}
