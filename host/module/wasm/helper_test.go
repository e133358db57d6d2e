package wasm

import (
	"context"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"nethost/host/module"
	"nethost/sdk"
	"nethost/sdk/abi"
)

// fn is one function of a hand-assembled guest.
type fn struct {
	typ    []byte // "params -> results" as the binary format writes it, after 0x60
	locals []byte // declarations, with their count
	code   []byte // without the last end
}

var (
	typBuffer = []byte{1, 0x7f, 1, 0x7f}
	typHandle = []byte{2, 0x7f, 0x7f, 1, 0x7e}
	typVoid   = []byte{0, 0}
)

// asm puts together a guest: nethost_buffer answers 8 (a 64 KiB page is enough
// for what the tests send), nethost_handle runs code, the rest is reachable by
// call from index 3 on. pre is put before the type section's followers.
type asm struct {
	handle  fn
	buffer  []byte // code; nil answers 8
	more    []fn   // functions 3, 4, ...
	imports [][]byte
	memory  []byte             // limits; nil is {0, 2}
	extra   map[byte][]byte    // whole further sections
	exports map[string][2]byte // further exports: kind, index
	start   bool               // run function 3 as the start section
}

func (a asm) bytes() []byte {
	n := byte(len(a.imports))
	buffer := a.buffer
	if buffer == nil {
		buffer = []byte{opI32Const, 8}
	}
	fns := append([]fn{{typ: typBuffer, code: buffer}, a.handle, {typ: typVoid}}, a.more...)
	fns[1].typ = typHandle
	types, decls, bodies := []byte{byte(len(fns))}, []byte{byte(len(fns))}, []byte{byte(len(fns))}
	for i, f := range fns {
		types = append(append(types, 0x60), f.typ...)
		decls = append(decls, byte(i))
		locals := f.locals
		if locals == nil {
			locals = []byte{0}
		}
		body := append(append(append([]byte(nil), locals...), f.code...), opEnd)
		bodies = append(appendU32(bodies, uint32(len(body))), body...)
	}
	b := appendSection([]byte("\x00asm\x01\x00\x00\x00"), secType, types)
	if n > 0 {
		im := []byte{n}
		for _, i := range a.imports {
			im = append(im, i...)
		}
		b = appendSection(b, secImport, im)
	}
	b = appendSection(b, secFunction, decls)
	if t := a.extra[secTable]; t != nil {
		b = appendSection(b, secTable, t)
	}
	mem := a.memory
	if mem == nil {
		mem = []byte{0, 2}
	}
	b = appendSection(b, secMemory, append([]byte{1}, mem...))
	if g := a.extra[secGlobal]; g != nil {
		b = appendSection(b, secGlobal, g)
	}
	ex := appendU32(nil, uint32(3+len(a.exports)))
	for i, name := range []string{exportBuffer, exportHandle, exportMarker} {
		ex = append(appendName(ex, name), 0, n+byte(i))
	}
	for name, e := range a.exports {
		ex = append(appendName(ex, name), e[0], e[1])
	}
	b = appendSection(b, secExport, ex)
	if a.start {
		b = appendSection(b, secStart, []byte{n + 3})
	}
	if e := a.extra[secElement]; e != nil {
		b = appendSection(b, secElement, e)
	}
	b = appendSection(b, secCode, bodies)
	if d := a.extra[secData]; d != nil {
		b = appendSection(b, secData, d)
	}
	return b
}

// dataAt is a segment of the data section that puts b somewhere.
func dataAt(at int64, b []byte) []byte {
	return append(cat([]byte{0}, i32const(at), []byte{opEnd}, appendU32(nil, uint32(len(b)))), b...)
}

// wasiImport imports a WASI function whose type is that of function typ.
func wasiImport(name string, typ byte) []byte {
	return append(appendName(appendName(nil, wasiModule), name), 0, typ)
}

func handleOnly(code ...byte) asm { return asm{handle: fn{code: code}} }

var testOptions = Options{MemoryPages: 512, InitFuel: 1 << 30, StackBytes: stackBytes}

func newCarrier(t testing.TB) *Carrier {
	t.Helper()
	c, err := New("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func openBytes(t testing.TB, c *Carrier, bin []byte, s module.Spec) (*instance, error) {
	t.Helper()
	s.Name, s.Kind, s.Artifact = "test", module.Wasm, filepath.Join(t.TempDir(), "guest.wasm")
	if err := os.WriteFile(s.Artifact, bin, 0o600); err != nil {
		t.Fatal(err)
	}
	i, err := c.Open(context.Background(), s)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = i.Close() })
	return i.(*instance), nil
}

func mustOpen(t testing.TB, c *Carrier, bin []byte, s module.Spec) *instance {
	t.Helper()
	i, err := openBytes(t, c, bin, s)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// flushBatch is a batch of nothing but Flush.
func flushBatch(seq uint64, now time.Duration) []byte {
	var w abi.Writer
	w.ResetEvents(seq, now, 0)
	w.Event(sdk.Event{Kind: sdk.EvFlush})
	return w.Bytes()
}

// buildGuest compiles a Go guest of this repository.
func buildGuest(t testing.TB, pkg string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "guest.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=-mod=mod")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", pkg, err, text)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func le32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
