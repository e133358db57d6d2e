package main

import "testing"

func TestSpareMemory(t *testing.T) {
	const mib = 1 << 20
	var i spareMemory
	for _, step := range []struct {
		name            string
		allocated, held uint64
		spare           bool
		left            uint64 // what is held once memory was given back
	}{
		{"the start", 4 * mib, 5 * mib, true, 3 * mib},
		{"nothing since", 4 * mib, 3 * mib, false, 0},
		{"less than is worth it", 5 * mib, 4 * mib, false, 0},
		{"busy", 500 * mib, 300 * mib, false, 0},
		{"quiet after the burst", 501 * mib, 300 * mib, true, 200 * mib},
		{"an eighth is kept", 502 * mib, 220 * mib, false, 0},
		{"more is not", 503 * mib, 230 * mib, true, 200 * mib},
		{"streams ended", 504 * mib, 20 * mib, false, 0},
		{"what was held then no longer counts", 505 * mib, 25 * mib, true, 20 * mib},
	} {
		if got := i.spare(step.allocated, step.held); got != step.spare {
			t.Errorf("%s: memory is given back: %v, want %v", step.name, got, step.spare)
		}
		if step.left > 0 {
			i.freed(step.allocated, step.left)
		}
	}
}
