package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestDocsOperators runs the shell blocks of docs/operators.md as they stand, one after
// the other, with another directory and port.
func TestDocsOperators(t *testing.T) {
	dir, bin := readmeDir(t)
	blocks := docBlocks(t, "operators.md", "sh")
	if len(blocks) < 6 {
		t.Fatalf("only %d shell blocks", len(blocks))
	}
	script := "export PATH=" + filepath.Dir(bin) + ":$PATH\n" + strings.Join(blocks, "")
	for _, r := range [][2]string{{"/tmp/operators-node", dir + "/n"}, {"7701", freePorts(t, 1)[0]}} {
		if !strings.Contains(script, r[0]) {
			t.Fatalf("the blocks have no %q any more", r[0])
		}
		script = strings.ReplaceAll(script, r[0], r[1])
	}
	out := shell(t, dir, script)
	for _, want := range []string{"hello, operator", "hello, the new one", "sensor: version 0.2.0 needs approval, it asks for + sign\n",
		"sensor 0.2.0 pinned\n", "NEEDS_APPROVAL", "module was upgraded from=0.1.0 to=0.2.0"} {
		if !strings.Contains(out, want) {
			t.Errorf("the blocks did not print %q", want)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}
