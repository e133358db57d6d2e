package nethost

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pkg is what the laws need to know of a package of this module.
type pkg struct {
	ImportPath, Name, Dir string
	GoFiles               []string
	TestGoFiles           []string
	XTestGoFiles          []string
	IgnoredGoFiles        []string
	Imports               []string
	Deps                  []string
}

// rel is the package's path below the module; "" is the root.
func (p pkg) rel() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, "nethost"), "/")
}

// files gives the hand-written, non-test files, those of other systems included.
func (p pkg) files() []string {
	var out []string
	for _, f := range slices.Concat(p.GoFiles, p.IgnoredGoFiles) {
		if !strings.HasSuffix(f, ".pb.go") && !strings.HasSuffix(f, ".connect.go") && !strings.HasSuffix(f, "_test.go") {
			out = append(out, filepath.Join(p.Dir, f))
		}
	}
	return out
}

func list(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Name,Dir,GoFiles,TestGoFiles,XTestGoFiles,IgnoredGoFiles,Imports,Deps", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// pure are the packages whose heart reads no clock, starts nothing and rolls no
// dice.
var pure = []string{"sdk", "sdk/abi", "sdk/name", "sdk/token", "sdk/gossip", "sdk/channel", "registry", "host/wire", "host/identity", "host/session", "host/stream", "host/route",
	"host/liveness", "host/pmtu", "host/kernel", "host/impair"}

// protocolRooms are what a built-in protocol may import of this module: the contract,
// and what several protocols must agree on to the byte.
var protocolRooms = []string{"nethost/sdk", "nethost/sdk/name", "nethost/sdk/token", "nethost/sdk/gossip", "nethost/sdk/channel"}

func isPure(rel string) bool {
	return slices.Contains(pure, rel) || strings.HasPrefix(rel, "subprotocols/builtin/")
}

// floors orders the rooms, low to high: an arrow points down or stays within a
// room's own folder.
var floors = []struct {
	prefix string
	floor  int
}{
	{"sdk/client", 2}, {"sdk/abi", 1}, {"sdk/name", 0}, {"sdk/token", 1}, {"sdk/gossip", 1}, {"sdk/channel", 1}, {"sdk/sdktest", 3}, {"sdk/guest", 2}, {"sdk/plugin", 2}, {"sdk", 0},
	{"registry", 1}, {"host/link", 2}, {"host/internal", 2}, {"host/impair/proxy", 1}, {"host/impair", 0},
	{"host/wire", 1}, {"host/identity", 2}, {"host/route", 3}, {"host/liveness", 1}, {"host/pmtu", 1}, {"host/store", 1}, {"host/dirwatch", 1}, {"host/discovery", 1},
	{"host/session", 3}, {"host/stream", 3}, {"host/module/", 5}, {"host/module", 3}, {"host/localapi", 3},
	{"host/kernel", 4}, {"host/sim/measure", 8}, {"host/sim", 7}, {"host", 6},
	{"subprotocols/builtin/", 2}, {"subprotocols/builtin", 3}, {"subprotocols/wasm", 4}, {"plugins", 4}, {"cmd", 9},
}

func floorOf(rel string) int {
	for _, f := range floors {
		if rel == f.prefix || strings.HasPrefix(rel, strings.TrimSuffix(f.prefix, "/")+"/") {
			return f.floor
		}
	}
	return -1
}

// doors names, for each third party, the only packages that may import it.
var doors = map[string][]string{
	"github.com/flynn/noise":         {"host/session"},
	"github.com/tetratelabs/wazero":  {"host/module/wasm"},
	"github.com/hashicorp/go-plugin": {"sdk/plugin", "host/module/process"},
	"github.com/hashicorp/go-hclog":  {"sdk/plugin", "host/module/process"},
	"google.golang.org/grpc":         {"sdk/plugin", "host/module/process"},
	"github.com/hashicorp/mdns":      {"host/discovery"},
	"github.com/miekg/dns":           {"host/discovery"}, // the records that mdns is written in
	"github.com/knadh/koanf":         {"cmd/nethost"},
	"lukechampine.com/blake3":        {"host/identity", "host/module", "host/module/process", "host/module/wasm"},
	"go.etcd.io/bbolt":               {"host/store"},
	"github.com/fsnotify/fsnotify":   {"host/dirwatch"},
	"connectrpc.com/connect":         {"sdk/client", "sdk/client/nethostv1", "host/localapi"},
	"google.golang.org/protobuf":     {"sdk/client/nethostv1", "cmd/nethost", "sdk/plugin", "host/module/process"},
	"github.com/spf13/cobra":         {"cmd/nethost"},
	"github.com/spf13/pflag":         {"cmd/nethost"},
	"github.com/pelletier/go-toml":   {"host/module"},
	"golang.org/x/crypto":            {"host/session", "host/identity"},
	"golang.org/x/sys":               {"host", "host/link", "host/impair/proxy", "host/module/process", "host/module/wasm", "plugins/hostinfo"},
	"golang.org/x/term":              {"cmd/nethost"},
	"rsc.io/qr":                      {"cmd/nethost"},
}

func TestArchitecture(t *testing.T) {
	all := list(t)

	t.Run("arrows point down", func(t *testing.T) {
		for _, p := range all {
			if p.rel() == "" {
				continue
			}
			from := floorOf(p.rel())
			if from < 0 {
				t.Errorf("%s has no floor: say in arch_test.go where in the house it stands", p.rel())
			}
			for _, imp := range p.Imports {
				rel, ours := strings.CutPrefix(imp, "nethost/")
				if !ours {
					continue
				}
				// Only a room and its own closet may share a floor.
				if to := floorOf(rel); to > from || to == from && !strings.HasPrefix(rel, p.rel()+"/") {
					t.Errorf("%s (floor %d) imports %s (floor %d): the lower room would depend on the higher one", p.rel(), from, rel, to)
				}
			}
		}
	})

	t.Run("builtins import sdk only", func(t *testing.T) {
		for _, p := range all {
			if !strings.HasPrefix(p.rel(), "subprotocols/builtin/") {
				continue
			}
			for _, imp := range p.Imports {
				if strings.Contains(strings.Split(imp, "/")[0], ".") || strings.HasPrefix(imp, "nethost/") && !slices.Contains(protocolRooms, imp) {
					t.Errorf("%s imports %s: a builtin has no right that a guest lacks, so that each can be all three carriers", p.rel(), imp)
				}
			}
		}
	})

	t.Run("pure rooms", func(t *testing.T) {
		for _, p := range all {
			if isPure(p.rel()) {
				for _, f := range p.files() {
					impurities(t, p, f)
				}
			}
		}
	})

	t.Run("pure rooms know nobody who acts for them", func(t *testing.T) {
		for _, p := range all {
			if !isPure(p.rel()) {
				continue
			}
			for _, dep := range p.Deps {
				for _, room := range []string{"host/link", "host/module", "host/store", "host/observe", "host/localapi"} {
					if dep == "nethost/"+room || strings.HasPrefix(dep, "nethost/"+room+"/") {
						t.Errorf("%s depends on %s: a pure room says what it wants done and does not know who does it", p.rel(), dep)
					}
				}
			}
		}
	})

	t.Run("one door per dependency", func(t *testing.T) {
		for _, p := range all {
			for _, imp := range p.Imports {
				if strings.HasPrefix(imp, "nethost") || !strings.Contains(strings.Split(imp, "/")[0], ".") {
					continue
				}
				allowed, known := doorOf(imp)
				if !known {
					t.Errorf("%s imports %s, which has no door: name one in arch_test.go and say in RATIONALE.md why it is worth its upkeep", p.rel(), imp)
				} else if !slices.Contains(allowed, p.rel()) {
					t.Errorf("%s imports %s, whose door is %v: a second door spreads its types through the house", p.rel(), imp, allowed)
				}
			}
		}
	})

	t.Run("host drags in no carrier", func(t *testing.T) {
		for _, p := range all {
			if p.rel() != "host" {
				continue
			}
			for _, dep := range p.Deps {
				for _, heavy := range []string{"google.golang.org/grpc", "github.com/tetratelabs/wazero", "google.golang.org/protobuf", "connectrpc.com",
					"nethost/host/module/"} {
					if strings.HasPrefix(dep, heavy) {
						t.Errorf("embedding a host drags in %s: carriers are handed in by cmd/nethost/run.go", dep)
					}
				}
			}
		}
	})

	t.Run("sdk builds as a guest", func(t *testing.T) {
		cmd := exec.Command("go", "build", "./sdk", "./sdk/abi", "./sdk/name", "./sdk/token", "./sdk/gossip", "./sdk/channel", "./sdk/guest", "./subprotocols/builtin/...")
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("authors compile these to WebAssembly: %v\n%s", err, out)
		}
		for _, p := range all {
			if p.rel() == "sdk" || p.rel() == "sdk/guest" || p.rel() == "sdk/abi" {
				for _, dep := range p.Deps {
					if strings.Contains(strings.Split(dep, "/")[0], ".") && !strings.HasPrefix(dep, "vendor/") {
						t.Errorf("%s depends on %s: the contract is the standard library and nothing else", p.rel(), dep)
					}
				}
			}
		}
	})

	t.Run("every package says what it is", func(t *testing.T) {
		for _, p := range all {
			if p.rel() == "" {
				continue
			}
			for _, word := range []string{"util", "utils", "common", "helpers", "misc", "types"} {
				if p.Name == word {
					t.Errorf("package %s: name it for what it owns", p.rel())
				}
			}
			docs := 0
			for _, f := range p.files() {
				file, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.PackageClauseOnly|parser.ParseComments)
				if err != nil {
					t.Fatal(err)
				}
				if file.Doc != nil {
					docs++
				}
			}
			if docs == 0 {
				t.Errorf("%s has no package comment: say what it owns and what it refuses to know", p.rel())
			}
		}
	})

	t.Run("no init, no sleeping tests, no giants", func(t *testing.T) {
		for _, p := range all {
			for _, f := range p.files() {
				budgets(t, p, f)
			}
			for _, f := range slices.Concat(p.TestGoFiles, p.XTestGoFiles) {
				b, err := os.ReadFile(filepath.Join(p.Dir, f))
				if err != nil {
					t.Fatal(err)
				}
				bubble := strings.Contains(string(b), `"testing/synctest"`) // a sleep there costs no real time
				if p.rel() != "" && !bubble && regexp.MustCompile(`\btime\.Sleep\(`).Match(b) {
					t.Errorf("%s/%s sleeps: a test that sleeps measures the machine; wait for a condition or use testing/synctest", p.rel(), f)
				}
			}
		}
	})

	t.Run("no path of one machine", func(t *testing.T) {
		read := 0
		err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && (path == ".git" || path == "dist") {
				return filepath.SkipDir // bare: WalkDir compares with ==, and anything else ends the walk
			}
			if d.IsDir() || !slices.Contains([]string{".go", ".md", ".toml", ".txt", ""}, filepath.Ext(path)) || path == "arch_test.go" {
				return nil
			}
			read++
			b, err := os.ReadFile(path)
			if m := regexp.MustCompile(`(/work/|\.\./shared|\bDESIGN\.md|\bSTYLE\.md|\bLIMITS\.md)[^\n]*`).Find(b); m != nil {
				t.Errorf("%s mentions %q: what the project needs, it says itself", path, m)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if read < len(all) {
			t.Errorf("read %d files of %d packages: the walk ended early and this law saw nothing", read, len(all))
		}
	})
}

