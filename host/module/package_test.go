package module

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"nethost/host/identity"
	"nethost/sdk"
)

func publisherKey(b byte) *identity.Key {
	return identity.NewKey([32]byte(bytes.Repeat([]byte{b}, 32)))
}

// site is a node's directories: packages, and the operator's files.
type site struct {
	t       *testing.T
	plugins string
	opts    Options
}

func newSite(t *testing.T) *site {
	data := t.TempDir()
	return &site{t, t.TempDir(), Options{TrustFile: filepath.Join(data, TrustName), LockFile: filepath.Join(data, LockName)}}
}

// sign packs a folder and signs it.
func (s *site) sign(name string, key *identity.Key, text string) string {
	s.t.Helper()
	pack(s.t, s.plugins, name, "good.wasm", text)
	path := filepath.Join(s.plugins, name)
	if _, err := SignPackage(path, key, ""); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func (s *site) trust(key *identity.Key, label string, names, ids string, carriers ...Kind) {
	s.t.Helper()
	r, err := ParseIDRange(ids)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := UpdateTrust(s.opts.TrustFile, func(t *Trust) error {
		return t.Add(Trusted{Key: key.ID(), Label: label, Names: []string{names}, IDs: []IDRange{r}, Carriers: carriers})
	}); err != nil {
		s.t.Fatal(err)
	}
}

// one loads and wants exactly one package, taken or refused.
func (s *site) one() (Spec, Rejection) {
	s.t.Helper()
	specs, rejected, err := Load(s.plugins, s.opts)
	if err != nil || len(specs)+len(rejected) != 1 {
		s.t.Fatalf("specs %v, rejected %v, %v", specs, rejected, err)
	}
	if len(specs) == 1 {
		return specs[0], Rejection{}
	}
	return Spec{}, rejected[0]
}

func (s *site) refused(file string, line int, reason string) {
	s.t.Helper()
	_, r := s.one()
	if !strings.Contains(r.Reason, reason) || filepath.Base(r.File) != file || r.Line != line {
		s.t.Errorf("%s:%d: %q; want %s:%d: %q", r.File, r.Line, r.Reason, file, line, reason)
	}
}

// K2, K3: a package of a trusted publisher loads under its publisher's name, and is
// pinned; what is not exactly what was signed, or not what the publisher is trusted
// with, is refused with file and line.
func TestTrustedPackage(t *testing.T) {
	s, key := newSite(t), publisherKey(1)
	path := s.sign("good", key, goodManifest)
	s.refused("module.toml", 2, "its publisher is not trusted")
	s.trust(key, "acme", "g*", "0x1200-0x12ff", Wasm)
	spec, r := s.one()
	if spec.Publisher != PublisherText(key.ID()) || spec.Standing.Voucher != Signed || spec.Standing.Label != "acme" || spec.Standing.Lock != "new" ||
		spec.FullName() != spec.Publisher+"/good" || !slices.Equal(spec.Standing.Missing, []string{"state"}) {
		t.Fatalf("%+v %v", spec, r)
	}
	if spec, _ = s.one(); spec.Standing.Lock != "pinned" {
		t.Fatalf("second load: %+v", spec.Standing)
	}
	// K5.4: only a table with the publisher's name gives grants.
	s.opts.Grants = map[string]map[string]any{"good": {"state": "64KiB"}}
	if spec, _ = s.one(); spec.Grants.State != 0 {
		t.Error("a grant for an unsigned module of that name was given")
	}
	for _, owner := range []string{"acme", PublisherText(key.ID())} {
		s.opts.Grants = map[string]map[string]any{owner + "/good": {"state": "64KiB"}}
		if spec, _ = s.one(); spec.Grants.State != 64<<10 || !slices.Equal(spec.Standing.Missing, []string{"state (64KiB of 1MiB)"}) {
			t.Errorf("%s: %+v", owner, spec.Standing)
		}
	}
	s.opts.Grants[PublisherText(key.ID())+"/good"], s.opts.Grants["acme/good"] = map[string]any{}, map[string]any{}
	s.refused("module.toml", 0, "speak of the same module")
	s.opts.Grants = nil

	t.Run("manifest changed", func(t *testing.T) {
		file := filepath.Join(path, ManifestName)
		text, _ := os.ReadFile(file)
		defer os.WriteFile(file, text, 0o644)
		os.WriteFile(file, bytes.Replace(text, []byte("16MiB"), []byte("64MiB"), 1), 0o644)
		s.refused("module.sig", 0, "not of this module.toml")
		s.opts.Unsigned = true // K2.4: does not make a bad signature good
		s.refused("module.sig", 0, "not of this module.toml")
		s.opts.Unsigned = false
	})
	t.Run("artifact changed", func(t *testing.T) {
		file := filepath.Join(path, "good.wasm")
		text, _ := os.ReadFile(file)
		defer os.WriteFile(file, text, 0o644)
		os.WriteFile(file, append(text, 'x'), 0o644)
		s.refused("module.toml", 6, "another digest")
	})
	sigFile := filepath.Join(path, SignatureName)
	sig, _ := os.ReadFile(sigFile)
	other := newSite(t)
	foreign, _ := os.ReadFile(filepath.Join(other.sign("good", key, strings.Replace(goodManifest, "1.2.3", "1.2.4", 1)), SignatureName))
	stranger, _ := os.ReadFile(filepath.Join(newSite(t).sign("good", publisherKey(2), goodManifest), SignatureName))
	for name, c := range map[string]struct {
		text   []byte
		line   int
		reason string
	}{
		"of another manifest":   {foreign, 0, "not of this module.toml"},
		"of another publisher":  {stranger, 0, "but the manifest names"},
		"truncated":             {sig[:len(sig)-60], 4, "four lines"},
		"empty":                 {nil, 1, "four lines"},
		"short base64":          {bytes.Replace(sig, sig[bytes.IndexByte(sig, '\n')+1:][:4], nil, 1), 2, "base64"},
		"comment changed":       {bytes.Replace(sig, []byte("good 1.2.3"), []byte("good 9.9.9"), 1), 0, "trusted comment"},
		"with carriage returns": {bytes.ReplaceAll(sig, []byte("\n"), []byte("\r\n")), 1, "comment"},
		"too long":              {bytes.Repeat([]byte("x"), 4096), 0, "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			defer os.WriteFile(sigFile, sig, 0o644)
			os.WriteFile(sigFile, c.text, 0o644)
			s.refused("module.sig", c.line, c.reason)
		})
	}
	t.Run("no signature", func(t *testing.T) {
		defer os.WriteFile(sigFile, sig, 0o644)
		os.Remove(sigFile)
		s.refused("module.toml", 0, "unsigned")
	})
	t.Run("a link", func(t *testing.T) {
		defer func() { os.Remove(sigFile); os.WriteFile(sigFile, sig, 0o644) }()
		away := filepath.Join(t.TempDir(), "sig")
		os.WriteFile(away, sig, 0o644)
		os.Remove(sigFile)
		if err := os.Symlink(away, sigFile); err != nil {
			t.Skip(err)
		}
		s.refused("module.sig", 0, "link")
	})
	t.Run("no longer trusted", func(t *testing.T) {
		UpdateTrust(s.opts.TrustFile, func(tr *Trust) error { tr.Remove("acme"); return nil })
		s.refused("module.toml", 2, "not trusted")
	})
	for _, c := range []struct {
		names, ids string
		carrier    Kind
		line       int
		reason     string
	}{
		{"h*", "0x1234", Wasm, 1, `not trusted with a module called "good"`},
		{"*", "0x1235-0x12ff", Wasm, 8, "not trusted with 0x1234, only with 0x1235-0x12ff"},
		{"*", "0x1234", Process, 4, `not trusted with carrier "wasm"`},
	} {
		UpdateTrust(s.opts.TrustFile, func(tr *Trust) error { tr.Remove("acme"); return nil })
		s.trust(key, "acme", c.names, c.ids, c.carrier)
		s.refused("module.toml", c.line, c.reason)
	}
}

