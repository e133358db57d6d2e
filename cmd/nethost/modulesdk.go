package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"nethost"
)

// sdkLock is the file of a project that says which SDK it carries.
const sdkLock = "sdk.lock"

func moduleSDKCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sdk DIR",
		Short: "check a project's copy of the SDK, or renew it",
		Long: `A project of "nethost module new" carries a copy of the SDK. This says whether the copy
is as it was written and as old as this nethost; --update writes it anew.`,
		Args: args(cobra.ExactArgs(1)),
	}
	update := cmd.Flags().Bool("update", false, "replace the copy by this nethost's")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		if *update {
			return updateSDK(a[0], cmd.OutOrStdout())
		}
		note, err := checkSDK(a[0])
		if err != nil {
			return err
		}
		if note == "" {
			note = "the SDK is this nethost's, unchanged"
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), note)
		return err
	}
	return cmd
}

func sdkFile(name string) string {
	b, _ := nethost.SDK.ReadFile(name) // named by sdk.go
	return string(b)
}

// sdkFiles are the files of the SDK for a language, by their names in a project.
func sdkFiles(language string, program bool) (map[string]string, error) {
	out := map[string]string{}
	from, to := "sdk/"+language, ""
	switch language {
	case "c":
		return map[string]string{"nethost.h": sdkFile("sdk/c/nethost.h")}, nil
	case "assemblyscript":
		return map[string]string{"nethost.ts": sdkFile("sdk/assemblyscript/nethost.ts"), "package.json": sdkFile("sdk/assemblyscript/package.json")}, nil
	case "python":
		return map[string]string{"nethost.py": sdkFile("sdk/python/nethost.py")}, nil
	case "rust":
		to = "nethost"
	case "go":
		from, to = ".", "nethost"
		out["nethost/go.mod"] = goModOf("nethost", program, "")
	}
	err := fs.WalkDir(nethost.SDK, from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			foreign := path == "sdk/c" || path == "sdk/rust" || path == "sdk/assemblyscript" || path == "sdk/python"
			return skipIf(language == "go" && (foreign || path == "sdk/plugin" && !program))
		}
		if language == "go" && (path == "go.mod" || path == "go.sum" || strings.HasSuffix(path, "_test.go")) {
			return nil
		}
		b, err := nethost.SDK.ReadFile(path)
		name := path
		if language != "go" {
			name = strings.TrimPrefix(path, from+"/")
		}
		out[to+"/"+name] = string(b)
		return err
	})
	return out, err
}

// goModOf is a go.mod: of the SDK's copy, or of a project that uses it. A program needs
// what this project needs, at the same versions.
func goModOf(name string, program bool, sdkMod string) string {
	own := sdkFile("go.mod")
	_, rest, _ := strings.Cut(own, "\n") // behind "module nethost"
	version, requires, _ := strings.Cut(strings.TrimLeft(rest, "\n"), "\n")
	b := "module " + name + "\n\n" + version + "\n"
	if sdkMod != "" {
		b += "\nrequire nethost v0.0.0\n\nreplace nethost => ./nethost\n"
	}
	if program {
		b += requires
	}
	return b
}

// digestOf is over names and contents.
func digestOf(files map[string]string) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%d %s %d %s", len(name), name, len(files[name]), files[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

func lockText(language string, program bool, files map[string]string) string {
	kind := "guest"
	if program {
		kind = "program"
	}
	return fmt.Sprintf("%s %s sha256:%s\n", language, kind, digestOf(files))
}

// readLock reads a project's sdk.lock. Without one language is "": not a project of ours.
func readLock(dir string) (language string, program bool, lock string, err error) {
	b, err := os.ReadFile(filepath.Join(dir, sdkLock))
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, "", nil
	}
	f := strings.Fields(string(b))
	if err == nil && len(f) != 3 {
		err = fmt.Errorf("%s: want a language, guest or program, and a digest: `nethost module new` writes it", filepath.Join(dir, sdkLock))
	}
	if err != nil {
		return "", false, "", err
	}
	return f[0], f[1] == "program", string(b), nil
}

// checkSDK compares a project's copy of the SDK with its lock and with this binary. A
// changed copy is an error, an older one a note.
func checkSDK(dir string) (note string, err error) {
	language, program, lock, err := readLock(dir)
	if err != nil || language == "" {
		return "", err
	}
	ours, err := sdkFiles(language, program)
	if err != nil {
		return "", err
	}
	theirs, err := copyOfSDK(dir, language)
	if err != nil {
		return "", err
	}
	if got := lockText(language, program, theirs); got != lock {
		return "", fmt.Errorf("%s: the copy of the SDK was changed since it was written (%s): move your changes into files of your own, then `nethost module sdk --update %s`",
			dir, firstChange(ours, theirs), dir)
	}
	if lock != lockText(language, program, ours) {
		return fmt.Sprintf("note: %s carries the SDK of another nethost than this one: `nethost module sdk --update %s` renews it", dir, dir), nil
	}
	return "", nil
}

// firstChange names one file that differs, for a message.
func firstChange(ours, theirs map[string]string) string {
	for _, name := range slices.Sorted(maps.Keys(theirs)) {
		if ours[name] != theirs[name] {
			return name
		}
	}
	return "a file is missing"
}

// copyOfSDK reads a project's copy: the folder nethost, or the files that a language has.
func copyOfSDK(dir, language string) (map[string]string, error) {
	out := map[string]string{}
	names, err := sdkFiles(language, false)
	if err != nil {
		return nil, err
	}
	root := os.DirFS(dir)
	if language != "go" && language != "rust" {
		for name := range names {
			b, err := fs.ReadFile(root, name)
			if err != nil {
				return nil, fmt.Errorf("%s: %w: `nethost module sdk --update %s` writes it", dir, err, dir)
			}
			out[name] = string(b)
		}
		return out, nil
	}
	err = fs.WalkDir(root, "nethost", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(root, path)
		out[path] = string(b)
		return err
	})
	return out, err
}

func updateSDK(dir string, w io.Writer) error {
	language, program, _, err := readLock(dir)
	if err != nil {
		return err
	}
	if language == "" {
		return fmt.Errorf("%s has no %s: it is no project of `nethost module new`", dir, sdkLock)
	}
	files, err := sdkFiles(language, program)
	if err != nil {
		return err
	}
	if language == "go" || language == "rust" {
		if err := os.RemoveAll(filepath.Join(dir, "nethost")); err != nil {
			return err
		}
	}
	files[sdkLock] = lockText(language, program, files)
	names, err := writeFiles(dir, files)
	if err == nil {
		_, err = fmt.Fprintf(w, "%d files written\n", len(names))
	}
	return err
}
