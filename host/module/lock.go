package module

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"nethost/sdk"
)

// Files of a node that say which modules it loads, in its data directory.
const (
	TrustName = "trust.toml"
	LockName  = "nethost.lock"
)

// lockVersion is the form of nethost.lock.
const lockVersion = 1

// Pin is what nethost.lock says of one module: exactly which package runs, and
// what the operator approved that it asks for.
type Pin struct {
	Name      string
	Publisher string // "ed25519:..."; "" when the package was unsigned
	Release   string
	Manifest  [32]byte // BLAKE3 of the manifest's text
	Artifact  [32]byte // BLAKE3 of the artifact
	Asks      []Ask    // approved, sorted
}

// Lock is nethost.lock: the pins, by name.
type Lock struct{ Pins []Pin }

// Find gives the pin of a module, nil if it has none.
func (l *Lock) Find(name string) *Pin {
	for i := range l.Pins {
		if l.Pins[i].Name == name {
			return &l.Pins[i]
		}
	}
	return nil
}

// Set puts a pin in, in the place of the one with its name.
func (l *Lock) Set(p Pin) {
	l.Remove(p.Name)
	l.Pins = append(l.Pins, p)
	slices.SortFunc(l.Pins, func(a, b Pin) int { return strings.Compare(a.Name, b.Name) })
}

// Remove takes a pin out, and reports whether there was one.
func (l *Lock) Remove(name string) bool {
	n := len(l.Pins)
	l.Pins = slices.DeleteFunc(l.Pins, func(p Pin) bool { return p.Name == name })
	return len(l.Pins) < n
}

type fileLock struct {
	Version int       `toml:"version"`
	Module  []filePin `toml:"module"`
}

type filePin struct {
	Name      string   `toml:"name"`
	Publisher string   `toml:"publisher"`
	Release   string   `toml:"release"`
	Manifest  string   `toml:"manifest"`
	Artifact  string   `toml:"artifact"`
	Approved  []string `toml:"approved"`
}

// ParseLock reads nethost.lock. Its error is a *LineError.
func ParseLock(text []byte) (*Lock, error) {
	var f fileLock
	if err := decodeStrict(text, &f); err != nil {
		return nil, err
	}
	if f.Version != lockVersion {
		return nil, &LineError{lineOf(text, "version"), fmt.Sprintf("version = %d: this nethost knows version %d", f.Version, lockVersion)}
	}
	l := &Lock{}
	for i, e := range f.Module {
		p, err := e.parse()
		if err == nil && l.Find(p.Name) != nil {
			err = fmt.Errorf("%q stands twice", p.Name)
		}
		if err != nil {
			return nil, &LineError{lineOfNth(text, "[[module]]", i), err.Error()}
		}
		l.Set(p)
	}
	return l, nil
}

func (e *filePin) parse() (Pin, error) {
	p := Pin{Name: e.Name, Publisher: e.Publisher, Release: e.Release}
	if !nameRule.MatchString(e.Name) {
		return p, fmt.Errorf("name = %q: want the name of a module", e.Name)
	}
	if !releaseRule.MatchString(e.Release) {
		return p, fmt.Errorf("release = %q: want a release such as \"0.3.1\"", e.Release)
	}
	if e.Publisher != "" {
		if _, err := ParsePublisher(e.Publisher); err != nil {
			return p, err
		}
	}
	var err error
	if p.Manifest, err = parseDigest("manifest", e.Manifest); err != nil {
		return p, err
	}
	if p.Artifact, err = parseDigest("artifact", e.Artifact); err != nil {
		return p, err
	}
	for _, s := range e.Approved {
		a, err := ParseAsk(s)
		if err != nil {
			return p, fmt.Errorf("approved: %w", err)
		}
		p.Asks = append(p.Asks, a)
	}
	n := len(p.Asks)
	if p.Asks = sortAsks(p.Asks); len(p.Asks) != n {
		return p, errors.New("approved: an entry stands twice")
	}
	return p, nil
}

func parseDigest(key, s string) ([32]byte, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 32 || s != strings.ToLower(s) {
		return [32]byte{}, fmt.Errorf("%s = %q: want 64 hexadecimal digits", key, s)
	}
	return [32]byte(b), nil
}

