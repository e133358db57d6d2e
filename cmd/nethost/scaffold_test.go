package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"nethost/host/module/toolchain"
)

// TestScaffolds: a new project of every language builds at the first try and passes the
// kit, and a node would find the package complete. Languages whose compiler is missing
// are left out with a word, and fail where the environment says that they must not.
func TestScaffolds(t *testing.T) {
	for _, language := range []string{"rust", "c", "assemblyscript", "python"} { // go: module_new.txtar
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "greeter")
			nethost := func(args ...string) string {
				t.Helper()
				var out, errOut bytes.Buffer
				if code := run(args, strings.NewReader(""), &out, &errOut); code != 0 {
					if os.Getenv("REQUIRE_TOOLCHAINS") == "" && strings.Contains(errOut.String(), toolchain.ErrMissing.Error()) {
						t.Skipf("LEFT OUT: %s", &errOut)
					}
					t.Fatalf("nethost %s: exit %d\n%s%s", strings.Join(args, " "), code, &out, &errOut)
				}
				return out.String()
			}
			if language == "python" && exec.Command("python3", "-c", "import grpc").Run() != nil && os.Getenv("REQUIRE_TOOLCHAINS") == "" {
				t.Skip("LEFT OUT: no python3 with grpcio (`pip install grpcio`)")
			}
			nethost("module", "new", "greeter", "--lang", language, "--id", "0xF123", "--dir", dir)
			nethost("module", "build", dir)
			if out := nethost("module", "test", filepath.Join(dir, "dist")); strings.Contains(out, "FAIL") || strings.Count(out, "\n") < 15 {
				t.Errorf("%s", out)
			}
		})
	}
}

func TestGoPrograms(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "greeter")
	var out, errOut bytes.Buffer
	for _, args := range [][]string{{"new", "greeter", "--process", "--id", "0xF123", "--dir", dir}, {"test", dir}} {
		if code := run(append([]string{"module"}, args...), strings.NewReader(""), &out, &errOut); code != 0 {
			t.Fatalf("%v: exit %d\n%s%s", args, code, &out, &errOut)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "go.sum")); errors.Is(err, os.ErrNotExist) {
		t.Error("a program's project has no go.sum")
	}
}
