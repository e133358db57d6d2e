package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// systemFacts asks the kernel.
func systemFacts(data string) []string {
	var tags []string
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) == 3 && f[0] == "MemTotal:" {
				if kb, err := strconv.ParseUint(f[1], 10, 50); err == nil {
					tags = append(tags, "hardware.memory_gb="+gib(kb<<10))
				}
			}
		}
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		first, _, _ := strings.Cut(string(b), " ")
		if load, err := strconv.ParseFloat(first, 64); err == nil && load >= 0 && load < 1e6 {
			tags = append(tags, loadTag(load, runtime.NumCPU()))
		}
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		if v := kernelVersion(string(bytes.TrimSpace(b))); v != "" {
			tags = append(tags, "software.kernel="+v)
		}
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(data, &fs); err == nil {
		size := uint64(fs.Bsize)
		tags = append(tags, "storage.total_gb="+gib(fs.Blocks*size), "storage.free_gb="+gib(fs.Bavail*size))
	}
	return append(tags, gpuFacts("/sys/class/drm")...)
}

// kernelVersion keeps the numbers of "6.8.0-45-generic".
func kernelVersion(s string) string {
	end := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end >= 0 {
		s = s[:end]
	}
	return strings.Trim(s, ".")
}

// gpuFacts finds display adapters that have a driver, by the vendor's PCI number
// (pci-ids.ucw.cz). The virtual ones of machine emulators are none.
func gpuFacts(dir string) []string {
	cards, _ := filepath.Glob(filepath.Join(dir, "card[0-9]*"))
	names, n := map[string]bool{}, 0
	for _, c := range cards {
		if strings.Contains(filepath.Base(c), "-") {
			continue // a connector of a card
		}
		b, err := os.ReadFile(filepath.Join(c, "device", "vendor"))
		if err != nil {
			continue
		}
		vendor := map[string]string{"0x10de": "nvidia", "0x1002": "amd", "0x8086": "intel"}[strings.TrimSpace(string(b))]
		if vendor != "" {
			names[vendor], n = true, n+1
		}
	}
	if n == 0 {
		return nil
	}
	tags := []string{"hardware.gpus=" + strconv.Itoa(n)}
	for _, v := range []string{"amd", "intel", "nvidia"} {
		if names[v] {
			tags = append(tags, "hardware.gpu="+v)
		}
	}
	return tags
}
