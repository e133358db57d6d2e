package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"nethost"
	"nethost/host/module"
	"nethost/host/module/toolchain"
)

func moduleCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "module", Short: "write, build, test, sign and admit modules, and change which run", Args: cobra.ArbitraryArgs, RunE: group}
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(moduleBuildCommand())
	cmd.AddCommand(moduleNewCommand(), moduleSDKCommand(), moduleTestCommand(), moduleBenchCommand(), moduleDevCommand(), moduleReplayCommand())
	cmd.AddCommand(packageVerbs()...)
	cmd.AddCommand(moduleControlCommands()...)
	return cmd
}

func moduleBuildCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "build DIR",
		Short: "build the module in DIR into a package: artifact and module.toml with its digest",
		Long: `Builds the module in DIR and writes a package that can be put into a plugin
directory: the artifact, and module.toml with its BLAKE3 digest. A
.wasm holds its module.toml too, so that the bare file is a package as well.

The language is told by the files: Go (*.go), C (*.c), Rust (src/lib.rs or one .rs
file), AssemblyScript (*.ts) or Python (*.py). With carrier "wasm" the result is a
WebAssembly guest, with carrier "process" (Go, Python) a program for this machine.
What another toolchain built is packaged with --artifact.

Compilers are looked for on PATH, and first where these variables point: RUSTC,
CLANG with WASI_SYSROOT, ASC. When none is found, what was tried is listed.`,
		Args: args(cobra.ExactArgs(1)),
	}
	out := cmd.Flags().String("out", "", "folder of the package (default DIR/dist)")
	quiet := cmd.Flags().Bool("quiet", false, "say nothing on success")
	built := cmd.Flags().String("artifact", "", "package this file instead of building")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		if *out == "" {
			*out = filepath.Join(a[0], "dist")
		}
		digest, err := buildPackage(cmd.Context(), cmd.ErrOrStderr(), a[0], *out, *built)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), map[string]string{"package": *out, "blake3": digest})
		}
		if !*quiet {
			fmt.Fprintf(cmd.OutOrStdout(), "%s  %s\n", digest, *out)
		}
		return nil
	}
	return cmd
}

// buildPackage compiles, or takes the artifact that was built already, writes a
// package, and gives the artifact's digest. What compilers say goes to said.
func buildPackage(ctx context.Context, said io.Writer, src, out, built string) (string, error) {
	text, err := os.ReadFile(filepath.Join(src, module.ManifestName))
	if err != nil {
		return "", fmt.Errorf("%w: a module's folder has a module.toml", err)
	}
	m, err := module.ParseManifest(text)
	if err != nil {
		return "", fmt.Errorf("%s: %w", filepath.Join(src, module.ManifestName), err)
	}
	artifact, err := filepath.Abs(filepath.Join(out, m.Artifact))
	if err != nil {
		return "", err
	}
	note, err := checkSDK(src)
	if err != nil {
		return "", err
	}
	if note != "" {
		fmt.Fprintln(said, note)
	}
	if built != "" {
		err = copyArtifact(built, artifact)
	} else {
		sdk, _ := fs.Sub(nethost.SDK, "sdk") // a valid name
		job := toolchain.Job{Dir: src, Artifact: artifact, Program: m.Carrier == module.Process, SDK: sdk, Output: said}
		err = job.Build(ctx)
	}
	if err != nil {
		return "", err
	}
	if m.Carrier == module.Wasm {
		if err := module.EmbedFile(artifact, []byte(module.WithoutKey(string(text), "blake3"))); err != nil {
			return "", err
		}
	}
	sum, err := module.Digest(artifact)
	if err != nil {
		return "", err
	}
	digest := hex.EncodeToString(sum[:])
	return digest, os.WriteFile(filepath.Join(out, module.ManifestName), []byte(module.WithKey(string(text), "blake3", digest, "artifact")), 0o644)
}

// copyArtifact takes a file that another toolchain made into the package.
func copyArtifact(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o755)
}
