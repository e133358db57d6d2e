package module

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nethost/sdk"
)

// pack writes a package; text may hold DIGEST for the artifact's true digest.
func pack(t *testing.T, dir, name, artifact, text string) {
	t.Helper()
	folder := filepath.Join(dir, name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if artifact != "" {
		path := filepath.Join(folder, artifact)
		if err := os.WriteFile(path, []byte("program "+name), 0o755); err != nil {
			t.Fatal(err)
		}
		sum, err := Digest(path)
		if err != nil {
			t.Fatal(err)
		}
		text = strings.ReplaceAll(text, "DIGEST", hex.EncodeToString(sum[:]))
	}
	if err := os.WriteFile(filepath.Join(folder, ManifestName), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const goodManifest = `name     = "good"
version  = "1.2.3"
carrier  = "wasm"
artifact = "good.wasm"
blake3   = "DIGEST"

[[subprotocol]]
id       = 0x1234
version  = "1.2"
min_peer = "1.0"

[wants]
state = "1MiB"

[limits]
memory  = "16MiB"
cpu     = "200us"
cpu_max = "5ms"
mailbox = 100

[config]
greeting = "hello"

[api]
methods = ["m"]
`

func TestLoadGood(t *testing.T) {
	dir := t.TempDir()
	pack(t, dir, "good", "good.wasm", goodManifest)
	os.WriteFile(filepath.Join(dir, "README"), []byte("not a package"), 0o644)
	os.Mkdir(filepath.Join(dir, "empty"), 0o755)
	specs, rejected, err := Load(dir, Options{Unsigned: true,
		Grants:    map[string]map[string]any{"good": {"state": "64KiB", "call": []any{"other"}}},
		Overrides: map[string]map[string]any{"good": {"memory": "8MiB", "config": map[string]any{"greeting": "hi"}}}})
	if err != nil || len(rejected) != 0 || len(specs) != 1 {
		t.Fatalf("%v %v %v", specs, rejected, err)
	}
	s := specs[0]
	if s.Name != "good" || s.Release != "1.2.3" || s.Kind != Wasm || s.Limits.Memory != 8<<20 || s.Limits.CPU != 200*time.Microsecond ||
		s.Limits.CPUMax != 5*time.Millisecond || s.Limits.Mailbox != 100 || s.Grants.State != 64<<10 || s.Grants.Call[0] != "other" || !filepath.IsAbs(s.Artifact) {
		t.Errorf("%+v", s)
	}
	if got := fmt.Sprint(s.Config); got != "[{greeting hi}]" {
		t.Errorf("config %s", got)
	}
}

// TestLoadRefuses: each package is refused with its file, line and reason, and the
// good one beside it loads.
func TestLoadRefuses(t *testing.T) {
	change := func(old, new string) string { return strings.Replace(goodManifest, old, new, 1) }
	for name, c := range map[string]struct {
		text     string
		artifact string
		line     int
		reason   string
	}{
		"missing artifact":   {change("DIGEST", strings.Repeat("0", 64)), "", 4, "is missing"},
		"wrong digest":       {change("DIGEST", strings.Repeat("0", 64)), "good.wasm", 5, "another digest"},
		"no digest":          {change(`blake3   = "DIGEST"`, ""), "good.wasm", 0, "module build"},
		"malformed":          {change(`name     =`, `name    == `), "good.wasm", 1, "expected"},
		"unknown key":        {change(`[wants]`, "[wants]\ncolour = 1"), "good.wasm", 13, `unknown key "wants.colour"`},
		"bad name":           {change(`"good"`, `"Good!"`), "good.wasm", 1, "lower-case"},
		"bad release":        {change(`"1.2.3"`, `"one"`), "good.wasm", 2, "release"},
		"bad carrier":        {change(`"wasm"`, `"docker"`), "good.wasm", 3, "builtin, wasm or process"},
		"artifact elsewhere": {change(`"good.wasm"`, `"../good.wasm"`), "good.wasm", 4, "in this folder"},
		"no subprotocol":     {goodManifest[:strings.Index(goodManifest, "[[sub")], "good.wasm", 0, "one id at least"},
		"id too large":       {change("0x1234", "0x12345"), "good.wasm", 7, "16-bit"},
		"core id":            {change("0x1234", "0x0A00"), "good.wasm", 7, "core id"},
		"kernel id":          {change("0x1234", "0x0600"), "good.wasm", 7, "kernel"},
		"bad version":        {change(`"1.2"`, `"1"`), "good.wasm", 7, "major.minor"},
		"min_peer above":     {change(`min_peer = "1.0"`, `min_peer = "1.3"`), "good.wasm", 7, "not above"},
		"twice":              {change("[wants]", "[[subprotocol]]\nid = 0x1234\nversion = \"1.0\"\n[wants]"), "good.wasm", 12, "twice"},
		"bad size":           {change(`"1MiB"`, `"much"`), "good.wasm", 13, "size"},
		"too much state":     {change(`"1MiB"`, `"1GiB"`), "good.wasm", 13, "16MiB"},
		"bad duration":       {change(`"200us"`, `"soon"`), "good.wasm", 17, "duration"},
		"inline and slow":    {change("mailbox = 100", "inline = true"), "good.wasm", 19, "cpu_max"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			pack(t, dir, "bad", c.artifact, c.text)
			pack(t, dir, "fine", "fine.wasm", strings.NewReplacer("good", "fine", "0x1234", "0x1235").Replace(goodManifest))
			specs, rejected, err := Load(dir, Options{Unsigned: true})
			if err != nil || len(specs) != 1 || specs[0].Name != "fine" || len(rejected) != 1 {
				t.Fatalf("specs %v, rejected %v, %v", specs, rejected, err)
			}
			r := rejected[0]
			if r.Line != c.line || !strings.Contains(r.Reason, c.reason) || filepath.Base(filepath.Dir(r.File)) != "bad" {
				t.Errorf("%s:%d: %s; want line %d, %q", r.File, r.Line, r.Reason, c.line, c.reason)
			}
		})
	}
}

func TestLoadDuplicateAndUnsigned(t *testing.T) {
	dir := t.TempDir()
	pack(t, dir, "a", "good.wasm", goodManifest)
	pack(t, dir, "b", "other.wasm", strings.ReplaceAll(goodManifest, "good", "other"))
	pack(t, dir, "c", "good.wasm", strings.ReplaceAll(goodManifest, "0x1234", "0x1235"))
	specs, rejected, err := Load(dir, Options{Unsigned: true})
	if err != nil || len(specs) != 1 || len(rejected) != 2 || !strings.Contains(rejected[0].Reason, "held by module good") ||
		!strings.Contains(rejected[1].Reason, `called "good" already`) {
		t.Errorf("duplicate (id, major), duplicate name: %v %v %v", specs, rejected, err)
	}
	if specs, rejected, _ = Load(dir, Options{}); len(specs) != 0 || len(rejected) != 3 || !strings.Contains(rejected[0].Reason, "--dev") {
		t.Errorf("unsigned: %v %v", specs, rejected)
	}
}

func TestLoadOperatorFaults(t *testing.T) {
	_, _, err := Load(t.TempDir(), Options{
		Grants:    map[string]map[string]any{"a": {"stat": "1MiB"}, "b": {"state": "x"}},
		Overrides: map[string]map[string]any{"c": {"carrier": "docker"}}})
	good := t.TempDir()
	pack(t, good, "good", "good.wasm", goodManifest)
	_, rejected, _ := Load(good, Options{Unsigned: true, Overrides: map[string]map[string]any{"good": {"config": map[string]any{"greting": "x"}}}})
	if len(rejected) != 1 || !strings.Contains(rejected[0].Reason, `no key "greting"`) {
		t.Errorf("a config key the module does not have: %v", rejected)
	}
	for _, want := range []string{"[grants.a]", `"stat"`, "[grants.b]", "[module.c]", "docker"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q in it", err, want)
		}
	}
	if _, _, err := Load("/does/not/exist", Options{}); err == nil {
		t.Error("a directory that is not there")
	}
}

func TestBuiltinOverride(t *testing.T) {
	dir := t.TempDir()
	pack(t, dir, "good", "good.wasm", goodManifest)
	opts := Options{Overrides: map[string]map[string]any{"good": {"carrier": "builtin"}},
		Builtin: map[string]func() sdk.Module{"good": func() sdk.Module { return nil }}}
	specs, rejected, err := Load(dir, opts)
	if err != nil || len(specs) != 1 || specs[0].Kind != Builtin || !specs[0].Limits.Inline {
		t.Errorf("%+v %v %v", specs, rejected, err)
	}
	opts.Builtin = nil
	if _, rejected, _ = Load(dir, opts); len(rejected) != 1 || !strings.Contains(rejected[0].Reason, "compiled in") {
		t.Errorf("%v", rejected)
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add(goodManifest)
	f.Add("name = 1")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ParseManifest([]byte(text))
		if err == nil && (len(m.Subprotocols) == 0 || m.Name == "") {
			t.Errorf("taken: %+v", m)
		}
	})
}
