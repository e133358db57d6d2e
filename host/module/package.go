package module

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"

	"lukechampine.com/blake3"
)

const (
	// maxArtifact bounds a .wasm, which is read whole.
	maxArtifact = 64 << 20
	wasmSuffix  = ".wasm"
)

// Package is a package as it lies on disk. Reading one runs nothing of it and
// decides nothing: see Options.Admit.
type Package struct {
	Path     string // its folder, or a bare .wasm
	Bare     bool   // a .wasm that holds its own manifest
	File     string // where the manifest is
	Text     []byte // of the manifest, as signed
	Manifest Manifest
	Artifact string // absolute path; "" for carrier "builtin"

	SignatureFile  string     // where a signature belongs
	Signature      *Signature // nil: there is none
	SignatureError error      // why the one that is there is no good; it names file and line
}

// fileError is a fault of a file of a package.
type fileError struct {
	file string
	err  error
}

func (e *fileError) Error() string { return e.err.Error() }
func (e *fileError) Unwrap() error { return e.err }

var errNoPackage = errors.New("no module.toml")

// ReadPackage reads the folder of a package, or a bare .wasm. Files of a package
// must be regular ones in its folder: no link is followed.
func ReadPackage(path string) (*Package, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	p := &Package{Path: path, Bare: !info.IsDir()}
	dir, sig := path, SignatureName
	if p.Bare {
		dir, sig = filepath.Dir(path), filepath.Base(path)+".sig"
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	p.SignatureFile = filepath.Join(dir, sig)
	if p.Bare {
		err = p.readBare(root, filepath.Base(path))
	} else {
		err = p.readFolder(root)
	}
	if err != nil {
		return nil, err
	}
	p.readSignature(root, sig)
	return p, nil
}

func (p *Package) readFolder(root *os.Root) error {
	p.File = filepath.Join(p.Path, ManifestName)
	var err error
	p.Text, err = readSmall(inRoot(root), ManifestName, maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return errNoPackage
	}
	if err == nil {
		p.Manifest, err = ParseManifest(p.Text)
	}
	if err == nil && p.Manifest.Carrier != Builtin {
		p.Artifact, err = filepath.Abs(filepath.Join(p.Path, p.Manifest.Artifact))
	}
	if err != nil {
		return &fileError{p.File, err}
	}
	return nil
}

func (p *Package) readBare(root *os.Root, name string) error {
	p.File = p.Path
	bin, err := readSmall(inRoot(root), name, maxArtifact)
	if err == nil {
		p.Text, err = EmbeddedManifest(bin)
	}
	switch {
	case err != nil:
		return &fileError{p.File, err}
	case p.Text == nil:
		return &fileError{p.File, fmt.Errorf("has no section %q, which makes a bare file a package: `nethost module build` writes it; or put the file into a folder with its %s", ManifestSection, ManifestName)}
	}
	if p.Manifest, err = ParseManifest(p.Text); err == nil && (p.Manifest.Carrier != Wasm || p.Manifest.HasDigest) {
		err = &LineError{0, "want carrier = \"wasm\" and no blake3: a file cannot hold its own digest"}
	}
	if err != nil {
		return &fileError{p.File, fmt.Errorf("section %q, %w", ManifestSection, err)}
	}
	p.Manifest.Digest, p.Manifest.HasDigest = blake3.Sum256(bin), true
	p.Artifact, err = filepath.Abs(p.Path)
	return err
}

// readSignature reads and verifies the signature, if there is one.
func (p *Package) readSignature(root *os.Root, name string) {
	text, err := readSmall(inRoot(root), name, maxSignatureFile)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		p.Signature, err = ParseSignature(text)
	}
	if err == nil {
		err = p.verify()
	}
	if err != nil {
		p.SignatureError = &fileError{p.SignatureFile, err}
	}
}

func (p *Package) verify() error {
	if p.Manifest.Publisher == "" {
		return errors.New("a signature is there, but the manifest names no publisher")
	}
	if got := PublisherText(p.Signature.Publisher); got != p.Manifest.Publisher {
		return fmt.Errorf("signed by %s, but the manifest names %s", got, p.Manifest.Publisher)
	}
	return p.Signature.Verify(p.Text, p.Manifest.Digest)
}

// textDigest is what nethost.lock pins of the manifest.
func (p *Package) textDigest() [32]byte { return blake3.Sum256(p.Text) }

