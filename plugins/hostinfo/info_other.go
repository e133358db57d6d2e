//go:build !linux

package main

import "os"

// readInfo tells what the Go runtime knows. The rest is left out.
func readInfo(cfg settings) Info {
	in := base()
	if cfg.hostname {
		in.Hostname, _ = os.Hostname()
	}
	return in
}
