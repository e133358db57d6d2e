package module

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/pelletier/go-toml/v2"

	"nethost/sdk"
)

// Options of Load.
type Options struct {
	// Unsigned allows packages that nobody signed.
	Unsigned bool
	// Core names the modules that may hold ids of the core range.
	Core []string
	// Grants and Overrides are the operator's tables [grants.NAME] and
	// [module.NAME].
	Grants, Overrides map[string]map[string]any
	// Builtin are the modules compiled in, by name.
	Builtin map[string]func() sdk.Module
}

// Rejection is a package that was refused, and why.
type Rejection struct {
	Dir, File string
	Line      int // 0: none in particular
	Reason    string
}

// override is the table [module.NAME].
type override struct {
	Carrier string            `toml:"carrier"`
	Memory  string            `toml:"memory"`
	CPU     string            `toml:"cpu"`
	CPUMax  string            `toml:"cpu_max"`
	Mailbox int               `toml:"mailbox"`
	Inline  *bool             `toml:"inline"`
	Config  map[string]string `toml:"config"`
}

// Load reads a plugin directory: every folder in it with a module.toml is a
// package. Packages that are refused do not keep the others from loading; only a
// directory that cannot be read, or a wrong [grants] or [module] table, is an
// error.
func Load(dir string, opts Options) ([]Spec, []Rejection, error) {
	if err := opts.Check(); err != nil {
		return nil, nil, err
	}
	folders, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("plugin directory: %w", err)
	}
	var specs []Spec
	var rejected []Rejection
	holder := map[[2]int]string{} // (id, major): module
	names := map[string]string{}
	for _, f := range folders {
		path := filepath.Join(dir, f.Name())
		if info, err := os.Stat(path); err != nil || !info.IsDir() {
			continue
		}
		spec, err := loadPackage(path, opts)
		if errors.Is(err, errNoPackage) {
			continue
		}
		if other := names[spec.Name]; err == nil && other != "" {
			err = fmt.Errorf("%s holds a module called %q already: two would share state and grants", other, spec.Name)
		}
		if err == nil {
			err = claim(holder, spec)
		}
		if err != nil {
			rejected = append(rejected, rejection(path, err))
			continue
		}
		names[spec.Name] = path
		specs = append(specs, spec)
	}
	return specs, rejected, nil
}

var errNoPackage = errors.New("no module.toml")

// fileError is a fault of a file of a package.
type fileError struct {
	file string
	err  error
}

func (e *fileError) Error() string { return e.err.Error() }
func (e *fileError) Unwrap() error { return e.err }

func rejection(dir string, err error) Rejection {
	r := Rejection{Dir: dir, File: filepath.Join(dir, ManifestName), Reason: err.Error()}
	var fe *fileError
	var le *LineError
	if errors.As(err, &fe) {
		r.File = fe.file
	}
	if errors.As(err, &le) {
		r.Line, r.Reason = le.Line, le.Reason
	}
	return r
}

// claim gives a package its ids, unless another has one of them.
func claim(holder map[[2]int]string, s Spec) error {
	for _, p := range s.Subprotocols {
		if other := holder[[2]int{int(p.ID), int(p.Version.Major)}]; other != "" {
			return fmt.Errorf("%v major %d is held by module %s already: remove one of the two", p.ID, p.Version.Major, other)
		}
	}
	for _, p := range s.Subprotocols {
		holder[[2]int{int(p.ID), int(p.Version.Major)}] = s.Name
	}
	return nil
}

// loadPackage verifies one package.
func loadPackage(dir string, opts Options) (Spec, error) {
	path := filepath.Join(dir, ManifestName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Spec{}, errNoPackage
	}
	if err != nil {
		return Spec{}, err
	}
	m, err := ParseManifest(text)
	if err != nil {
		return Spec{}, err
	}
	for i, p := range m.Subprotocols {
		if err := checkRange(m.Name, p, opts.Core); err != nil {
			return Spec{}, &LineError{lineOfNth(text, "[[subprotocol]]", i), err.Error()}
		}
	}
	// The publisher stays empty: nobody has checked a signature.
	s := Spec{Name: m.Name, Release: m.Release, Kind: m.Carrier, Dir: dir, Digest: m.Digest,
		Subprotocols: m.Subprotocols, Methods: m.Methods, Config: m.Config, Limits: m.Limits}
	if err := opts.apply(&s); err != nil {
		return Spec{}, err
	}
	if s.Kind == Builtin {
		if opts.Builtin[s.Name] == nil {
			return Spec{}, fmt.Errorf("carrier = \"builtin\": no module %q is compiled in", s.Name)
		}
		return s, nil
	}
	if !opts.Unsigned {
		return Spec{}, errors.New("unsigned: nobody vouches for this package; allow such ones with modules.unsigned = \"allow\" or `nethost run --dev`")
	}
	s.Artifact, err = filepath.Abs(filepath.Join(dir, m.Artifact))
	if err != nil {
		return Spec{}, err
	}
	return s, checkArtifact(&s, m, text)
}