// K3.4: core ids are for the release key, whatever a publisher is called.
func TestCoreIDs(t *testing.T) {
	s, key := newSite(t), publisherKey(3)
	s.sign("echo", key, strings.NewReplacer("0x1234", "0x0007", `"good"`, `"echo"`).Replace(goodManifest))
	s.opts.Core = []string{"echo"}
	s.trust(key, "acme", "*", "0x1000-0xffff", Wasm)
	s.refused("module.toml", 8, "core id")
	s.opts.Release = PublisherText(key.ID())
	if spec, r := s.one(); spec.Standing.Voucher != Release {
		t.Errorf("%+v %v", spec, r)
	}
	if _, err := ParseIDRange("0x0007"); err == nil {
		t.Error("a core id in the trust store")
	}
}

// K4, K5: a changed package is refused until the operator takes it, and waits when
// it asks for more, until that is approved or granted.
func TestLock(t *testing.T) {
	s, key := newSite(t), publisherKey(4)
	s.trust(key, "acme", "*", "0x1200-0x12ff", Wasm)
	s.sign("good", key, goodManifest)
	if spec, r := s.one(); spec.Standing.Lock != "new" {
		t.Fatalf("%+v %v", spec, r)
	}
	t.Run("same requests", func(t *testing.T) {
		s.sign("good", key, strings.Replace(goodManifest, "1.2.3", "1.2.4", 1))
		s.refused("module.toml", 0, "`nethost module lock --update good` takes it")
		if _, r := s.one(); r.Waits != nil {
			t.Error("it asks for nothing more and waits")
		}
		if _, d, err := s.opts.Repin(s.plugins, "good", false); err != nil || d.Widens() {
			t.Fatalf("%v %v", d, err)
		}
		if spec, _ := s.one(); spec.Standing.Lock != "pinned" || spec.Release != "1.2.4" {
			t.Errorf("%+v", spec)
		}
	})
	wide := strings.NewReplacer("1.2.3", "2.0.0", `"1MiB"`, `"2MiB"`+"\ncall = [\"other\"]", `"16MiB"`, `"8MiB"`).Replace(goodManifest)
	t.Run("more requests", func(t *testing.T) {
		s.sign("good", key, wide)
		_, r := s.one()
		if r.Waits == nil || r.Waits.Delta.Wider() != "+ call:other, ~ state 1MiB -> 2MiB" || !strings.Contains(r.Reason, "NEEDS_APPROVAL") {
			t.Fatalf("%+v", r)
		}
		if _, d, err := s.opts.Repin(s.plugins, "good", false); err != nil || !d.Widens() {
			t.Fatalf("%v %v", d, err)
		}
		if _, r = s.one(); r.Waits == nil {
			t.Error("lock --update approved what it must not")
		}
	})
	t.Run("granted", func(t *testing.T) { // K5.2
		s.opts.Grants = map[string]map[string]any{"acme/good": {"state": "4MiB", "call": []any{"other"}}}
		if spec, r := s.one(); spec.Release != "2.0.0" {
			t.Errorf("%v", r)
		}
		s.opts.Grants = nil
	})
	t.Run("approved", func(t *testing.T) {
		if _, _, err := s.opts.Repin(s.plugins, "good", true); err != nil {
			t.Fatal(err)
		}
		if spec, r := s.one(); spec.Standing.Lock != "pinned" {
			t.Errorf("%v", r)
		}
	})
	t.Run("another publisher", func(t *testing.T) {
		mallory := publisherKey(5)
		s.trust(mallory, "mallory", "*", "0x1200-0x12ff", Wasm)
		s.sign("good", mallory, wide)
		s.refused("module.toml", 0, "it was signed by "+PublisherText(key.ID())+" when it was pinned")
		s.sign("good", key, wide)
	})
	t.Run("the lock edited", func(t *testing.T) {
		text, _ := os.ReadFile(s.opts.LockFile)
		defer os.WriteFile(s.opts.LockFile, text, 0o644)
		i := bytes.Index(text, []byte("artifact  = \"")) + 13
		edited := bytes.Clone(text)
		if edited[i] = '0'; text[i] == '0' {
			edited[i] = '1'
		}
		os.WriteFile(s.opts.LockFile, edited, 0o644)
		s.refused("module.toml", 0, "its artifact is another one")
		os.WriteFile(s.opts.LockFile, text[:len(text)-20], 0o644)
		if _, _, err := Load(s.plugins, s.opts); err == nil || !strings.Contains(err.Error(), LockName+":") {
			t.Errorf("a damaged lock: %v", err)
		}
	})
	t.Run("first seen in a dry run", func(t *testing.T) {
		os.Remove(s.opts.LockFile)
		s.opts.DryRun = true
		s.one()
		if _, err := os.Stat(s.opts.LockFile); err == nil {
			t.Error("it was pinned")
		}
	})
}

