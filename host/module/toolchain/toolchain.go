package toolchain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Language a module is written in.
type Language string

// The languages with an SDK in this project.
const (
	Go             Language = "go"
	C              Language = "c"
	Rust           Language = "rust"
	AssemblyScript Language = "assemblyscript"
	Python         Language = "python"
)

// ErrMissing is wrapped by Build when the machine has no compiler for the language:
// the text says what was tried and what would help.
var ErrMissing = errors.New("no compiler")

// Detect tells the language by the files in dir.
func Detect(dir string) (Language, error) {
	for _, l := range []struct {
		pattern  string
		language Language
	}{{"*.go", Go}, {"Cargo.toml", Rust}, {"src/*.rs", Rust}, {"*.rs", Rust}, {"*.c", C}, {"*.ts", AssemblyScript}, {"*.py", Python}} {
		if found, _ := filepath.Glob(filepath.Join(dir, l.pattern)); len(found) > 0 {
			return l.language, nil
		}
	}
	return "", fmt.Errorf("%s holds no source of a module: want *.go, *.c, *.rs (or src/lib.rs), *.ts or *.py", dir)
}

// Job is one build.
type Job struct {
	Dir      string   // the source
	Language Language // as Detect says, if empty
	Artifact string   // file to write; absolute
	Program  bool     // a program for this machine (Go, Python), not a guest
	SDK      fs.FS    // the SDKs: c/nethost.h, rust/src, assemblyscript/nethost.ts, python/nethost.py
	Output   io.Writer
}

// Build compiles. What compilers say goes to Output.
func (j Job) Build(ctx context.Context) error {
	if j.Language == "" {
		var err error
		if j.Language, err = Detect(j.Dir); err != nil {
			return err
		}
	}
	if j.Program && j.Language != Go && j.Language != Python {
		return fmt.Errorf("%s: carrier \"process\" is for Go and Python here: build a program in %s yourself and package it with --artifact", j.Dir, j.Language)
	}
	if !j.Program && j.Language == Python {
		return fmt.Errorf("%s: a Python module is a program: write carrier = \"process\" in its module.toml", j.Dir)
	}
	if err := os.MkdirAll(filepath.Dir(j.Artifact), 0o755); err != nil {
		return err
	}
	switch j.Language {
	case Go:
		return j.goBuild(ctx)
	case C:
		return j.clang(ctx)
	case Rust:
		return j.rustc(ctx)
	case AssemblyScript:
		return j.asc(ctx)
	case Python:
		return j.python()
	}
	return fmt.Errorf("no language %q: it is go, c, rust, assemblyscript or python", j.Language)
}

func (j Job) goBuild(ctx context.Context) error {
	args := []string{"build", "-trimpath", "-ldflags=-s -w", "-o", j.Artifact}
	env := append(os.Environ(), "CGO_ENABLED=0")
	if !j.Program {
		args = append(args, "-buildmode=c-shared")
		env = append(env, "GOOS=wasip1", "GOARCH=wasm")
	}
	path, err := exec.LookPath("go")
	if err != nil {
		return missing(Go, "install Go from https://go.dev/dl", []string{"go on PATH"})
	}
	return j.run(ctx, j.Dir, env, path, append(args, ".")...)
}

// run runs a compiler.
func (j Job) run(ctx context.Context, dir string, env []string, name string, args ...string) error {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir, c.Env, c.Stdout, c.Stderr = dir, env, j.Output, j.Output
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s failed for %s: %w", filepath.Base(name), j.Dir, err)
	}
	return nil
}

// stage makes a private folder with a part of the SDK in it.
func (j Job) stage(files string) (dir string, remove func(), err error) {
	if dir, err = os.MkdirTemp("", "nethost-build-"); err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.RemoveAll(dir) }
	part, err := fs.Sub(j.SDK, files)
	if err == nil {
		err = os.CopyFS(dir, part)
	}
	if err != nil {
		remove()
		return "", nil, fmt.Errorf("the SDK for %s: %w", j.Language, err)
	}
	return dir, remove, nil
}

// sources lists the files of a pattern in dir, absolute.
func sources(dir, pattern string) ([]string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	return filepath.Glob(filepath.Join(dir, pattern))
}

func missing(l Language, cure string, tried []string) error {
	return fmt.Errorf("%w for %s: %s; tried %s", ErrMissing, l, cure, strings.Join(tried, ", "))
}

// firstOf gives the first candidate that good takes. A name without a slash is looked
// up on PATH, wherever it stands there; an empty one is skipped.
func firstOf(candidates []string, good func(path string) bool) (found string, tried []string) {
	for _, c := range candidates {
		paths := []string{c}
		if c == "" {
			continue
		}
		if !strings.ContainsRune(c, filepath.Separator) {
			paths = nil
			for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
				if p := filepath.Join(dir, c); isProgram(p) {
					paths = append(paths, p)
				}
			}
			if len(paths) == 0 {
				tried = append(tried, c+" on PATH (none)")
			}
		}
		for _, p := range paths {
			switch {
			case !isProgram(p):
				tried = append(tried, p+" (not there)")
			case !good(p):
				tried = append(tried, p+" (cannot build for WebAssembly)")
			default:
				return p, tried
			}
		}
	}
	return "", tried
}

func isProgram(path string) bool {
	s, err := os.Stat(path)
	return err == nil && s.Mode().IsRegular() && s.Mode()&0o111 != 0
}
