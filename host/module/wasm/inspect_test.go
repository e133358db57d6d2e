package wasm

import (
	"slices"
	"strings"
	"testing"

	"nethost/host/module"
)

// Inspect says what a guest is, with the memory it needs and without, and
// takes a binary that holds its manifest for the same guest.
func TestInspect(t *testing.T) {
	bin := asm{handle: fn{code: []byte{opI64Const, 0}}}.bytes()
	in := Inspect(bin, 32<<20)
	if in.Refused != "" || in.MemoryMin != 2*pageSize || in.Functions != 3 || !slices.Contains(in.Exports, exportMarker) || in.Start {
		t.Errorf("%+v", in)
	}
	if in := Inspect(bin, 64<<10); !strings.Contains(in.Refused, "memory to start") {
		t.Errorf("in 64 KiB: %q", in.Refused)
	}
	with, err := module.EmbedManifest(bin, []byte("name = \"x\""))
	if err != nil {
		t.Fatal(err)
	}
	if again := Inspect(with, 32<<20); again.Refused != "" || again.Functions != in.Functions {
		t.Errorf("with its manifest: %+v", again)
	}
	for text, bin := range map[string]string{"is a component": "\x00asm\x0d\x00\x01\x00", "not WebAssembly": "#!/bin/sh\n", "does not export": "\x00asm\x01\x00\x00\x00"} {
		if in := Inspect([]byte(bin), 32<<20); !strings.Contains(in.Refused, text) {
			t.Errorf("%q; want %q", in.Refused, text)
		}
	}
}
