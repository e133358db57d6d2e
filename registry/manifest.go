package registry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"nethost/sdk"
)

// MaxLines bounds a manifest (R2.2).
const MaxLines = 1024

const (
	headSize = 6
	lineSize = 8
	required = 1
)

// Line says that an id is spoken at a version, down to MinPeer.
type Line struct {
	ID       sdk.ID
	Version  sdk.Version
	MinPeer  sdk.Version
	Required bool
}

// Manifest is what a node tells a peer: its lines, sorted by id and major.
type Manifest struct {
	Epoch uint32 // counts the changes of the node's modules, from 1
	Lines []Line
}

// Errors of ParseManifest.
var (
	ErrTruncated = errors.New("registry: manifest is shorter or longer than it says")
	ErrTooMany   = fmt.Errorf("registry: manifest has more than %d lines", MaxLines)
	ErrOrder     = errors.New("registry: manifest lines are not sorted, or two share id and major")
	ErrLine      = errors.New("registry: malformed manifest line")
)

// compare orders lines by id, then major.
func compare(a, b Line) int {
	if a.ID != b.ID {
		return int(a.ID) - int(b.ID)
	}
	return int(a.Version.Major) - int(b.Version.Major)
}

// check tests a line on its own (R2.4).
func (l Line) check() error {
	if l.MinPeer.Major != l.Version.Major || l.MinPeer.Compare(l.Version) > 0 {
		return fmt.Errorf("%w: %s: min_peer %s must have the major of version %s and not exceed it", ErrLine, l.ID, l.MinPeer, l.Version)
	}
	return nil
}

// AppendManifest appends the bytes of a manifest (R2). Its lines must be sorted,
// as Table.Manifest gives them.
func AppendManifest(b []byte, m Manifest) []byte {
	b = binary.LittleEndian.AppendUint32(b, m.Epoch)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(m.Lines)))
	for _, l := range m.Lines {
		var flags byte
		if l.Required {
			flags = required
		}
		b = binary.LittleEndian.AppendUint16(b, uint16(l.ID))
		b = append(b, l.Version.Major, l.Version.Minor, l.MinPeer.Major, l.MinPeer.Minor, flags, 0)
	}
	return b
}

// ParseManifest reads the bytes of a manifest that fills b exactly.
func ParseManifest(b []byte) (Manifest, error) {
	if len(b) < headSize {
		return Manifest{}, ErrTruncated
	}
	m := Manifest{Epoch: binary.LittleEndian.Uint32(b)}
	n := int(binary.LittleEndian.Uint16(b[4:]))
	if n > MaxLines {
		return Manifest{}, ErrTooMany
	}
	if b = b[headSize:]; len(b) != n*lineSize {
		return Manifest{}, ErrTruncated
	}
	for i := range n {
		r := b[i*lineSize:]
		l := Line{ID: sdk.ID(binary.LittleEndian.Uint16(r)), Version: sdk.Version{Major: r[2], Minor: r[3]},
			MinPeer: sdk.Version{Major: r[4], Minor: r[5]}, Required: r[6] == required}
		if r[6] > required || r[7] != 0 {
			return Manifest{}, fmt.Errorf("%w: %s: reserved bits are set", ErrLine, l.ID)
		}
		if err := l.check(); err != nil {
			return Manifest{}, err
		}
		if i > 0 && compare(m.Lines[i-1], l) >= 0 {
			return Manifest{}, ErrOrder
		}
		m.Lines = append(m.Lines, l)
	}
	return m, nil
}

// of gives the lines of one id in sorted lines.
func of(lines []Line, id sdk.ID) []Line {
	i, _ := slices.BinarySearchFunc(lines, id, func(l Line, id sdk.ID) int { return int(l.ID) - int(id) })
	j := i
	for j < len(lines) && lines[j].ID == id {
		j++
	}
	return lines[i:j]
}
