package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"nethost/sdk"
)

const readmePath = "../../README.md"

// block gives the first fenced block of a language after a heading.
func block(t *testing.T, readme, heading, lang string) string {
	t.Helper()
	_, rest, ok := strings.Cut(readme, heading)
	if ok {
		_, rest, ok = strings.Cut(rest, "```"+lang+"\n")
	}
	text, _, end := strings.Cut(rest, "```")
	if !ok || !end {
		t.Fatalf("README.md has no %s block under %q", lang, heading)
	}
	return text
}

func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(readmePath)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestReadmeLinks(t *testing.T) {
	for _, m := range regexp.MustCompile(`\]\(([^)#]+)\)`).FindAllStringSubmatch(readme(t), -1) {
		if _, err := os.Stat(filepath.Join("../..", m[1])); err != nil && !strings.Contains(m[1], "://") {
			t.Errorf("README.md links to %s: %v", m[1], err)
		}
	}
}

// TestReadmeTwoNodes runs the shell block as it stands, with other directories
// and ports.
func TestReadmeTwoNodes(t *testing.T) {
	dir, err := os.MkdirTemp("", "nh")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "nethost")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	script := block(t, readme(t), "## Run two nodes", "sh")
	var ports []string
	for range 2 {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, fmt.Sprint(c.LocalAddr().(*net.UDPAddr).Port))
		defer c.Close()
		c.Close()
	}
	script = strings.NewReplacer("make build", "set -e", "dist/nethost", bin, "/tmp/", dir+"/", "7701", ports[0], "7702", ports[1]).Replace(script)
	cmd := exec.Command("bash", "-c", script+"\nkill %1 %2; wait")
	var errOut strings.Builder
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil || !strings.Contains(string(out), "hello over the mesh") {
		t.Errorf("%v\n%s\n%s", err, out, errOut.String())
	}
}

// TestReadmeModule builds the module of the README as its reader would, loads it
// and calls it.
func TestReadmeModule(t *testing.T) {
	src, err := os.MkdirTemp(".", "readme-module-") // inside the module, so that it can import sdk
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(src)
	for name, lang := range map[string]string{"main.go": "go", "module.toml": "toml"} {
		if err := os.WriteFile(filepath.Join(src, name), []byte(block(t, readme(t), "## Write a module", lang)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	plugins := t.TempDir()
	var out, errOut strings.Builder
	if code := run([]string{"module", "build", src, "--out", filepath.Join(plugins, "shout")}, strings.NewReader(""), &out, &errOut); code != 0 {
		t.Fatalf("exit code %d: %s", code, errOut.String())
	}
	h, _ := testHost(t, "a", plugins)
	eventually(t, h, sdk.NodeID{}, 0x1234, "hello", "HELLO")
}
