package process

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
)

// program is a checked program. The open file is what gets executed: a new file
// put in its place between check and start is not run.
type program struct {
	file   *os.File
	script bool
}

func openProgram(path string, want [32]byte, _ string) (*program, error) {
	f, err := checkedFile(path, want)
	if err != nil {
		return nil, err
	}
	var head [2]byte
	_, _ = f.ReadAt(head[:], 0)
	return &program{file: f, script: bytes.Equal(head[:], []byte("#!"))}, nil
}

// command runs the open file. A script's interpreter opens it once more, so a
// script's file is inherited, as descriptor 3.
func (p *program) command(name string) *exec.Cmd {
	if p.script {
		return &exec.Cmd{Path: "/proc/self/fd/3", Args: []string{name}, ExtraFiles: []*os.File{p.file}}
	}
	return &exec.Cmd{Path: "/proc/self/fd/" + strconv.Itoa(int(p.file.Fd())), Args: []string{name}}
}

func (p *program) Close() error { return p.file.Close() }
