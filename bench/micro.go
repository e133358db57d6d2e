package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// microPackages are those whose benchmarks stand on the path of a packet.
var microPackages = [...]string{"./host/wire", "./host/session", "./host/stream", "./host/route", "./host/liveness", "./host/kernel", "./host/link",
	"./registry", "./sdk/abi"}

// microLine is one Go benchmark of the product.
type microLine struct{ pkg, name, ns, bytes, allocs, extra string }

// runMicro is B12: the product's own benchmarks, once.
func (r *runner) runMicro(ctx context.Context) error {
	if r.o.only != "" && !slices.Contains(strings.Split(r.o.only, ","), "B12") || r.o.peers != "" && !r.wanted("nethost") {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-run=^$", "-bench=.", "-benchmem", "-benchtime=50ms"}, microPackages[:]...)...)
	cmd.Dir = r.o.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = r.log
	out, err := cmd.Output()
	if err != nil {
		r.skip(fmt.Sprintf("some of B12: go test -bench: %v", err))
	}
	var pkg string
	for line := range bytes.Lines(out) {
		f := strings.Fields(string(line))
		if len(f) == 2 && f[0] == "pkg:" {
			pkg = f[1]
		}
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		if _, err := strconv.Atoi(f[1]); err != nil {
			continue
		}
		m := microLine{pkg: pkg, name: strings.TrimPrefix(f[0], "Benchmark")}
		for i := 2; i+1 < len(f); i += 2 {
			switch f[i+1] {
			case "ns/op":
				m.ns = f[i]
			case "B/op":
				m.bytes = f[i]
			case "allocs/op":
				m.allocs = f[i]
			default:
				m.extra = strings.TrimSpace(m.extra + " " + f[i] + " " + f[i+1])
			}
		}
		r.micro = append(r.micro, m)
	}
	return nil
}