// K4.4: --dev pins nothing that nobody signed; modules.unsigned = "allow" does.
func TestLockUnsigned(t *testing.T) {
	s := newSite(t)
	s.opts.Unsigned, s.opts.Dev = true, true
	pack(t, s.plugins, "good", "good.wasm", goodManifest)
	if spec, r := s.one(); spec.Standing.Lock != "" || spec.Standing.Voucher != Unsigned {
		t.Errorf("%+v %v", spec, r)
	}
	s.opts.Dev = false
	if spec, _ := s.one(); spec.Standing.Lock != "new" {
		t.Errorf("%+v", spec)
	}
	pack(t, s.plugins, "good", "good.wasm", strings.Replace(goodManifest, "1.2.3", "1.2.4", 1))
	s.refused("module.toml", 0, "its manifest is another one")
	s.opts.Dev = true
	if spec, _ := s.one(); spec.Release != "1.2.4" {
		t.Errorf("%+v", spec)
	}
}

// K1.3: a bare .wasm is a package, signed or not; the manifest in a package's
// artifact is the one beside it.
func TestEmbedded(t *testing.T) {
	s, key := newSite(t), publisherKey(6)
	bare := filepath.Join(s.plugins, "thing.wasm")
	text := WithoutKey(strings.ReplaceAll(goodManifest, "DIGEST", strings.Repeat("0", 64)), "blake3")
	os.WriteFile(bare, []byte(wasmMagic), 0o644)
	s.opts.Unsigned = true
	s.refused("thing.wasm", 0, "has no section")
	if err := EmbedFile(bare, []byte(text)); err != nil {
		t.Fatal(err)
	}
	spec, r := s.one()
	if spec.Name != "good" || spec.Artifact != bare || spec.Digest == [32]byte{} {
		t.Fatalf("%+v %v", spec, r)
	}
	s.opts.Unsigned = false
	if _, err := SignPackage(bare, key, "hello"); err != nil {
		t.Fatal(err)
	}
	s.trust(key, "acme", "*", "0x1234", Wasm)
	os.Remove(s.opts.LockFile)
	if spec, r = s.one(); spec.Standing.Label != "acme" {
		t.Fatalf("%+v %v", spec, r)
	}
	bin, _ := os.ReadFile(bare)
	os.WriteFile(bare, append(bin, 0, 1, 0), 0o644) // one more custom section
	s.refused("thing.wasm.sig", 0, "not of this module.toml")
	os.Remove(bare)

	pack(t, s.plugins, "good", "", strings.ReplaceAll(text, "artifact =", "blake3 = \"DIGEST\"\nartifact ="))
	folder := filepath.Join(s.plugins, "good")
	inner := strings.Replace(text, "16MiB", "8MiB", 1)
	for _, c := range []struct{ inner, reason string }{{text, ""}, {inner, "holds another manifest"}} {
		out, err := EmbedManifest([]byte(wasmMagic), []byte(c.inner))
		if err != nil {
			t.Fatal(err)
		}
		artifact := filepath.Join(folder, "good.wasm")
		os.WriteFile(artifact, out, 0o644)
		sum, _ := Digest(artifact)
		os.WriteFile(filepath.Join(folder, ManifestName), []byte(WithKey(text, "blake3", fmt.Sprintf("%x", sum), "artifact")), 0o644)
		s.opts.Unsigned, s.opts.LockFile = true, ""
		if _, r := s.one(); !strings.Contains(r.Reason, c.reason) || c.reason == "" && r.Reason != "" {
			t.Errorf("%q; want %q", r.Reason, c.reason)
		}
	}
}

