package main

import (
	"strings"
	"testing"
)

// TestReadmeBadNetwork runs the two nodes of the README and the line after them as
// they stand, with other directories and ports.
func TestReadmeBadNetwork(t *testing.T) {
	dir, bin := readmeDir(t)
	script := block(t, "## Run two nodes of your own", "sh") + block(t, "## Try a bad network", "sh")
	ports := freePorts(t, 4)
	for _, r := range [][2]string{{"make build\n", ""}, {"/tmp/", dir + "/"}, {"dist/nethost", bin}, {"7701", ports[0]}, {"7702", ports[1]},
		{"7703", ports[2]}, {"7800", ports[3]}} {
		if !strings.Contains(script, r[0]) {
			t.Fatalf("the blocks have no %q any more", r[0])
		}
		script = strings.ReplaceAll(script, r[0], r[1])
	}
	if out := shell(t, dir, script); !strings.Contains(out, "the same\n") {
		t.Errorf("the blocks printed %q", out)
	}
}
