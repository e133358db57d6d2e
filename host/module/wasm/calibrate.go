package wasm

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// checkMode is false where files have no Unix permissions.
const checkMode = runtime.GOOS != "windows"

// Bounds of the measured rate, in units a microsecond: the lower one is the
// interpreter on a slow machine, the upper one is beyond any machine.
const (
	minRate = 20
	maxRate = 20_000
)

// calibrate measures how much fuel a chain of multiplications and loads,
// metered as any guest, burns in a microsecond. It takes about 3 ms.
func calibrate() (int64, error) {
	const budget = 1_000_000
	bin, _, err := Rewrite(calibrationGuest(), Options{MemoryPages: 1, InitFuel: budget, StackBytes: stackBytes})
	if err != nil {
		return 0, err
	}
	ctx := context.Background()
	rt := wazero.NewRuntime(ctx)
	defer rt.Close(ctx)
	mod, err := rt.Instantiate(ctx, bin)
	if err != nil {
		return 0, err
	}
	handle, fuel := mod.ExportedFunction(exportHandle), mod.ExportedGlobal(exportFuel).(api.MutableGlobal)
	best := time.Hour
	for range 6 {
		fuel.Set(budget)
		stack := [2]uint64{}
		start := time.Now()
		err := handle.CallWithStack(ctx, stack[:])
		best = min(best, time.Since(start))
		if err == nil {
			return 0, errors.New("the endless loop ended")
		}
	}
	return min(max(int64(budget*time.Microsecond/best), minRate), maxRate), nil
}

// calibrationGuest is a module whose nethost_handle never returns:
// for x = 1;; { x = x*k + 7; x = x ^ mem[x>>20 & 0x3ff8] }.
// Each step waits for the one before it: a budget that is hard in time has to be
// measured on slow code. Code that misses every cache is slower still (W4.1).
func calibrationGuest() []byte {
	code := []byte{1, 1, 0x7e, // one local of type i64, index 2
		opLoop, blockEmpty,
		opLocalGet, 2, opI64Const, 0xb5, 0xe7, 0xd3, 0x0f, 0x7e, opI64Const, 7, 0x7c, opLocalTee, 2,
		opI64Const, 20, opI64ShrU, 0xa7, opI32Const, 0xf8, 0xff, 0, 0x71, 0x29, 3, 0,
		opLocalGet, 2, 0x85, opLocalSet, 2,
		opBr, 0, opEnd, opI64Const, 0, opEnd}
	trivial := []byte{0, opI32Const, 8, opEnd}
	b := []byte("\x00asm\x01\x00\x00\x00")
	b = appendSection(b, secType, []byte{3, 0x60, 1, 0x7f, 1, 0x7f, 0x60, 2, 0x7f, 0x7f, 1, 0x7e, 0x60, 0, 0})
	b = appendSection(b, secFunction, []byte{3, 0, 1, 2})
	b = appendSection(b, secMemory, []byte{1, 0, 1})
	exports := appendName([]byte{3}, exportBuffer)
	exports = appendName(append(exports, 0, 0), exportHandle)
	exports = appendName(append(exports, 0, 1), exportMarker)
	b = appendSection(b, secExport, append(exports, 0, 2))
	bodies := append([]byte{3, byte(len(trivial))}, trivial...)
	bodies = append(append(bodies, byte(len(code))), code...)
	return appendSection(b, secCode, append(bodies, 2, 0, opEnd))
}
