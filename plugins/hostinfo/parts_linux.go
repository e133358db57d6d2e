package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// machineParts finds processors, GPUs and devices of this machine.
func machineParts() []string { return partsOf("/") }

// partsOf looks under root, so that a test can put in a machine of its own.
func partsOf(root string) []string {
	var tags []string
	read := func(path ...string) string {
		b, err := os.ReadFile(filepath.Join(path...))
		if err != nil {
			return ""
		}
		return string(b)
	}
	field := func(text, key string) string {
		for l := range strings.Lines(text) {
			if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == key {
				return plain(v)
			}
		}
		return ""
	}
	if cpu := field(read(root, "proc/cpuinfo"), "model name"); cpu != "" {
		tags = append(tags, "hardware.cpu="+cpu)
	}
	gpus, vram := 0, uint64(0)
	nvidia, _ := filepath.Glob(filepath.Join(root, "proc/driver/nvidia/gpus/*/information"))
	for _, f := range nvidia {
		if model := field(read(f), "Model"); model != "" {
			tags, gpus = append(tags, "hardware.gpu="+model), gpus+1
		}
	}
	amd, _ := filepath.Glob(filepath.Join(root, "sys/class/drm/card*/device/mem_info_vram_total"))
	for _, f := range amd {
		if n, err := strconv.ParseUint(strings.TrimSpace(read(f)), 10, 64); err == nil && n > 0 {
			tags, gpus, vram = append(tags, "hardware.gpu=amd"), gpus+1, max(vram, n)
		}
	}
	if gpus > 0 {
		tags = append(tags, fmt.Sprintf("hardware.gpus=%d", gpus))
	}
	if vram >= 1<<30 {
		tags = append(tags, fmt.Sprintf("hardware.vram_gb=%d", (vram+1<<29)>>30))
	}
	for key, pattern := range map[string]string{"devices.camera": "sys/class/video4linux/video*", "devices.usb": "sys/bus/usb/devices/[0-9]*-[0-9]*.[0-9]*"} {
		if found, _ := filepath.Glob(filepath.Join(root, pattern)); len(found) > 0 {
			tags = append(tags, fmt.Sprintf("%s=%d", key, len(found)))
		}
	}
	if strings.Contains(read(root, "proc/cpuinfo"), " hypervisor") {
		tags = append(tags, "hardware.virtual")
	}
	return tags // announce sorts them
}
