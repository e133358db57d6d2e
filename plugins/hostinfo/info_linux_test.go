package main

import "testing"

func FuzzProc(f *testing.F) {
	f.Add([]byte("MemTotal:       16303120 kB\nMemFree: 1 kB\nMemAvailable:   8303120 kB\n"))
	f.Add([]byte("0.52 0.58 0.59 1/467 12345\n"))
	f.Add([]byte("NaN 1e400 MemTotal: -1 kB\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		parseMeminfo(b)
		if l := parseLoadavg(b); l != nil && !(*l >= 0 && *l < 1e9) {
			t.Errorf("load %v", *l)
		}
	})
}

func TestParseProc(t *testing.T) {
	total, available := parseMeminfo([]byte("MemTotal:       16303120 kB\nMemFree:  1 kB\nMemAvailable:    8303120 kB\nHugePages_Total:       0\n"))
	if total != 16303120<<10 || available != 8303120<<10 {
		t.Errorf("memory %d of %d", available, total)
	}
	if l := parseLoadavg([]byte("0.52 0.58 0.59 1/467 12345\n")); l == nil || *l != 0.52 {
		t.Errorf("load %v", l)
	}
	for _, bad := range []string{"", "NaN 1", "+Inf", "x"} {
		if l := parseLoadavg([]byte(bad)); l != nil {
			t.Errorf("%q gives %v", bad, *l)
		}
	}
}