// K1.2: files of a package are regular ones in its folder.
func TestEscapes(t *testing.T) {
	away := t.TempDir()
	os.WriteFile(filepath.Join(away, "good.wasm"), []byte("program good"), 0o644)
	os.WriteFile(filepath.Join(away, ManifestName), []byte(goodManifest), 0o644)
	sum, _ := Digest(filepath.Join(away, "good.wasm"))
	text := strings.ReplaceAll(goodManifest, "DIGEST", fmt.Sprintf("%x", sum))
	for name, c := range map[string]struct {
		text, link string
		line       int
		reason     string
	}{
		"artifact is a link": {text, "good.wasm", 4, "no regular file"},
		"manifest is a link": {"", ManifestName, 0, "link"},
		"dots":               {strings.Replace(text, "good.wasm", "../good.wasm", 1), "", 4, "in this folder"},
		"absolute":           {strings.Replace(text, "good.wasm", "/etc/passwd", 1), "", 4, "in this folder"},
		"hidden":             {strings.Replace(text, "good.wasm", ".good.wasm", 1), "", 4, "in this folder"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.opts.Unsigned = true
			folder := filepath.Join(s.plugins, "good")
			os.Mkdir(folder, 0o755)
			if c.text != "" {
				os.WriteFile(filepath.Join(folder, ManifestName), []byte(c.text), 0o644)
			}
			if c.link != "" {
				if err := os.Symlink(filepath.Join(away, c.link), filepath.Join(folder, c.link)); err != nil {
					t.Skip(err)
				}
			}
			s.refused("module.toml", c.line, c.reason)
		})
	}
}

