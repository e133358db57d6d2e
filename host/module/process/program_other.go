//go:build !linux

package process

import (
	"os"
	"os/exec"
	"path/filepath"
)

// programShared says that several instances can run one copy.
const programShared = false

// program is a checked program: a private copy, checked after it was made, so
// that a new file put in the original's place is not run.
type program struct{ path string }

func openProgram(path string, want [32]byte, dir string) (*program, error) {
	copied := filepath.Join(dir, filepath.Base(path))
	if err := copyFile(path, copied); err != nil {
		return nil, err
	}
	f, err := os.Open(copied)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := checkKind(f, path, want); err != nil {
		return nil, err
	}
	return &program{path: copied}, checkDigest(f, path, want)
}

func (p *program) command(name string) *exec.Cmd {
	return &exec.Cmd{Path: p.path, Args: []string{name}}
}

func (p *program) Close() error { return nil }
