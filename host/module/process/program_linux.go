package process

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"

	"golang.org/x/sys/unix"
)

// programShared says that several instances can run one copy.
const programShared = true

// program is a checked program. It is run from a sealed copy in memory: neither a
// new file put in the original's place between check and start is run, nor what is
// written into the original meanwhile.
type program struct {
	file   *os.File
	script bool
}

func openProgram(path string, want [32]byte, _ string) (*program, error) {
	src, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot open its program: %w", err)
	}
	defer src.Close()
	if err := checkKind(src, path, want); err != nil {
		return nil, err
	}
	f, err := sealedCopy(src)
	if err != nil {
		return nil, fmt.Errorf("copying %s: %w", path, err)
	}
	if err := checkDigest(f, path, want); err != nil {
		f.Close()
		return nil, err
	}
	var head [2]byte
	_, _ = f.ReadAt(head[:], 0)
	return &program{file: f, script: bytes.Equal(head[:], []byte("#!"))}, nil
}

// sealedCopy copies a file into memory where nobody can change it any more
// (memfd_create(2), file sealing in fcntl(2)).
func sealedCopy(src *os.File) (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("nethost-module", flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3 every such file could be run
		fd, err = unix.MemfdCreate("nethost-module", flags)
	}
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), src.Name())
	_, err = io.Copy(f, src)
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// command runs the copy. A script's interpreter opens it once more, so a
// script's file is inherited, as descriptor 3.
func (p *program) command(name string) *exec.Cmd {
	if p.script {
		return &exec.Cmd{Path: "/proc/self/fd/3", Args: []string{name}, ExtraFiles: []*os.File{p.file}}
	}
	return &exec.Cmd{Path: "/proc/self/fd/" + strconv.Itoa(int(p.file.Fd())), Args: []string{name}}
}

func (p *program) Close() error { return p.file.Close() }
