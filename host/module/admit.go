package module

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"nethost/registry"
	"nethost/sdk"
)

// Voucher says who answers for a package.
type Voucher string

// The vouchers.
const (
	CompiledIn Voucher = "compiled in"
	Release    Voucher = "release"   // signed with nethost's own release key
	Signed     Voucher = "trusted"   // signed by a publisher in the trust store
	Untrusted  Voucher = "untrusted" // signed well, by somebody who is not in it
	Unsigned   Voucher = "unsigned"
)

// Standing is what a listing says of an accepted package beside its Spec.
type Standing struct {
	Voucher Voucher
	Label   string   // of the publisher in the trust store
	Lock    string   // "pinned", "new" when it is seen first, "" when nothing pins it
	Wanted  Grants   // what its manifest asks for
	Missing []string // of that, what the operator has not given
	Notes   []string // what the operator should know, such as a circle of calls
	after   []string // modules that start first
}

// FullName names the module with its publisher: two publishers' modules of one
// name share neither state nor secrets nor grants.
func (s *Spec) FullName() string {
	if s.Publisher == "" {
		return s.Name
	}
	return s.Publisher + "/" + s.Name
}

// GrantTables are the names that [grants.NAME] may have for this module.
func (s *Spec) GrantTables() []string {
	if s.Publisher == "" {
		return []string{s.Name}
	}
	if s.Standing.Label == "" {
		return []string{s.FullName()}
	}
	return []string{s.Standing.Label + "/" + s.Name, s.FullName()}
}

// ApprovalError says that a package asks for more than the operator approved: it
// waits, and an older version goes on serving.
type ApprovalError struct {
	Name  string
	Delta Delta // against what was approved or granted
	Drift string
	Next  Spec // the package that waits
}

func (e *ApprovalError) Error() string {
	return fmt.Sprintf("NEEDS_APPROVAL: it asks for more than was approved: %s; `nethost module approve %s` says yes, and the old version serves until then", e.Delta.Wider(), e.Name)
}

// stores are the operator's files, read once per load.
type stores struct {
	trust *Trust
	lock  *Lock
	fresh []Pin // packages seen first
}

func (o *Options) stores() (*stores, error) {
	trust, err := ReadTrust(o.TrustFile)
	if err != nil {
		return nil, err
	}
	lock, err := ReadLock(o.LockFile)
	if err != nil {
		return nil, err
	}
	return &stores{trust: trust, lock: lock}, nil
}

// Admit decides about one package by the operator's rules, and pins nothing. An
// error says why it is refused; an *ApprovalError that it waits. It is what a
// reload asks before it swaps: the decision is that of Load.
func (o *Options) Admit(p *Package) (Spec, error) {
	st, err := o.stores()
	if err != nil {
		return Spec{}, err
	}
	return o.admit(p, st)
}

// admit checks, in this order: signature, ids, the operator's tables, trust,
// artifact, lock (K4.1). Nothing of the package runs.
func (o *Options) admit(p *Package, st *stores) (Spec, error) {
	m := &p.Manifest
	s := Spec{Name: m.Name, Release: m.Release, Kind: m.Carrier, Digest: m.Digest, Subprotocols: m.Subprotocols, Methods: m.Methods, Limits: m.Limits}
	s.Standing.Wanted = m.Wanted
	if s.Dir = p.Path; p.Bare {
		s.Dir = filepath.Dir(p.Path)
	}
	trusted, err := o.voucher(p, st, &s)
	if err != nil {
		return Spec{}, err
	}
	for i, sub := range m.Subprotocols {
		if err := o.checkRange(&s, sub); err != nil {
			return Spec{}, &fileError{p.File, &LineError{lineOfNth(p.Text, "[[subprotocol]]", i), err.Error()}}
		}
	}
	if err := o.apply(&s, m.Schema); err != nil {
		return Spec{}, err
	}
	s.Standing.Missing = m.Wanted.Missing(&s.Grants)
	if s.Kind == Builtin {
		if o.Builtin[s.Name] == nil {
			return Spec{}, fmt.Errorf("carrier = \"builtin\": no module %q is compiled in", s.Name)
		}
		s.Publisher, s.Standing.Voucher, s.Standing.Label = "", CompiledIn, ""
		return s, nil
	}
	switch {
	case s.Standing.Voucher == Unsigned && !o.Unsigned:
		return Spec{}, errors.New("unsigned: nobody vouches for this package; have its publisher sign it, or allow such ones with modules.unsigned = \"allow\" or `nethost run --dev`")
	case s.Standing.Voucher == Untrusted && !o.Unsigned:
		return Spec{}, &fileError{p.File, &LineError{lineOf(p.Text, "publisher"), fmt.Sprintf("its publisher is not trusted: if you know who that is, `nethost module trust %s --label NAME --ids %s`", m.Publisher, idsOf(m))}}
	case trusted != nil:
		if err := trusted.allows(m, p.Text); err != nil {
			return Spec{}, &fileError{p.File, err}
		}
	}
	s.Artifact = p.Artifact
	if err := p.CheckArtifact(); err != nil {
		return Spec{}, err
	}
	return s, o.checkLock(p, st, &s)
}

