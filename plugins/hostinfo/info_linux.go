package main

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// readInfo asks the kernel. What cannot be read is left out.
func readInfo(cfg settings) Info {
	in := base()
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		in.MemoryTotal, in.MemoryAvailable = parseMeminfo(b)
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		in.Load1 = parseLoadavg(b)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(cfg.disk, &fs); err == nil {
		in.DiskTotal, in.DiskFree = fs.Blocks*uint64(fs.Bsize), fs.Bavail*uint64(fs.Bsize)
	}
	if cfg.hostname {
		in.Hostname, _ = os.Hostname()
	}
	return in
}

// parseMeminfo finds two lines of /proc/meminfo, such as
// "MemTotal:       16303120 kB".
func parseMeminfo(b []byte) (total, available uint64) {
	for line := range bytes.Lines(b) {
		key, rest, _ := bytes.Cut(line, []byte(":"))
		number, unit, _ := bytes.Cut(bytes.TrimSpace(rest), []byte(" "))
		n, err := strconv.ParseUint(string(number), 10, 54)
		if err != nil || string(unit) != "kB" {
			continue
		}
		switch string(key) {
		case "MemTotal":
			total = n << 10
		case "MemAvailable":
			available = n << 10
		}
	}
	return total, available
}

// parseLoadavg reads the first number of /proc/loadavg.
func parseLoadavg(b []byte) *float64 {
	first, _, _ := bytes.Cut(b, []byte(" "))
	f, err := strconv.ParseFloat(string(first), 64)
	if err != nil || !(f >= 0 && f < 1e9) { // JSON has no NaN
		return nil
	}
	return &f
}
