package main

import (
	"strings"
	"testing"

	v1 "nethost/sdk/client/nethostv1"
)

// TestTop: what is shown is what happened between two looks; a module that started anew in
// between, or that nobody meters, is told as what it is.
func TestTop(t *testing.T) {
	load := func(name string, busy float64, events, cpu, debt uint64, known bool) *v1.ModuleLoad {
		return &v1.ModuleLoad{Name: name, Release: "1.0.0", State: "ready", BusyS: busy, Events: events, CpuUs: cpu, DebtUs: debt, CpuKnown: known, MailboxMax: 10}
	}
	before := &v1.TopResponse{UptimeS: 8, Modules: []*v1.ModuleLoad{load("guest", 1, 100, 1_000_000, 0, true), load("anew", 5, 500, 9_000, 0, true), load("builtin", 1, 10, 0, 0, false)}}
	now := &v1.TopResponse{UptimeS: 10, Modules: []*v1.ModuleLoad{load("guest", 1.5, 300, 1_003_000, 250, true), load("anew", 0.2, 20, 8_000, 0, true), load("builtin", 1, 10, 0, 0, false)}}
	var out strings.Builder
	showTop(&out, before, now)
	want := [][]string{
		{"NAME", "RELEASE", "STATE", "BUSY", "CPU/S", "DEBT", "MEMORY", "EVENTS/S", "MAILBOX"},
		{"guest", "1.0.0", "ready", "25.0%", "1.5ms", "250µs", "-", "100", "0/10"},
		{"anew", "1.0.0", "ready", "10.0%", "4ms", "0s", "-", "10", "0/10"},
		{"builtin", "1.0.0", "ready", "0.0%", "-", "-", "-", "0", "0/10"},
	}
	lines := strings.Split(out.String(), "\n")
	for i, w := range want {
		if got := strings.Fields(lines[i]); strings.Join(got[:len(w)], " ") != strings.Join(w, " ") {
			t.Errorf("line %d: %q, want %q", i, got[:len(w)], w)
		}
	}
}