// checkArtifact compares the artifact with the digest the manifest states.
func checkArtifact(s *Spec, m Manifest, text []byte) error {
	info, err := os.Lstat(s.Artifact)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &LineError{lineOf(text, "artifact"), fmt.Sprintf("artifact %s is missing", m.Artifact)}
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return &LineError{lineOf(text, "artifact"), fmt.Sprintf("artifact %s is no regular file", m.Artifact)}
	case !m.HasDigest:
		return &LineError{0, "no blake3 = \"...\": `nethost module build` fills it in"}
	}
	sum, err := Digest(s.Artifact)
	if err != nil {
		return &fileError{s.Artifact, err}
	}
	if sum != m.Digest {
		return &LineError{lineOf(text, "blake3"), fmt.Sprintf("artifact %s has another digest (%x...): it was changed after it was packed", m.Artifact, sum[:8])}
	}
	return nil
}

// BuiltinSpec is the package of a module that is compiled in. It runs inline: its
// author is ours.
func BuiltinSpec(name string, d sdk.Descriptor, opts Options) Spec {
	s := Spec{Name: name, Release: d.Release, Kind: Builtin, Subprotocols: d.Subprotocols, Methods: d.Methods, Limits: DefaultLimits}
	s.Limits.inline()
	_ = opts.apply(&s) // Check has said what is wrong with the tables
	s.Kind = Builtin
	return s
}

// inline lets a builtin run on the reader's goroutine.
func (l *Limits) inline() { l.Inline, l.CPUMax = true, min(l.CPUMax, DefaultLimits.CPU*2) }

// Check refuses malformed tables of the operator, all faults at once. Load calls
// it; who has no plugin directory calls it alone.
func (o *Options) Check() error {
	var faults []error
	for _, name := range sortedKeys(o.Grants) {
		if _, err := o.grants(name); err != nil {
			faults = append(faults, fmt.Errorf("[grants.%s]: %w", name, err))
		}
	}
	for _, name := range sortedKeys(o.Overrides) {
		s := Spec{Name: name, Limits: DefaultLimits}
		if err := o.override(&s); err != nil {
			faults = append(faults, fmt.Errorf("[module.%s]: %w", name, err))
		}
	}
	return errors.Join(faults...)
}

// apply gives a spec what the operator said about it.
func (o *Options) apply(s *Spec) error {
	var err error
	if s.Grants, err = o.grants(s.Name); err != nil {
		return err
	}
	return o.override(s)
}

func (o *Options) grants(name string) (Grants, error) {
	var w fileWants
	if err := redecode(o.Grants[name], &w); err != nil {
		return Grants{}, err
	}
	g, kerr := w.grants()
	if kerr != nil {
		return g, kerr
	}
	return g, nil
}

func (o *Options) override(s *Spec) error {
	var v override
	if err := redecode(o.Overrides[s.Name], &v); err != nil {
		return err
	}
	switch Kind(v.Carrier) {
	case "":
	case Builtin:
		if s.Kind != Builtin {
			s.Kind = Builtin
			s.Limits.inline()
		}
	case Wasm, Process:
		if s.Kind != "" && s.Kind != Kind(v.Carrier) {
			return fmt.Errorf("carrier = %q: the package's artifact is for carrier %q", v.Carrier, s.Kind)
		}
	default:
		return fmt.Errorf("carrier = %q: want builtin, wasm or process", v.Carrier)
	}
	if v.Inline != nil {
		s.Limits.Inline = *v.Inline
	}
	limits, kerr := fileLimits{v.Memory, v.CPU, v.CPUMax, v.Mailbox, false}.limits(s.Limits)
	if kerr != nil {
		return kerr
	}
	if limits.Inline && s.Kind == Process {
		return errInlineProcess
	}
	s.Limits = limits
	if s.Kind == "" { // Check has no package at hand
		return nil
	}
	for _, key := range sortedKeys(v.Config) {
		i := slices.IndexFunc(s.Config, func(p sdk.Pair) bool { return p.Key == key })
		if i < 0 {
			return fmt.Errorf("[module.%s.config]: the module has no key %q", s.Name, key)
		}
		s.Config[i].Value = v.Config[key]
	}
	return nil
}

// errInlineProcess is for a combination that would make the reader wait for
// another process.
var errInlineProcess = errors.New("inline = true: a process cannot run inline, it would hold the reader")

// redecode reads a table that was decoded before into v, strictly.
func redecode(table map[string]any, v any) error {
	if len(table) == 0 {
		return nil
	}
	b, err := toml.Marshal(table)
	if err != nil {
		return err
	}
	if err := decodeStrict(b, v); err != nil {
		var le *LineError
		if errors.As(err, &le) {
			return errors.New(le.Reason)
		}
		return err
	}
	return nil
}
