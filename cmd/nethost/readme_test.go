package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

const readmePath = "../../README.md"

// block gives the first fenced block of a language after a heading.
func block(t *testing.T, heading, lang string) string {
	t.Helper()
	b, err := os.ReadFile(readmePath)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), heading+"\n")
	rest, _, _ = strings.Cut(rest, "\n## ")
	if ok {
		_, rest, ok = strings.Cut(rest, "```"+lang+"\n")
	}
	text, _, end := strings.Cut(rest, "```")
	if !ok || !end {
		t.Fatalf("README.md has no %s block under %q", lang, heading)
	}
	return text
}

func TestReadmeLinks(t *testing.T) {
	b, err := os.ReadFile(readmePath)
	if err != nil {
		t.Fatal(err)
	}
	links := regexp.MustCompile(`\]\(([^)#\s]+)[^)]*\)`).FindAllStringSubmatch(string(b), -1)
	for _, m := range links {
		if strings.Contains(m[1], "://") {
			continue
		}
		if _, err := os.Stat(filepath.Join("../..", m[1])); err != nil {
			t.Errorf("README.md links to %s: %v", m[1], err)
		}
	}
	if len(links) < 10 {
		t.Errorf("only %d links found: has the way they are written changed?", len(links))
	}
}

// product is the binary a reader of the README builds: as make builds it, without
// the race detector, under which wazero compiles ten times as slowly.
var product = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(productDir, "nethost")
	build := exec.Command("go", "build", "-trimpath", "-o", bin, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return bin, nil
})

// freePorts are UDP ports of 127.0.0.1 that nobody has at the moment.
func freePorts(t *testing.T, n int) (ports []string) {
	t.Helper()
	for range n {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close() // only after all are taken: no port twice
		ports = append(ports, fmt.Sprint(c.LocalAddr().(*net.UDPAddr).Port))
	}
	return ports
}

// shell runs a script and gives its standard output. Nodes the script starts in
// the background end with it.
func shell(t *testing.T, dir, script string) string {
	t.Helper()
	cmd := exec.Command("bash", "-euc", "trap 'kill $(jobs -p) || :; wait' EXIT\n"+script)
	cmd.Dir = dir
	// Nothing of the user's own, and the go command as it is here.
	cmd.Env = append(os.Environ(), "HOME="+dir, "GOCACHE="+goEnv(t, "GOCACHE"), "GOMODCACHE="+goEnv(t, "GOMODCACHE"), "GOFLAGS=-mod=mod", "GOPROXY=off")
	var errOut strings.Builder
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s\n%s", err, script, out, errOut.String())
	}
	return string(out)
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// readmeDir is a directory with a short path, for sockets, and the product.
func readmeDir(t *testing.T) (dir, bin string) {
	t.Helper()
	bin, err := product()
	if err != nil {
		t.Fatal(err)
	}
	dir, err = os.MkdirTemp("", "nh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir, bin
}

// TestReadmeTwoNodes runs the shell block as it stands, with other directories
// and ports.
func TestReadmeTwoNodes(t *testing.T) {
	dir, bin := readmeDir(t)
	script := block(t, "## Run two nodes of your own", "sh")
	ports := freePorts(t, 2)
	for _, r := range [][2]string{{"make build\n", ""}, {"/tmp/", dir + "/"}, {"dist/nethost", bin}, {"7701", ports[0]}, {"7702", ports[1]}} {
		if !strings.Contains(script, r[0]) {
			t.Fatalf("the block has no %q any more", r[0])
		}
		script = strings.ReplaceAll(script, r[0], r[1])
	}
	if out := shell(t, dir, script); !strings.HasSuffix(out, "hello over the mesh") {
		t.Errorf("the block printed %q", out)
	}
}

// TestReadmeModule builds the module of the README as its reader would, natively
// and as a guest, runs a node with it and calls it.
func TestReadmeModule(t *testing.T) {
	dir, bin := readmeDir(t)
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(dir, "shout")
	if err := os.Mkdir(src, 0o755); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"main.go":     block(t, "## Write a module", "go"),
		"module.toml": block(t, "## Write a module", "toml"),
		"go.mod":      "module shout\n\ngo 1.26\n\nrequire nethost v0.0.0\n\nreplace nethost => " + root + "\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(src, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if lines := strings.Count(files["main.go"], "\n"); lines > 40 {
		t.Errorf("the first module has %d lines: it is to be one of thirty or so", lines)
	}
	out := shell(t, dir, `N=`+bin+`
		(cd shout && go vet . && go build -o /dev/null .)
		$N module build shout --out plugins/shout
		$N init --data a
		$N run --data a --listen 127.0.0.1:0 --plugins plugins --dev &
		$N modules --data a --wait 4 --within 60s
		$N call --data a shout --text hello`)
	if !strings.HasSuffix(out, "HELLO") {
		t.Errorf("got %s", out)
	}
}
