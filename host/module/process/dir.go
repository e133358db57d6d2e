package process

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	dirPrefix = "nethost-module-"
	// maxParent leaves room for our name and for the socket's in the 104 bytes
	// that the meanest system allows a unix socket's path.
	maxParent = 64
)

// privateDir is the 0700 directory of one running program: sockets, and the
// program's working directory.
type privateDir struct {
	path, work string
	lock       *os.File // held while the host lives: see sweep
}

func newPrivateDir(parent string) (*privateDir, error) {
	if len(parent) > maxParent {
		return nil, fmt.Errorf("%s is too long a path for unix sockets: choose a directory for temporary files of at most %d bytes", parent, maxParent)
	}
	path, err := os.MkdirTemp(parent, dirPrefix)
	if err != nil {
		return nil, fmt.Errorf("cannot make its private directory: %w", err)
	}
	d := &privateDir{path: path, work: filepath.Join(path, "work")}
	if err := os.Mkdir(d.work, 0o700); err != nil {
		d.remove()
		return nil, fmt.Errorf("cannot make its private directory: %w", err)
	}
	d.lock, _ = lockFile(filepath.Join(path, "lock"))
	return d, nil
}

func (d *privateDir) remove() {
	os.RemoveAll(d.path)
	if d.lock != nil {
		d.lock.Close()
	}
}

// sweep removes the directories of hosts that were killed: those whose lock
// nobody holds. A young one may be about to take its lock.
func sweep(parent string) {
	old, _ := filepath.Glob(filepath.Join(parent, dirPrefix+"*"))
	for _, path := range old {
		info, err := os.Lstat(path)
		if err != nil || !info.IsDir() || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		if lock, err := lockFile(filepath.Join(path, "lock")); err == nil {
			os.RemoveAll(path)
			lock.Close()
		}
	}
}
