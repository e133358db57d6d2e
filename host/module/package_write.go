package module

import (
	"errors"
	"fmt"
	"os"

	"nethost/host/identity"
)

// EmbedFile puts the text of a manifest into a .wasm file.
func EmbedFile(path string, text []byte) error {
	bin, err := readSmall(os.Open, path, maxArtifact)
	if err != nil {
		return err
	}
	out, err := EmbedManifest(bin, text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return replaceFile(path, out, info.Mode().Perm())
}

// SignPackage signs the package at a path and writes the signature beside it. A
// manifest that names no publisher gets the key's; one that names another is
// refused. With an empty comment the trusted comment is name and release.
func SignPackage(path string, key *identity.Key, comment string) (*Package, error) {
	p, err := ReadPackage(path)
	if errors.Is(err, errNoPackage) {
		return nil, fmt.Errorf("%s: %w: `nethost module build` makes a package", path, err)
	}
	if err != nil {
		return nil, fileLine(rejection(path, err).File, err)
	}
	publisher := PublisherText(key.ID())
	switch p.Manifest.Publisher {
	case publisher:
	case "":
		if err := p.setPublisher(publisher); err != nil {
			return nil, err
		}
		if p, err = ReadPackage(path); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("%s names the publisher %s; this key is of %s", p.File, p.Manifest.Publisher, publisher)
	}
	if err := p.CheckArtifact(); err != nil {
		return nil, fileLine(rejection(path, err).File, err)
	}
	if comment == "" {
		comment = p.Manifest.Name + " " + p.Manifest.Release
	}
	sig, err := Sign(key, p.Text, p.Manifest.Digest, comment)
	if err != nil {
		return nil, err
	}
	if err := replaceFile(p.SignatureFile, sig.Text(), 0o644); err != nil {
		return nil, err
	}
	p, err = ReadPackage(path)
	if err == nil {
		err = p.SignatureError
	}
	return p, err
}

func (p *Package) setPublisher(publisher string) error {
	text := []byte(WithKey(string(p.Text), "publisher", publisher, "name"))
	if p.Bare {
		return EmbedFile(p.Path, text)
	}
	return replaceFile(p.File, text, 0o644)
}

// Fault says which file and line an error of this package is about.
func (p *Package) Fault(err error) error {
	file := p.File
	var fe *fileError
	if errors.As(err, &fe) {
		file = fe.file
	}
	return fileLine(file, err)
}

// PathFault is Fault for a path whose package could not be read.
func PathFault(path string, err error) error {
	if errors.Is(err, errNoPackage) {
		return fmt.Errorf("%s: %w", path, err)
	}
	return fileLine(rejection(path, err).File, err)
}