func idsOf(m *Manifest) string {
	var out []string
	for _, p := range m.Subprotocols {
		out = append(out, p.ID.String())
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ",")
}

// voucher finds who answers for a package. A signature that is there must be good,
// whatever the operator allows.
func (o *Options) voucher(p *Package, st *stores, s *Spec) (*Trusted, error) {
	if p.SignatureError != nil {
		return nil, p.SignatureError
	}
	s.Standing.Voucher = Unsigned
	key, ok := p.PublisherKey()
	if !ok {
		return nil, nil
	}
	if o.Release != "" && PublisherText(key) == o.Release {
		s.Publisher, s.Standing.Voucher = o.Release, Release
		return nil, nil
	}
	s.Standing.Voucher = Untrusted
	t := st.trust.Find(key)
	if t != nil {
		s.Publisher, s.Standing.Voucher, s.Standing.Label = PublisherText(key), Signed, t.Label
	}
	return t, nil
}

// checkRange refuses ids a module may not hold (K3.4). While unsigned packages are
// allowed, one that bears the name of a core module may have its ids: that is how
// nethost's own guests are tried out.
func (o *Options) checkRange(s *Spec, p sdk.Subprotocol) error {
	ours := s.Standing.Voucher == Release ||
		slices.Contains(o.Core, s.Name) && s.Standing.Voucher != Signed && (o.Unsigned || s.Kind == Builtin)
	switch r := registry.RangeOf(p.ID); {
	case r == registry.RangeKernel:
		return fmt.Errorf("%v belongs to the kernel: no module may hold it", p.ID)
	case r == registry.RangeCore && !ours:
		return fmt.Errorf("%v is a core id, for modules signed with nethost's release key: take one of 0x1000-0xefff (vendor) or 0xf000-0xffff (experimental)", p.ID)
	}
	return nil
}

// checkLock compares a package with its pin, and notes one that has none. With
// Options.Dev unsigned packages are not pinned: their author rebuilds them all the
// time.
func (o *Options) checkLock(p *Package, st *stores, s *Spec) error {
	if o.LockFile == "" || o.Dev && s.Publisher == "" {
		return nil
	}
	pin := st.lock.Find(s.Name)
	if pin == nil {
		s.Standing.Lock = "new"
		st.fresh = append(st.fresh, p.pin(s.Publisher))
		return nil
	}
	drift := p.drift(pin, s.Publisher)
	delta := DiffAsks(covered(pin.Asks, &s.Grants), p.Manifest.Asks())
	switch {
	case delta.Widens():
		return &ApprovalError{Name: s.Name, Delta: delta, Drift: drift}
	case drift != "":
		return fmt.Errorf("%s: if that was you, `nethost module lock --update %s` takes it", drift, s.Name)
	}
	s.Standing.Lock = "pinned"
	return nil
}

// pinFresh writes what was seen first into the lock. Another process may have
// pinned meanwhile: its word stands.
func (o *Options) pinFresh(st *stores) error {
	if len(st.fresh) == 0 || o.DryRun {
		return nil
	}
	err := UpdateLock(o.LockFile, func(l *Lock) error {
		for _, p := range st.fresh {
			if l.Find(p.Name) == nil {
				l.Set(p)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot pin the new modules: %w", err)
	}
	return nil
}

// Repin makes the lock say what lies in the plugin directory under a name now: the
// operator has looked at it. With approve its requests are approved too; without,
// those that were approved stay, and a package that asks for more waits on. The
// package must pass every other check. The Delta is against what was approved.
func (o Options) Repin(dir, name string, approve bool) (Pin, Delta, error) {
	p, err := FindPackage(dir, name)
	if err != nil {
		return Pin{}, nil, err
	}
	lockFile := o.LockFile
	o.LockFile = ""
	s, err := o.Admit(p)
	if err != nil {
		return Pin{}, nil, p.Fault(err)
	}
	if s.Kind == Builtin {
		return Pin{}, nil, fmt.Errorf("%s is compiled in: there is nothing to pin", name)
	}
	pin := p.pin(s.Publisher)
	var delta Delta
	err = UpdateLock(lockFile, func(l *Lock) error {
		if old := l.Find(name); old != nil {
			delta = DiffAsks(old.Asks, pin.Asks)
			if !approve && DiffAsks(covered(old.Asks, &s.Grants), pin.Asks).Widens() {
				pin.Asks = old.Asks
			}
		}
		l.Set(pin)
		return nil
	})
	return pin, delta, err
}

// AdmitTrust is Admit without the operator's configuration of the module and
// without the lock: signature, trust, ids and artifact alone.
func (o Options) AdmitTrust(p *Package) (Spec, error) {
	o.Grants, o.Overrides, o.LockFile, o.bareSchema = nil, nil, "", true
	return o.Admit(p)
}
