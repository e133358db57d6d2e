package process

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"nethost/host/module"
	"nethost/host/module/toolchain"
	"nethost/sdk"
	"nethost/sdk/sdktest"
)

// pythonSpec packages one of the Python SDK's examples. Where Python or its grpcio is
// missing the test is skipped, and fails if the environment says that it must not.
func pythonSpec(t *testing.T, name string, id sdk.ID) module.Spec {
	t.Helper()
	if out, err := exec.Command("python3", "-c", "import grpc").CombinedOutput(); err != nil {
		if os.Getenv("REQUIRE_TOOLCHAINS") == "" {
			t.Skipf("LEFT OUT: no python3 with grpcio (`pip install grpcio`): %v %s", err, out)
		}
		t.Fatalf("python3 with grpcio: %v\n%s", err, out)
	}
	src, err := filepath.Abs(filepath.Join("../../../sdk/python", name))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	artifact := filepath.Join(dir, name+".py")
	err = toolchain.Job{Dir: src, Artifact: artifact, Program: true, SDK: os.DirFS("../../../sdk"), Output: os.Stderr}.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sum, err := module.Digest(artifact)
	if err != nil {
		t.Fatal(err)
	}
	v := sdk.Version{Major: 1}
	return module.Spec{Name: name + "-python", Kind: module.Process, Dir: dir, Artifact: artifact, Digest: sum,
		Subprotocols: []sdk.Subprotocol{{ID: id, Version: v, MinPeer: v}}}
}

func openPython(t *testing.T, c *Carrier, s module.Spec) sdktest.Instance {
	t.Helper()
	in, err := c.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	return in
}

// The Python SDK passes what every other one passes.
func TestPython(t *testing.T) {
	c := New(Options{})
	t.Run("conform", func(t *testing.T) {
		s := pythonSpec(t, "echo", 0xF004)
		sdktest.Conform(t, func(t *testing.T) sdktest.Instance { return openPython(t, c, s) })
	})
	t.Run("golden", func(t *testing.T) {
		s := pythonSpec(t, "golden", 0xF114)
		sdktest.Golden(t, func(t *testing.T) sdktest.Instance { return openPython(t, c, s) })
	})
	t.Run("counter", func(t *testing.T) {
		s := pythonSpec(t, "counter", 0xF104)
		sdktest.Counter(t, func(t *testing.T) sdktest.Instance { return openPython(t, c, s) })
	})
}
