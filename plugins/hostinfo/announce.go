package main

import (
	"slices"
	"strings"
	"time"

	"nethost/sdk"
)

// factsPeriod is how often the machine is looked at anew.
const factsPeriod = time.Minute

// started begins to announce the machine's parts when the operator granted it:
//
//	[grants.hostinfo]
//	announce = ["hardware.", "devices."]
func (h *hostinfo) started(env *sdk.Env, payload []byte) {
	s, err := sdk.ParseStart(payload)
	if err != nil {
		return
	}
	for _, g := range s.Grants {
		if prefix, ok := strings.CutPrefix(g, "announce:"); ok {
			h.prefixes = append(h.prefixes, prefix)
		}
	}
	if len(h.prefixes) > 0 {
		h.timer = env.NewRef()
		h.lookAround(env)
	}
}

// lookAround reads the machine off the loop; announce takes what was found.
func (h *hostinfo) lookAround(env *sdk.Env) {
	env.After(h.timer, factsPeriod)
	h.factsJob = env.NewRef()
	parts := h.parts
	env.Work(h.factsJob, func() []byte { return sdk.AppendTags(nil, parts()) })
}

func (h *hostinfo) announce(env *sdk.Env, payload []byte) {
	tags, err := sdk.ParseTags(payload)
	if err != nil {
		return
	}
	tags = slices.DeleteFunc(tags, func(t string) bool {
		return !slices.ContainsFunc(h.prefixes, func(p string) bool { return strings.HasPrefix(t, p) })
	})
	slices.Sort(tags)
	if tags = slices.Compact(tags); !slices.Equal(tags, h.told) {
		h.told = tags
		env.Announce(tags)
	}
}

// plain makes a tag's value of what a driver says: printable, without "=" at the
// border and no longer than a tag may be.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s[:min(len(s), 100)]), " ")
}
