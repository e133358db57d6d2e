package wasm

import (
	"path/filepath"
	"testing"

	"nethost/host/module"
	"nethost/sdk/sdktest"
)

// TestConform: echo as a Go guest, metered, passes the suite of the carriers.
func TestConform(t *testing.T) {
	c, err := New(filepath.Join(t.TempDir(), "cache"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	bin := buildGuest(t, echoPkg)
	sdktest.Conform(t, func(t *testing.T) sdktest.Instance { return mustOpen(t, c, bin, module.Spec{}) })
}

// TestHoldBack: a guest holds messages back as every other module does.
func TestHoldBack(t *testing.T) {
	c, bin := newCarrier(t), buildGuest(t, "nethost/host/module/wasm/testdata/holdback")
	sdktest.ConformHoldBack(t, func(t *testing.T) sdktest.Instance { return mustOpen(t, c, bin, module.Spec{}) })
}
