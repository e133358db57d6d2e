package wasm

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"nethost/host/module"
	"nethost/host/module/toolchain"
	"nethost/sdk/sdktest"
)

// languages are those with a guest SDK beside Go's.
var languages = []string{"c", "rust", "assemblyscript"}

// buildForeign compiles one of the SDKs' examples. Where the compiler is missing the
// test is skipped, and fails if the environment says that it must not.
func buildForeign(t *testing.T, language, name string) []byte {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("../../../sdk", language, name))
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), name+".wasm")
	var log bytes.Buffer
	err = toolchain.Job{Dir: dir, Artifact: out, SDK: os.DirFS("../../../sdk"), Output: &log}.Build(t.Context())
	if errors.Is(err, toolchain.ErrMissing) && os.Getenv("REQUIRE_TOOLCHAINS") == "" {
		t.Skipf("LEFT OUT: %v", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	if log.Len() > 0 {
		t.Errorf("the compiler has something to say:\n%s", &log)
	}
	bin, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// TestForeign: every SDK's echo passes the suite of the carriers, its golden module is
// held to the golden vectors of ABI 1, and its counter counts, refuses and remembers.
func TestForeign(t *testing.T) {
	for _, language := range languages {
		for name, check := range map[string]func(*testing.T, func(*testing.T) sdktest.Instance){
			"echo": sdktest.Conform, "golden": sdktest.Golden, "counter": sdktest.Counter,
		} {
			t.Run(language+"/"+name, func(t *testing.T) {
				c, bin := newCarrier(t), buildForeign(t, language, name)
				check(t, func(t *testing.T) sdktest.Instance { return mustOpen(t, c, bin, module.Spec{}) })
			})
		}
	}
}
