package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"nethost/host/module"
)

func moduleCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "module", Short: "build module packages", Args: cobra.ArbitraryArgs, RunE: group}
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(moduleBuildCommand())
	return cmd
}

func moduleBuildCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "build DIR",
		Short: "build the Go module in DIR into a package: artifact and module.toml with its digest",
		Long: `Builds the Go program in DIR as its module.toml says (carrier "wasm" with
GOOS=wasip1, carrier "process" for this machine) and writes a package that can be
put into a plugin directory: the artifact, and module.toml with its BLAKE3 digest.`,
		Args: args(cobra.ExactArgs(1)),
	}
	out := cmd.Flags().String("out", "", "folder of the package (default DIR/dist)")
	quiet := cmd.Flags().Bool("quiet", false, "say nothing on success")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		if *out == "" {
			*out = filepath.Join(a[0], "dist")
		}
		digest, err := buildPackage(cmd, a[0], *out)
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

// buildPackage compiles and writes a package, and gives the artifact's digest.
func buildPackage(cmd *cobra.Command, src, out string) (string, error) {
	text, err := os.ReadFile(filepath.Join(src, module.ManifestName))
	if err != nil {
		return "", fmt.Errorf("%w: a module's folder has a module.toml", err)
	}
	m, err := module.ParseManifest(text)
	if err != nil {
		return "", fmt.Errorf("%s: %w", filepath.Join(src, module.ManifestName), err)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return "", err
	}
	artifact, err := filepath.Abs(filepath.Join(out, m.Artifact))
	if err != nil {
		return "", err
	}
	build := []string{"build", "-trimpath", "-ldflags=-s -w", "-o", artifact}
	env := append(os.Environ(), "CGO_ENABLED=0")
	if m.Carrier == module.Wasm {
		build = append(build, "-buildmode=c-shared")
		env = append(env, "GOOS=wasip1", "GOARCH=wasm")
	}
	c := exec.CommandContext(cmd.Context(), "go", append(build, ".")...)
	c.Dir, c.Env, c.Stdout, c.Stderr = src, env, cmd.ErrOrStderr(), cmd.ErrOrStderr()
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("go build of %s failed: %w", src, err)
	}
	sum, err := module.Digest(artifact)
	if err != nil {
		return "", err
	}
	digest := hex.EncodeToString(sum[:])
	return digest, os.WriteFile(filepath.Join(out, module.ManifestName), []byte(withDigest(string(text), digest)), 0o644)
}

// withDigest puts the line blake3 = "..." after the line of the artifact.
func withDigest(text, digest string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		key, _, _ := strings.Cut(line, "=")
		switch strings.TrimSpace(key) {
		case "blake3":
			continue
		case "artifact":
			fmt.Fprintf(&b, "%s\nblake3   = %q\n", strings.TrimRight(line, "\n"), digest)
		default:
			b.WriteString(line)
		}
	}
	return b.String()
}