// K1.4: values are checked by the schema, with the key and the wish in the text.
func TestConfigSchema(t *testing.T) {
	schema := strings.Replace(goodManifest, `greeting = "hello"`, `greeting = "hello"
[config.interval]
type = "duration"
default = "5s"
min = "1s"
max = "1m"
[config.mode]
type = "string"
default = "fast"
enum = ["fast", "safe"]
[config.peers]
type = "int"
default = 3
min = 1
[config.key]
type = "string"
required = true
[config.cache]
type = "size"
default = "1MiB"
[config.on]
type = "bool"
default = true
[config.rate]
type = "float"
default = 1
max = 2.5
`, 1)
	load := func(t *testing.T, config map[string]any) (Spec, Rejection) {
		s := newSite(t)
		s.opts.Unsigned = true
		s.opts.Overrides = map[string]map[string]any{"good": {"config": config}}
		s.opts.Where = map[string]string{"module.good.config.peers": "config.toml:7"}
		pack(t, s.plugins, "good", "good.wasm", schema)
		return s.one()
	}
	spec, r := load(t, map[string]any{"key": "k", "peers": int64(5), "on": false})
	if got := fmt.Sprint(spec.Config); got != "[{cache 1MiB} {greeting hello} {interval 5s} {key k} {mode fast} {on false} {peers 5} {rate 1}]" {
		t.Errorf("%s %v", got, r)
	}
	for _, c := range []struct {
		key    string
		value  any
		reason string
	}{
		{"greeting", int64(1), "greeting = 1: want text in quotes"},
		{"interval", "500ms", "interval = 500ms: the least is 1s"},
		{"interval", "2m", "the most is 1m"},
		{"interval", int64(3), "want a duration"},
		{"mode", "slow", `mode = "slow": want one of fast, safe`},
		{"peers", int64(0), "config.toml:7: [module.good.config]: peers = 0: the least is 1"},
		{"peers", "3", "want a whole number"},
		{"cache", "much", "want a size"},
		{"on", "true", "want true or false"},
		{"rate", 2.6, "the most is 2.5"},
		{"colour", "red", `no key "colour", but cache, greeting`},
		{"", nil, "key: the module needs a value (string)"},
	} {
		config := map[string]any{"key": "k", c.key: c.value}
		if c.key == "" {
			config = nil
		}
		if _, r := load(t, config); !strings.Contains(r.Reason, c.reason) {
			t.Errorf("%s = %v: %q; want %q", c.key, c.value, r.Reason, c.reason)
		}
	}
	for bad, reason := range map[string]string{
		"[config.x]\ntype = \"colour\"\ndefault = 1":               "type = \"colour\"",
		"[config.x]\ntype = \"int\"":                               "either a default or required",
		"[config.x]\ntype = \"int\"\ndefault = 1\nrequired = true": "either a default or required",
		"[config.x]\ntype = \"int\"\ndefault = 0\nmin = 1":         "default: 0: the least is 1",
		"[config.x]\ntype = \"int\"\ndefault = 1\nmin = 2\nmax=1":  "min = 2 is above",
		"[config.x]\ntype = \"bool\"\ndefault = true\nmin = 2":     "has no bounds",
		"[config.x]\ntype = \"int\"\ndefault = 1\nenum = [2]":      "want one of 2",
		"[config.x]\ntype = \"int\"\ndefault = 1\ncolour = 1":      `unknown key "colour"`,
		"[config]\nx = [1]": "want text in quotes, a number",
	} {
		text := strings.Replace(goodManifest, "DIGEST", strings.Repeat("0", 64), 1)
		text = strings.Replace(text, "[config]\ngreeting = \"hello\"\n", bad+"\n", 1)
		if _, err := ParseManifest([]byte(text)); err == nil || !strings.Contains(err.Error(), reason) || !strings.HasPrefix(err.Error(), "line 2") {
			t.Errorf("%q: %v; want %q", bad, err, reason)
		}
	}
}

