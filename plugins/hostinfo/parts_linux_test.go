package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"nethost/sdk"
	"nethost/sdk/sdktest"
)

// TestParts: what /proc and /sys say becomes tags, as far as they are granted, and
// again only when they change.
func TestParts(t *testing.T) {
	root := t.TempDir()
	for path, text := range map[string]string{"proc/cpuinfo": "processor : 0\nmodel name\t: AMD  EPYC 7763\nflags\t: fpu hypervisor\n",
		"proc/driver/nvidia/gpus/0/information": "Model: \t\t NVIDIA A100-SXM4-80GB\nIRQ: 1\n", "sys/class/drm/card1/device/mem_info_vram_total": "25753026560\n",
		"sys/class/video4linux/video0": ""} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, path), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"hardware.cpu=AMD EPYC 7763", "hardware.gpu=NVIDIA A100-SXM4-80GB", "hardware.gpu=amd", "hardware.gpus=2", "hardware.virtual", "hardware.vram_gb=24"}
	m := newModule()
	m.parts = func() []string { return partsOf(root) }
	h := start(t, m)
	if len(h.Effects) != 0 {
		t.Errorf("without the grant: %v", h.Effects)
	}
	m = newModule()
	m.parts = func() []string { return partsOf(root) }
	h = sdktest.NewHarness(t, m)
	h.Start(sdk.Start{Grants: []string{"announce:hardware."}})
	announced := func() (all [][]string) {
		for _, f := range h.Effects {
			if f.Kind == sdk.OpAnnounce {
				tags, _ := sdk.ParseTags(f.Payload)
				all = append(all, tags)
			}
		}
		return all
	}
	if got := announced(); len(got) != 1 || !slices.Equal(got[0], want) {
		t.Errorf("announced %q, want %q", got, want)
	}
	h.Advance(3 * time.Minute)
	if got := announced(); len(got) != 1 {
		t.Errorf("announced %d times without a change", len(got))
	}
	if err := os.Remove(filepath.Join(root, "proc/driver/nvidia/gpus/0/information")); err != nil {
		t.Fatal(err)
	}
	h.Advance(2 * time.Minute)
	if got := announced(); len(got) != 2 || slices.Contains(got[1], "hardware.gpus=2") {
		t.Errorf("after a GPU went: %q", got)
	}
}
