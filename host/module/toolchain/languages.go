package toolchain

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// clang compiles every .c file of the folder. CLANG and WASI_SYSROOT come first; then
// what is on PATH and where the WASI SDK and Debian put theirs.
func (j Job) clang(ctx context.Context) error {
	files, err := sources(j.Dir, "*.c")
	if err != nil {
		return err
	}
	sysroot := ""
	for _, dir := range []string{os.Getenv("WASI_SYSROOT"), "/opt/wasi-sdk/share/wasi-sysroot", "/usr"} {
		if _, err := os.Stat(filepath.Join(dir, "include/wasm32-wasi")); dir != "" && err == nil {
			sysroot = dir
			break
		}
		if _, err := os.Stat(filepath.Join(dir, "include/stdint.h")); dir != "" && dir != "/usr" && err == nil {
			sysroot = dir
			break
		}
	}
	cc, tried := firstOf([]string{os.Getenv("CLANG"), "clang", "/opt/wasi-sdk/bin/clang"}, func(p string) bool {
		out, err := exec.CommandContext(ctx, p, "--target=wasm32-wasi", "-print-prog-name=wasm-ld").Output()
		return err == nil && filepath.IsAbs(strings.TrimSpace(string(out)))
	})
	if cc == "" || sysroot == "" {
		if sysroot == "" {
			tried = append(tried, "the headers of wasi-libc in WASI_SYSROOT, /opt/wasi-sdk and /usr/include/wasm32-wasi")
		}
		return missing(C, "on Debian `apt-get install clang lld wasi-libc libclang-rt-14-dev-wasm32`, elsewhere the WASI SDK", tried)
	}
	sdk, remove, err := j.stage("c")
	if err != nil {
		return err
	}
	defer remove()
	args := []string{"--target=wasm32-wasi", "--sysroot=" + sysroot, "-mexec-model=reactor", "-O2", "-mbulk-memory", "-Wall", "-Wextra", "-Wl,--strip-all", "-I", ".", "-I", sdk}
	return j.run(ctx, j.Dir, os.Environ(), cc, append(append(args, "-o", j.Artifact), files...)...)
}

const rustTarget = "wasm32-unknown-unknown"

// rustc compiles src/lib.rs, or the only .rs file of the folder, against the SDK's
// crate. RUSTC comes first, then every rustc on PATH, then Debian's.
func (j Job) rustc(ctx context.Context) error {
	roots, err := sources(j.Dir, "src/lib.rs")
	if err == nil && len(roots) == 0 {
		roots, err = sources(j.Dir, "*.rs")
	}
	if err != nil {
		return err
	}
	if len(roots) != 1 {
		return fmt.Errorf("%s: want src/lib.rs, or one .rs file", j.Dir)
	}
	rustc, tried := firstOf([]string{os.Getenv("RUSTC"), "rustc", "/usr/bin/rustc"}, func(p string) bool {
		out, err := exec.CommandContext(ctx, p, "--print", "target-libdir", "--target", rustTarget).Output()
		core, _ := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "libcore-*.rlib"))
		return err == nil && len(core) > 0
	})
	if rustc == "" {
		return missing(Rust, "`rustup target add "+rustTarget+"`, or on Debian `apt-get install rustc libstd-rust-dev-wasm32`", tried)
	}
	sdk, remove, err := j.stage("rust/src")
	if err != nil {
		return err
	}
	defer remove()
	lib, crate := filepath.Join(sdk, "libnethost.rlib"), filepath.Join(sdk, "lib.rs")
	if own, err := sources(j.Dir, "nethost/src/lib.rs"); err == nil && len(own) == 1 { // the project's own copy of the SDK
		crate = own[0]
	}
	common := []string{"--edition", "2021", "--target", rustTarget, "-O", "-C", "target-feature=+bulk-memory"}
	if err := j.run(ctx, sdk, os.Environ(), rustc, append(common, "--crate-type", "rlib", "--crate-name", "nethost", crate, "-o", lib)...); err != nil {
		return err
	}
	return j.run(ctx, j.Dir, os.Environ(), rustc, append(common, "--crate-type", "cdylib", "--crate-name", "module", "-C", "strip=symbols",
		"--extern", "nethost="+lib, roots[0], "-o", j.Artifact)...)
}

