package module

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"nethost/sdk"
)

// Options of Load.
type Options struct {
	// Unsigned allows packages that nobody signed, or nobody the operator knows.
	Unsigned bool
	// Dev does not pin such packages.
	Dev bool
	// DryRun decides as ever but pins nothing.
	DryRun bool
	// Release is the publisher whose modules may hold core ids; "" for nobody.
	Release string
	// TrustFile and LockFile are the operator's files, read anew at each load;
	// "" for none.
	TrustFile, LockFile string
	// Core names the compiled-in modules that may hold ids of the core range.
	Core []string
	// Grants and Overrides are the operator's tables [grants.NAME] and
	// [module.NAME].
	Grants, Overrides map[string]map[string]any
	// Builtin are the modules compiled in, by name.
	Builtin map[string]func() sdk.Module
	// Where says in which file and line a key of the configuration is set, such
	// as "module.echo.config.greeting"; nil when nobody knows.
	Where map[string]string

	// BuiltinConfig are the [config] tables of those, as module.toml has them for a
	// package.
	BuiltinConfig map[string][]sdk.Pair

	bareSchema bool // do not ask for required keys of the configuration
}

// Rejection is a package that was refused, and why.
type Rejection struct {
	Dir, File string
	Line      int // 0: none in particular
	Reason    string
	// Waits is set for a package that needs the operator's approval: an older
	// version of it goes on serving.
	Waits *ApprovalError
}

// Path is the folder of the package, or its bare .wasm.
func (r *Rejection) Path() string {
	if strings.HasSuffix(r.File, wasmSuffix) && filepath.Dir(r.File) == r.Dir {
		return r.File
	}
	return r.Dir
}

// override is the table [module.NAME].
type override struct {
	Carrier string         `toml:"carrier"`
	Memory  string         `toml:"memory"`
	CPU     string         `toml:"cpu"`
	CPUMax  string         `toml:"cpu_max"`
	Mailbox int            `toml:"mailbox"`
	Inline  *bool          `toml:"inline"`
	Record  bool           `toml:"record"`
	Limits  overrideLimits `toml:"limits"`
	Config  map[string]any `toml:"config"`
}

// Load reads a plugin directory: every folder in it with a module.toml is a
// package, and every .wasm file that holds its manifest. Packages that are refused
// do not keep the others from loading; only a directory or a file of the operator
// that cannot be read, or a wrong [grants] or [module] table, is an error. Packages
// seen first are pinned. The specs are in the order of Order.
func Load(dir string, opts Options) ([]Spec, []Rejection, error) {
	if err := opts.Check(); err != nil {
		return nil, nil, err
	}
	st, err := opts.stores()
	if err != nil {
		return nil, nil, err
	}
	paths, err := packagePaths(dir)
	if err != nil {
		return nil, nil, err
	}
	var specs []Spec
	var rejected []Rejection
	holder := map[[2]int]string{} // (id, major): module
	names := map[string]string{}
	for _, path := range paths {
		fresh := len(st.fresh)
		p, err := ReadPackage(path)
		if errors.Is(err, errNoPackage) {
			continue
		}
		var spec Spec
		if err == nil {
			spec, err = opts.admit(p, st)
		}
		if other := names[spec.Name]; err == nil && other != "" {
			err = fmt.Errorf("%s holds a module called %q already: two would share state and grants", other, spec.Name)
		}
		if err == nil {
			err = claim(holder, spec)
		}
		if err != nil {
			st.fresh = st.fresh[:fresh]
			r := rejection(path, err)
			if r.Waits != nil {
				r.Waits.Next = spec
			}
			rejected = append(rejected, r)
			continue
		}
		names[spec.Name] = path
		specs = append(specs, spec)
	}
	return Order(specs), rejected, opts.pinFresh(st)
}

// packagePaths lists what may be a package.
func packagePaths(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("plugin directory: %w", err)
	}
	var paths []string
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := os.Stat(path)
		if err != nil || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if info.IsDir() || e.Type().IsRegular() && strings.HasSuffix(e.Name(), wasmSuffix) {
			paths = append(paths, path)
		}
	}
	return paths, nil
}