func doorOf(imp string) ([]string, bool) {
	for prefix, allowed := range doors {
		if imp == prefix || strings.HasPrefix(imp, prefix+"/") {
			return allowed, true
		}
	}
	return nil, false
}

// impurities reports everything in a file that a pure room must not have.
func impurities(t *testing.T, p pkg, path string) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	bad := func(n ast.Node, what string) {
		t.Errorf("%s: %s in a pure room: time, entropy and I/O are arguments there, so that the simulator sees everything", fset.Position(n.Pos()), what)
	}
	clock := "time" // what the file calls package time
	for _, imp := range file.Imports {
		name := strings.Trim(imp.Path.Value, `"`)
		for _, no := range []string{"sync", "os", "log", "net", "context", "crypto/rand", "math/rand", "hash/maphash"} {
			if name == no || strings.HasPrefix(name, no+"/") && name != "net/netip" {
				bad(imp, "import of "+name)
			}
		}
		if name == "time" && imp.Name != nil {
			if clock = imp.Name.Name; clock == "." {
				bad(imp, "dot import of time")
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			bad(n, "go statement")
		case *ast.ChanType:
			bad(n, "channel")
		case *ast.SelectStmt:
			bad(n, "select")
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == clock {
				switch n.Sel.Name {
				case "Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick":
					bad(n, "time."+n.Sel.Name)
				}
			}
		}
		return true
	})
}

// budgets holds files and functions to their size, and init to guest mains.
func budgets(t *testing.T, p pkg, path string) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	if n := fset.File(file.Pos()).LineCount(); n > 400 {
		t.Errorf("%s has %d lines: over 400, a reader loses the thread", path, n)
	}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if f.Name.Name == "init" && f.Recv == nil && !strings.HasPrefix(p.rel(), "subprotocols/wasm/") {
			t.Errorf("%s has an init: registration by import order needs a debugger to be read; only guest mains may", fset.Position(f.Pos()))
		}
		if n := fset.Position(f.End()).Line - fset.Position(f.Pos()).Line + 1; n > 80 {
			t.Errorf("%s: %s has %d lines: a step that has a name deserves a function", fset.Position(f.Pos()), f.Name.Name, n)
		}
	}
}
