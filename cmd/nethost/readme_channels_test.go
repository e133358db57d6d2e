package main

import (
	"strings"
	"testing"
)

// TestReadmeChannels runs the blocks about channels behind the one that starts two
// nodes: the subscriber gets the event, and curl gets an answer.
func TestReadmeChannels(t *testing.T) {
	dir, bin := readmeDir(t)
	curl := block(t, "from curl, data in base64:", "sh")
	script := block(t, "## Run two nodes of your own", "sh") + block(t, "## Publish and subscribe", "sh") + curl
	ports := freePorts(t, 4)
	for _, r := range [][2]string{{"make build\n", ""}, {"/tmp/", dir + "/"}, {"dist/nethost", bin}, {"7701", ports[0]}, {"7702", ports[1]}, {"7705", ports[2]}, {"7706", ports[3]}} {
		if !strings.Contains(script, r[0]) {
			t.Fatalf("the blocks have no %q any more", r[0])
		}
		script = strings.ReplaceAll(script, r[0], r[1])
	}
	out := shell(t, dir, script)
	if !strings.Contains(out, "sensors/temp ") || !strings.Contains(out, "  21.5\n") {
		t.Errorf("the subscriber printed %q", out)
	}
	if n := strings.Count(out, `{"data":"`); n != 2 {
		t.Errorf("curl printed %q", out)
	}
}