// FindPackage reads the package of a plugin directory whose manifest has a name.
func FindPackage(dir, name string) (*Package, error) {
	paths, err := packagePaths(dir)
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		if p, err := ReadPackage(path); err == nil && p.Manifest.Name == name {
			return p, nil
		} else if err != nil && strings.TrimSuffix(filepath.Base(path), wasmSuffix) == name && !errors.Is(err, errNoPackage) {
			return nil, fileLine(rejection(path, err).File, err)
		}
	}
	return nil, fmt.Errorf("no package in %s is called %q", dir, name)
}

func rejection(dir string, err error) Rejection {
	r := Rejection{Dir: dir, File: filepath.Join(dir, ManifestName), Reason: err.Error()}
	if strings.HasSuffix(dir, wasmSuffix) {
		r.Dir, r.File = filepath.Dir(dir), dir
	}
	errors.As(err, &r.Waits)
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

// BuiltinSpec is the package of a module that is compiled in. It runs inline: its
// author is ours.
func BuiltinSpec(name string, d sdk.Descriptor, opts Options) Spec {
	s := Spec{Name: name, Release: d.Release, Kind: Builtin, Subprotocols: d.Subprotocols, Methods: d.Methods, Limits: DefaultLimits, Config: slices.Clone(opts.BuiltinConfig[name])}
	s.Limits.inline()
	s.Standing.Voucher = CompiledIn
	_ = opts.apply(&s, nil) // Check has said what is wrong with the tables
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
		_, err := o.grants([]string{name})
		if owner, _, ok := strings.Cut(name, "/"); ok && err == nil && !nameRule.MatchString(owner) {
			_, err = ParsePublisher(owner)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("[grants.%s]: %w", tableKey(name), err))
		}
	}
	for _, name := range sortedKeys(o.Overrides) {
		s := Spec{Name: name, Limits: DefaultLimits}
		if err := o.override(&s, nil); err != nil {
			faults = append(faults, fmt.Errorf("[module.%s]: %w", name, err))
		}
	}
	return errors.Join(faults...)
}

// tableKey quotes a key as TOML wants it.
func tableKey(name string) string {
	if strings.Contains(name, "/") {
		return `"` + name + `"`
	}
	return name
}

// apply gives a spec what the operator said about it.
func (o *Options) apply(s *Spec, schema []Field) error {
	var err error
	if s.Grants, err = o.grants(s.GrantTables()); err != nil {
		return err
	}
	return o.override(s, schema)
}

// grants reads the table of a module; one of the names is enough.
func (o *Options) grants(names []string) (Grants, error) {
	var table map[string]any
	for _, name := range names {
		if t, ok := o.Grants[name]; ok && table != nil {
			return Grants{}, fmt.Errorf("[grants.%s] and [grants.%s] speak of the same module: keep one", tableKey(names[0]), tableKey(name))
		} else if ok {
			table = t
		}
	}
	var w fileWants
	if err := redecode(table, &w); err != nil {
		return Grants{}, err
	}
	g, kerr := w.grants()
	if kerr != nil {
		return g, kerr
	}
	return g, nil
}

func (o *Options) override(s *Spec, schema []Field) error {
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
	s.Limits, s.Record = limits, v.Record
	var err error
	if s.Process, err = v.Limits.process(s.Kind); err != nil {
		return err
	}
	if s.Kind == "" { // Check has no package at hand
		return nil
	}
	if o.bareSchema {
		return nil
	}
	s.Config, err = configure(schema, v.Config)
	var ke *keyError
	if errors.As(err, &ke) {
		table := fmt.Sprintf("module.%s.config", s.Name)
		if where := o.Where[table+"."+ke.key]; where != "" {
			return fmt.Errorf("%s: [%s]: %s", where, table, ke.reason)
		}
		return fmt.Errorf("[%s]: %s", table, ke.reason)
	}
	return err
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