// K6: callees first, then by name; a circle is told and its members do not wait.
func TestOrder(t *testing.T) {
	spec := func(name string, calls ...string) Spec {
		return Spec{Name: name, Standing: Standing{Wanted: Grants{Call: calls}}}
	}
	got := Order([]Spec{spec("a", "z"), spec("m", "n", "gone"), spec("n", "m", "b"), spec("z"), spec("b")})
	var names []string
	for i := range got {
		s := &got[i]
		names = append(names, fmt.Sprint(s.Name, s.Standing.after, len(s.Standing.Notes)))
	}
	if want := []string{"z[] 0", "a[z] 0", "b[] 0", "m[] 1", "n[b] 1"}; !reflect.DeepEqual(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
	if note := got[3].Standing.Notes[0]; !strings.Contains(note, "m and n call each other in a circle") {
		t.Error(note)
	}
}

func TestDiff(t *testing.T) { // K5.1
	a, err := ParseManifest([]byte(strings.Replace(goodManifest, "DIGEST", strings.Repeat("0", 64), 1)))
	if err != nil {
		t.Fatal(err)
	}
	if d := Diff(&a, &a); len(d) != 0 {
		t.Errorf("with itself: %v", d)
	}
	b := a
	b.Carrier, b.Wanted, b.Limits.CPUMax = Process, Grants{State: 1 << 19, Sign: true}, a.Limits.CPUMax/2
	b.Subprotocols = []sdk.Subprotocol{a.Subprotocols[0]}
	b.Subprotocols[0].Required = true
	if got := fmt.Sprint(Diff(&a, &b)); got != "[~ cpu_max 5ms -> 2.5ms + process + required:0x1234@1 + sign ~ state 1MiB -> 512KiB]" {
		t.Error(got)
	}
	if d := Diff(&b, &a); !d.Widens() || d.Wider() != "~ cpu_max 2.5ms -> 5ms, ~ state 512KiB -> 1MiB" {
		t.Error(d)
	}
}

func FuzzParseSignature(f *testing.F) {
	sig, err := Sign(publisherKey(1), []byte("manifest"), [32]byte{1}, "a comment")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sig.Text())
	f.Add(sig.Text()[:100])
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSignature(b)
		if err != nil {
			if !errors.As(err, new(*LineError)) {
				t.Errorf("no line: %v", err)
			}
			return
		}
		again, err := ParseSignature(s.Text())
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Errorf("%v: %+v became %+v", err, s, again)
		}
		if s.Verify([]byte("manifest"), [32]byte{1}) == nil && *s != *sig {
			t.Errorf("a second signature is good: %q", b)
		}
	})
}

func FuzzParseTrust(f *testing.F) {
	t := &Trust{}
	t.Add(Trusted{Key: publisherKey(1).ID(), Label: "acme", Names: []string{"a-*"}, IDs: []IDRange{{0x1000, 0x10ff}}, Carriers: []Kind{Wasm, Process}})
	f.Add(t.Text())
	f.Add([]byte("[[publisher]]\nkey = 1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		tr, err := ParseTrust(b)
		if err != nil {
			return
		}
		again, err := ParseTrust(tr.Text())
		if err != nil || !reflect.DeepEqual(again, tr) {
			t.Errorf("%v: %+v became %+v", err, tr, again)
		}
		for _, p := range tr.Publishers {
			for _, r := range p.IDs {
				if r.First < 0x1000 || r.First > r.Last {
					t.Errorf("range %v", r)
				}
			}
		}
	})
}

func FuzzParseLock(f *testing.F) {
	l := &Lock{}
	l.Set(Pin{Name: "good", Publisher: PublisherText(publisherKey(1).ID()), Release: "1.2.3", Asks: []Ask{{"call:x", 0}, {"state", 7}}})
	f.Add(l.Text())
	f.Add([]byte("version = 1\n[[module]]\nname = \"x\""))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ParseLock(b)
		if err != nil {
			return
		}
		again, err := ParseLock(l.Text())
		if err != nil || !reflect.DeepEqual(again, l) {
			t.Errorf("%v: %+v became %+v", err, l, again)
		}
	})
}

func FuzzEmbeddedManifest(f *testing.F) {
	bin, _ := EmbedManifest([]byte(wasmMagic+"\x01\x01\x00"), []byte("name = \"x\""))
	f.Add(bin)
	f.Add(bin[:len(bin)-3])
	f.Add([]byte("\x00asm\x0d\x00\x01\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := EmbeddedManifest(b); err != nil {
			return
		}
		out, err := EmbedManifest(b, []byte("text"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := EmbeddedManifest(out); err != nil || string(got) != "text" {
			t.Errorf("%q, %v", got, err)
		}
	})
}
