package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"nethost/cmd/nethost/scaffold"
	"nethost/host/module/toolchain"
	"nethost/sdk"
)

// project is what the templates know.
type project struct {
	Name, ID, Language, Artifact, Memory string
	Program                              bool
}

// moduleName is what module.toml takes as a name.
var moduleName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

func moduleNewCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "write a project that builds, passes its tests and runs",
		Long: `Writes a new project into the folder NAME (or --dir), anywhere on the disk: a module
that answers calls, keeps state and echoes messages, with its module.toml, a README
that says what to type, and a copy of the SDK.

  nethost module new greeter --lang rust --id 0xF123
  nethost module build greeter && nethost module test greeter`,
		Args: args(cobra.ExactArgs(1)),
	}
	lang := cmd.Flags().String("lang", "go", "go, rust, c, assemblyscript or python")
	id := cmd.Flags().String("id", "0xF000", "subprotocol id: 0x1000-0xEFFF for vendors, 0xF000-0xFFFF for experiments")
	dir := cmd.Flags().String("dir", "", "folder to write (default NAME)")
	program := cmd.Flags().Bool("process", false, "a program beside the host instead of a WebAssembly guest (go; python is always one)")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		s := project{Name: a[0], Language: *lang, Program: *program || *lang == "python", Memory: "16MiB"}
		if *dir == "" {
			*dir = a[0]
		}
		if err := s.check(*id); err != nil {
			return usageError{err}
		}
		files, err := s.write(*dir)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), map[string]any{"dir": *dir, "files": files})
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s\n", *dir)
		fmt.Fprintf(cmd.ErrOrStderr(), "%d files. Next: cd %s && nethost module build . && nethost module test .\n", len(files), *dir)
		return nil
	}
	return cmd
}

// check completes s and says what is wrong with what was asked for.
func (s *project) check(id string) error {
	if !moduleName.MatchString(s.Name) {
		return fmt.Errorf("name %q: want lower-case letters, digits and hyphens, a letter first, at most 63 of them", s.Name)
	}
	switch toolchain.Language(s.Language) {
	case toolchain.Go:
		s.Memory = "32MiB"
	case toolchain.Rust, toolchain.C, toolchain.AssemblyScript, toolchain.Python:
		if s.Program && s.Language != "python" {
			return fmt.Errorf("--process is for go: a module in %s is a WebAssembly guest", s.Language)
		}
	default:
		return fmt.Errorf("--lang %s: it is go, rust, c, assemblyscript or python", s.Language)
	}
	n, err := sdk.ParseID(id)
	if err != nil {
		return fmt.Errorf("--id %s: want a number like 0xF123", id)
	}
	if n < 0x1000 {
		return fmt.Errorf("--id %v: ids below 0x1000 are the core's: take 0x1000-0xEFFF (vendors) or 0xF000-0xFFFF (experiments)", n)
	}
	s.ID = n.String()
	s.Artifact = s.Name + ".wasm"
	if s.Program {
		s.Artifact = s.Name
	}
	if s.Language == "python" {
		s.Artifact += ".py"
	}
	return nil
}

// write makes the project in an empty or new folder and names its files.
func (s *project) write(dir string) ([]string, error) {
	if there, err := os.ReadDir(dir); err == nil && len(there) > 0 {
		return nil, fmt.Errorf("%s is there and not empty: choose another --dir", dir)
	}
	out := map[string]string{".gitignore": "dist/\nnode_modules/\n"}
	for _, from := range []string{".", s.Language} {
		err := fs.WalkDir(scaffold.Files, from, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".tmpl") {
				if err == nil {
					err = skipIf(d.IsDir() && path != "." && from == ".")
				}
				return err
			}
			text, err := s.expand(path)
			name := strings.TrimSuffix(strings.TrimPrefix(path, from+"/"), ".tmpl")
			if name == "module"+filepath.Ext(name) && name != "module.toml" {
				name = s.Name + filepath.Ext(name)
			} else if name == "module_test.go" {
				name = s.Name + "_test.go"
			}
			out[name] = text
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	copies, err := sdkFiles(s.Language, s.Program)
	if err != nil {
		return nil, err
	}
	for name, text := range copies {
		out[name] = text
	}
	if s.Language == "go" {
		out["go.mod"] = goModOf(s.Name, s.Program, copies["nethost/go.mod"])
		if s.Program {
			out["go.sum"] = sdkFile("go.sum")
		}
	}
	out[sdkLock] = lockText(s.Language, s.Program, copies)
	return writeFiles(dir, out)
}

func skipIf(skip bool) error {
	if skip {
		return fs.SkipDir
	}
	return nil
}

func (s *project) expand(path string) (string, error) {
	t, err := template.ParseFS(scaffold.Files, path)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, s)
	return b.String(), err
}

// writeFiles writes files by name below dir and gives the names, sorted.
func writeFiles(dir string, files map[string]string) ([]string, error) {
	var names []string
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
		mode := fs.FileMode(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}
