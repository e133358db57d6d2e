package main

import (
	"regexp"
	"strings"
	"testing"
)

// TestReadmeFind runs the shell block about finding nodes behind the one that starts
// two of them.
func TestReadmeFind(t *testing.T) {
	dir, bin := readmeDir(t)
	script := block(t, "## Run two nodes of your own", "sh") + block(t, "## Find nodes by what they are", "sh")
	ports := freePorts(t, 3)
	for _, r := range [][2]string{{"make build\n", ""}, {"/tmp/", dir + "/"}, {"dist/nethost", bin}, {"7701", ports[0]}, {"7702", ports[1]}, {"7704", ports[2]}} {
		if !strings.Contains(script, r[0]) {
			t.Fatalf("the blocks have no %q any more", r[0])
		}
		script = strings.ReplaceAll(script, r[0], r[1])
	}
	if out := shell(t, dir, script); !regexp.MustCompile(`(?m)^[a-z2-7]{8} +self .* prod .*region:us`).MatchString(out) {
		t.Errorf("the blocks printed %q", out)
	}
}
