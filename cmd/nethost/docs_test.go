package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docBlocks gives the fenced blocks of a language in a file of docs/, in order.
func docBlocks(t *testing.T, file, lang string) (blocks []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../docs", file))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?s)```"+lang+"\n(.*?)```").FindAllStringSubmatch(string(b), -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

func TestDocsLinks(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(files) == 0 {
		t.Fatal("no docs", err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\]\(([^)#\s]+)[^)]*\)`).FindAllStringSubmatch(string(b), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join("../../docs", m[1])); err != nil {
				t.Errorf("%s links to %s: %v", f, m[1], err)
			}
		}
	}
}

// TestDocsModules runs the shell blocks of docs/modules.md as they stand, one after the
// other, with another directory and port, and packs the module.toml that it shows.
func TestDocsModules(t *testing.T) {
	dir, bin := readmeDir(t)
	sh := docBlocks(t, "modules.md", "sh")
	if len(sh) != 3 {
		t.Fatalf("%d shell blocks, want the project, the two nodes of dev, and the node", len(sh))
	}
	script := "export PATH=" + filepath.Dir(bin) + ":$PATH\n" + strings.Join(sh, "")
	for _, r := range [][2]string{{"/tmp/greeter-node", dir + "/n"}, {"7701", freePorts(t, 1)[0]}} {
		if !strings.Contains(script, r[0]) {
			t.Fatalf("the blocks have no %q any more", r[0])
		}
		script = strings.ReplaceAll(script, r[0], r[1])
	}
	if out := shell(t, dir, script); !strings.HasSuffix(out, "hello, you") || !strings.Contains(out, "ok    crash         drains") ||
		!strings.Contains(out, `call greet "you" = "hello, you" in `) || !strings.Contains(out, "A <- PeerUp          B") {
		t.Errorf("the blocks printed %q", out)
	}
	text := docBlocks(t, "modules.md", "toml")[0]
	if err := os.WriteFile(filepath.Join(dir, "greeter/module.toml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	shell(t, dir, bin+" module build --quiet greeter")
}
