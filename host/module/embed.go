package module

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// ManifestSection is the custom section of a .wasm that holds its module.toml, so
// that the bare file is a package (K1.3).
const ManifestSection = "nethost.manifest"

const (
	wasmMagic = "\x00asm\x01\x00\x00\x00"
	// maxManifest bounds module.toml, in its file and in the section.
	maxManifest = 64 << 10
)

var errSection = errors.New("ends in the middle of a section, or has a malformed length")

// EmbeddedManifest gives the text of module.toml in a .wasm, nil if it has none.
// Nothing of the binary is run. Two such sections are a fault, and so is one of
// more than 64 KiB.
func EmbeddedManifest(bin []byte) ([]byte, error) {
	var text []byte
	found := false
	err := sections(bin, func(name string, _, body []byte) error {
		switch {
		case name != ManifestSection:
			return nil
		case found:
			return fmt.Errorf("has two sections %q", ManifestSection)
		case len(body) > maxManifest || !utf8.Valid(body):
			return fmt.Errorf("has a section %q that is no text of at most %d bytes", ManifestSection, maxManifest)
		}
		text, found = body, true
		return nil
	})
	if err != nil {
		return nil, err
	}
	return text, nil
}

// EmbedManifest gives a copy of a .wasm that holds text, and no other manifest.
func EmbedManifest(bin, text []byte) ([]byte, error) {
	if len(text) > maxManifest {
		return nil, fmt.Errorf("the manifest has more than %d bytes", maxManifest)
	}
	out := []byte(wasmMagic)
	err := sections(bin, func(name string, whole, _ []byte) error {
		if name != ManifestSection {
			out = append(out, whole...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	body := appendLEB(nil, uint32(len(ManifestSection)))
	body = append(append(body, ManifestSection...), text...)
	out = appendLEB(append(out, 0), uint32(len(body)))
	return append(out, body...), nil
}

// sections visits each section of a core module: the name of a custom one ("" for
// others), its bytes with and without the head.
func sections(bin []byte, visit func(name string, whole, body []byte) error) error {
	if len(bin) < len(wasmMagic) || string(bin[:len(wasmMagic)]) != wasmMagic {
		if len(bin) >= len(wasmMagic) && string(bin[:len(wasmMagic)]) == "\x00asm\x0d\x00\x01\x00" {
			return errors.New("is a component of the component model: build a core module")
		}
		return errors.New("is no WebAssembly core module of version 1")
	}
	for rest := bin[len(wasmMagic):]; len(rest) > 0; {
		n, head := takeLEB(rest[1:])
		if head == 0 || uint64(n) > uint64(len(rest)-1-head) {
			return errSection
		}
		whole := rest[:1+head+int(n)]
		body, name := whole[1+head:], ""
		if whole[0] == 0 {
			size, skip := takeLEB(body)
			if skip == 0 || uint64(size) > uint64(len(body)-skip) {
				return errSection
			}
			name, body = string(body[skip:skip+int(size)]), body[skip+int(size):]
		}
		if err := visit(name, slices.Clip(whole), slices.Clip(body)); err != nil {
			return err
		}
		rest = rest[len(whole):]
	}
	return nil
}

// takeLEB reads an unsigned LEB128 of 32 bits and tells how many bytes it took, 0
// if it is malformed.
func takeLEB(b []byte) (uint32, int) {
	var v uint64
	for i := 0; i < len(b) && i < 5; i++ {
		v |= uint64(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			if v > 1<<32-1 {
				return 0, 0
			}
			return uint32(v), i + 1
		}
	}
	return 0, 0
}

func appendLEB(b []byte, v uint32) []byte {
	for ; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}