// CheckArtifact compares the artifact with the digest the manifest states, and the
// manifest in a .wasm with the one beside it.
func (p *Package) CheckArtifact() error {
	m := &p.Manifest
	if p.Bare || m.Carrier == Builtin {
		return nil // its digest is that of what was read
	}
	fault := func(key, format string, a ...any) error {
		return &fileError{p.File, &LineError{lineOf(p.Text, key), fmt.Sprintf(format, a...)}}
	}
	root, err := os.OpenRoot(p.Path)
	if err != nil {
		return err
	}
	defer root.Close()
	f, err := openRegular(inRoot(root), m.Artifact)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault("artifact", "artifact %s is missing", m.Artifact)
	case errors.Is(err, errNotRegular):
		return fault("artifact", "artifact %s is no regular file", m.Artifact)
	case err != nil:
		return &fileError{p.Artifact, err}
	}
	defer f.Close()
	if !m.HasDigest {
		return &fileError{p.File, &LineError{0, "no blake3 = \"...\": `nethost module build` fills it in"}}
	}
	h := blake3.New(32, nil)
	bin := &bytes.Buffer{}
	if m.Carrier == Wasm {
		_, err = io.Copy(io.MultiWriter(h, bin), io.LimitReader(f, maxArtifact+1))
	} else {
		_, err = io.Copy(h, f)
	}
	switch sum := h.Sum(nil); {
	case err != nil:
		return &fileError{p.Artifact, err}
	case bin.Len() > maxArtifact:
		return fault("artifact", "artifact %s has more than %d MiB", m.Artifact, maxArtifact>>20)
	case [32]byte(sum) != m.Digest:
		return fault("blake3", "artifact %s has another digest (%x...): it was changed after it was packed", m.Artifact, sum[:8])
	}
	if !p.agrees(bin.Bytes()) {
		return fault("artifact", "artifact %s holds another manifest than this one: `nethost module build` makes them agree", m.Artifact)
	}
	return nil
}

// agrees compares the manifest in an artifact with the package's own. They may
// differ in what only one of them can hold: digest and publisher. An artifact
// without a manifest agrees; one that is no WebAssembly is the carrier's to refuse.
func (p *Package) agrees(bin []byte) bool {
	text, err := EmbeddedManifest(bin)
	if err != nil || text == nil {
		return true
	}
	inner, err := ParseManifest(text)
	outer := p.Manifest
	inner.Digest, inner.HasDigest, inner.Publisher = outer.Digest, outer.HasDigest, outer.Publisher
	return err == nil && reflect.DeepEqual(inner, outer)
}

var (
	errNotRegular = errors.New("is no regular file, or a link")
	errTooLarge   = errors.New("is too large")
)

// inRoot opens files of a folder. A name that leads out of it fails, and a fifo
// does not make us wait.
func inRoot(root *os.Root) func(string) (*os.File, error) {
	return func(name string) (*os.File, error) {
		info, err := root.Lstat(name)
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() {
			return nil, errNotRegular
		}
		f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		if now, err := f.Stat(); err != nil || !os.SameFile(info, now) {
			f.Close()
			return nil, errNotRegular
		}
		return f, nil
	}
}

func openRegular(open func(string) (*os.File, error), name string) (*os.File, error) {
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(err, errNotRegular)
	}
	return f, nil
}

// readSmall reads a regular file of at most so many bytes.
func readSmall(open func(string) (*os.File, error), name string, most int64) ([]byte, error) {
	f, err := openRegular(open, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s %w: at most %d bytes", filepath.Base(name), errTooLarge, most)
	}
	return b, err
}

// WithKey puts the line `key = "value"` into a manifest's text: in the place of the
// one that is there, else after the line of the key after, else at its head.
func WithKey(text, key, value, after string) string {
	var b strings.Builder
	line, done, top := fmt.Sprintf("%-8s = %q\n", key, value), false, true
	for l := range strings.Lines(text) {
		head, _, _ := strings.Cut(l, "=")
		head = strings.TrimSpace(head)
		top = top && !strings.HasPrefix(head, "[")
		switch {
		case top && head == key:
			if !done {
				b.WriteString(line)
			}
			done = true
			continue
		case top && head == after && !done:
			b.WriteString(strings.TrimRight(l, "\n") + "\n" + line)
			done = true
			continue
		}
		b.WriteString(l)
	}
	if !done {
		return line + text
	}
	return b.String()
}

// WithoutKey takes the line of a top-level key out.
func WithoutKey(text, key string) string {
	var b strings.Builder
	top := true
	for l := range strings.Lines(text) {
		head, _, _ := strings.Cut(l, "=")
		head = strings.TrimSpace(head)
		top = top && !strings.HasPrefix(head, "[")
		if !top || head != key {
			b.WriteString(l)
		}
	}
	return b.String()
}