// asc compiles the folder's .ts file named like the artifact, or the only one. ASC
// comes first, then the project's own node_modules, then PATH.
func (j Job) asc(ctx context.Context) error {
	entry, err := j.entry("*.ts", "nethost.ts")
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(j.Dir)
	if err != nil {
		return err
	}
	candidates := []string{os.Getenv("ASC")}
	for d := dir; ; d = filepath.Dir(d) {
		candidates = append(candidates, filepath.Join(d, "node_modules/.bin/asc"))
		if d == filepath.Dir(d) {
			break
		}
	}
	asc, _ := firstOf(append(candidates, "asc"), func(string) bool { return true })
	if asc == "" {
		return missing(AssemblyScript, "`npm install assemblyscript` in the project, or `npm install -g assemblyscript`",
			[]string{"ASC", "node_modules/.bin/asc in " + dir + " and above", "asc on PATH"})
	}
	stage, remove, err := j.stage("assemblyscript")
	if err != nil {
		return err
	}
	defer remove()
	own, err := sources(j.Dir, "*.ts")
	if err != nil {
		return err
	}
	for _, f := range own { // the project's own copy of nethost.ts, if it has one, is the SDK
		if err := copyFile(f, filepath.Join(stage, filepath.Base(f)), 0o644); err != nil {
			return err
		}
	}
	return j.run(ctx, stage, os.Environ(), asc, entry, "-o", j.Artifact, "-O", "--exportStart", "_initialize", "--use", "abort=", "--runtime", "incremental")
}

// python puts the program together: its own files and nethost.py beside them.
func (j Job) python() error {
	if _, err := j.entry("*.py", "nethost.py"); err != nil {
		return err
	}
	out := filepath.Dir(j.Artifact)
	sdk, err := fs.ReadFile(j.SDK, "python/nethost.py")
	if err != nil {
		return fmt.Errorf("the SDK for python: %w", err)
	}
	if err := os.WriteFile(filepath.Join(out, "nethost.py"), sdk, 0o644); err != nil {
		return err
	}
	files, err := sources(j.Dir, "*.py")
	if err != nil {
		return err
	}
	for _, f := range files {
		mode := fs.FileMode(0o644)
		if filepath.Base(f) == filepath.Base(j.Artifact) {
			mode = 0o755
			head := make([]byte, 2)
			if r, err := os.Open(f); err == nil {
				_, _ = r.Read(head)
				r.Close()
			}
			if string(head) != "#!" {
				return fmt.Errorf("%s: the first line of a program has to be #!/usr/bin/env python3", f)
			}
		}
		if err := copyFile(f, filepath.Join(out, filepath.Base(f)), mode); err != nil {
			return err
		}
	}
	return nil
}

// entry names the source file that is the module: the one with the artifact's name, or
// the only one beside the SDK.
func (j Job) entry(pattern, sdk string) (string, error) {
	files, err := sources(j.Dir, pattern)
	if err != nil {
		return "", err
	}
	want := strings.TrimSuffix(filepath.Base(j.Artifact), filepath.Ext(j.Artifact))
	var names []string
	for _, f := range files {
		name := filepath.Base(f)
		if strings.TrimSuffix(name, filepath.Ext(name)) == want {
			return name, nil
		}
		if name != sdk {
			names = append(names, name)
		}
	}
	if len(names) == 1 && j.Language != Python {
		return names[0], nil
	}
	return "", fmt.Errorf("%s: which file is the module? one has to be named like the artifact, %s%s", j.Dir, want, filepath.Ext(pattern))
}

func copyFile(from, to string, mode fs.FileMode) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.WriteFile(to, b, mode); err != nil {
		return err
	}
	return os.Chmod(to, mode)
}