// Text is the lock as a file; ParseLock reads it.
func (l *Lock) Text() []byte {
	b := []byte("# Which packages this node loads, and what they may ask for. Nethost pins a package when it sees it first;\n" +
		"# `nethost module lock --update NAME` and `nethost module approve NAME` change a pin.\n")
	b = fmt.Appendf(b, "version = %d\n", lockVersion)
	for i := range l.Pins {
		p := &l.Pins[i]
		var approved []string
		for _, a := range p.Asks {
			approved = append(approved, a.String())
		}
		b = fmt.Appendf(b, "\n[[module]]\nname      = %q\npublisher = %q\nrelease   = %q\nmanifest  = \"%x\"\nartifact  = \"%x\"\napproved  = %s\n",
			p.Name, p.Publisher, p.Release, p.Manifest, p.Artifact, tomlList(approved))
	}
	return b
}

// ReadTrust reads a trust store; one that does not exist trusts nobody. Its error
// names file and line.
func ReadTrust(path string) (*Trust, error) { return readOwn(path, ParseTrust) }

// ReadLock reads a lock; one that does not exist pins nothing. Its error names
// file and line.
func ReadLock(path string) (*Lock, error) { return readOwn(path, ParseLock) }

func readOwn[T any](path string, parse func([]byte) (*T, error)) (*T, error) {
	text, err := readSmall(os.Open, path, maxOwnFile)
	if path == "" || errors.Is(err, fs.ErrNotExist) {
		return new(T), nil
	}
	if err != nil {
		return nil, err
	}
	v, err := parse(text)
	if err != nil {
		return nil, &fileError{path, fileLine(path, err)}
	}
	return v, nil
}

// fileLine puts the file before a fault: "FILE:LINE: reason".
func fileLine(path string, err error) error {
	var le *LineError
	if errors.As(err, &le) && le.Line > 0 {
		return fmt.Errorf("%s:%d: %s", path, le.Line, le.Reason)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// UpdateTrust changes the trust store at path: reads it, lets change work on it
// and puts it back whole, or leaves it as it was when change fails.
func UpdateTrust(path string, change func(*Trust) error) error {
	return updateOwn(path, ParseTrust, change, (*Trust).Text)
}

// UpdateLock changes nethost.lock in the same way.
func UpdateLock(path string, change func(*Lock) error) error {
	return updateOwn(path, ParseLock, change, (*Lock).Text)
}

func updateOwn[T any](path string, parse func([]byte) (*T, error), change func(*T) error, text func(*T) []byte) error {
	v, err := readOwn(path, parse)
	if err == nil {
		err = change(v)
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err != nil {
		return err
	}
	return replaceFile(path, text(v), 0o644)
}

// replaceFile puts a new file in the place of an old one: whoever reads sees one
// or the other, and so does a host that lost power.
func replaceFile(path string, text []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// pin makes the pin of a package as it lies there now.
func (p *Package) pin(publisher string) Pin {
	return Pin{Name: p.Manifest.Name, Publisher: publisher, Release: p.Manifest.Release, Manifest: p.textDigest(),
		Artifact: p.Manifest.Digest, Asks: p.Manifest.Asks()}
}

// drift says how a package differs from its pin, "" when it does not.
func (p *Package) drift(pin *Pin, publisher string) string {
	switch {
	case pin.Publisher != publisher:
		who := func(s string) string {
			if s == "" {
				return "nobody"
			}
			return s
		}
		return fmt.Sprintf("it was signed by %s when it was pinned, and is by %s now", who(pin.Publisher), who(publisher))
	case pin.Artifact != p.Manifest.Digest:
		return fmt.Sprintf("its artifact is another one than that of release %s, which is pinned", pin.Release)
	case pin.Manifest != p.textDigest():
		return fmt.Sprintf("its manifest is another one than that of release %s, which is pinned", pin.Release)
	}
	return ""
}

// PublisherKey gives the key of the signature if the package has a valid one.
func (p *Package) PublisherKey() (sdk.NodeID, bool) {
	if p.Signature == nil || p.SignatureError != nil {
		return sdk.NodeID{}, false
	}
	return p.Signature.Publisher, true
}
