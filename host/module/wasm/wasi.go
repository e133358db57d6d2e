package wasm

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"nethost/sdk"
)

// Error numbers of WASI preview 1.
const (
	errnoBadf  = 8
	errnoFault = 21
	errnoInval = 28
	errnoNosys = 52
)

// Bounds of what a guest may do through WASI in one batch (W7).
const (
	maxSleep  = time.Millisecond
	maxOutput = 64 << 10 // bytes of stdout and stderr; the rest is dropped
	maxVector = 1024     // iovecs or subscriptions in one call
	callFuel  = 64       // units a call into the host costs
)

// exitError is how proc_exit and a refused sleep leave the guest.
type exitError struct{ text string }

func (e *exitError) Error() string { return e.text }

// wasi is the whole outside world of one guest.
type wasi struct {
	now, wall int64 // of the batch, ns
	slept     time.Duration
	random    *rand.ChaCha8
	output    int // bytes left in this batch
	log       func(sdk.LogLevel, string)
	lines     [2][]byte // unfinished lines of fd 1 and 2
	fuel      api.MutableGlobal
}

// begin sets the time of the next batch. Monotonic time never runs back.
func (w *wasi) begin(now, wall int64) {
	w.now, w.wall = max(now, w.now+int64(w.slept)), wall
	w.slept, w.output = 0, maxOutput
}

type wasiFunc struct {
	params, results string
	call            func(w *wasi, mem api.Memory, s []uint64) uint32
}

// functions are the WASI calls that do something; all others answer ENOSYS.
func functions() map[string]wasiFunc {
	i3, i4 := valI32+valI32+valI32, valI32+valI32+valI32+valI32
	return map[string]wasiFunc{
		"args_get":            {valI32 + valI32, valI32, ok},
		"args_sizes_get":      {valI32 + valI32, valI32, twoZeros},
		"environ_get":         {valI32 + valI32, valI32, ok},
		"environ_sizes_get":   {valI32 + valI32, valI32, twoZeros},
		"clock_time_get":      {valI32 + valI64 + valI32, valI32, (*wasi).clock},
		"fd_write":            {i4, valI32, (*wasi).write},
		"random_get":          {valI32 + valI32, valI32, (*wasi).randomGet},
		"poll_oneoff":         {i4, valI32, (*wasi).poll},
		"fd_fdstat_get":       {valI32 + valI32, valI32, fdstat},
		"fd_fdstat_set_flags": {valI32 + valI32, valI32, fdflags},
		"fd_prestat_get":      {valI32 + valI32, valI32, badf},
		"fd_prestat_dir_name": {i3, valI32, badf},
		"proc_exit":           {valI32, "", exit},
		"sched_yield":         {"", valI32, ok},
	}
}

// build makes the host module a guest's imports resolve to, and no more.
func (w *wasi) build(ctx context.Context, rt wazero.Runtime, imports []importFunc) error {
	known := functions()
	seen := map[string]funcType{}
	b := rt.NewHostModuleBuilder(wasiModule)
	for _, im := range imports {
		if t, dup := seen[im.name]; dup {
			if !im.typ.is(string(t.params), string(t.results)) {
				return fmt.Errorf("imports %s with two types", im.name)
			}
			continue
		}
		seen[im.name] = im.typ
		f, found := known[im.name]
		if found && !im.typ.is(f.params, f.results) {
			return fmt.Errorf("imports %s with another type than WASI gives it", im.name)
		}
		if !found {
			f.call = nosys
		}
		answers := len(im.typ.results) == 1 && im.typ.results[0] == valI32[0]
		if len(im.typ.results) > 0 && !answers {
			return fmt.Errorf("imports %s, which is no function of WASI", im.name)
		}
		call := f.call
		b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, m api.Module, s []uint64) {
			w.charge(m, callFuel)
			e := call(w, m.Memory(), s)
			if answers {
				s[0] = uint64(e)
			}
		}), apiTypes(im.typ.params), apiTypes(im.typ.results)).Export(im.name)
	}
	if len(seen) == 0 {
		return nil
	}
	_, err := b.Instantiate(ctx)
	return err
}

func apiTypes(b []byte) []api.ValueType { return append([]api.ValueType(nil), b...) }

// charge takes units for work done in the host on the guest's behalf (W4.7).
func (w *wasi) charge(m api.Module, units int64) {
	if w.fuel == nil { // the start section runs before Open could look it up
		w.fuel = m.ExportedGlobal(exportFuel).(api.MutableGlobal)
	}
	left := int64(w.fuel.Get()) - units
	w.fuel.Set(uint64(left))
	if left < 0 {
		panic(&exitError{"out of fuel"})
	}
}

func ok(*wasi, api.Memory, []uint64) uint32    { return 0 }
func badf(*wasi, api.Memory, []uint64) uint32  { return errnoBadf }
func nosys(*wasi, api.Memory, []uint64) uint32 { return errnoNosys }

func exit(_ *wasi, _ api.Memory, s []uint64) uint32 {
	panic(&exitError{fmt.Sprintf("called proc_exit(%d)", uint32(s[0]))})
}

func twoZeros(_ *wasi, mem api.Memory, s []uint64) uint32 {
	if !mem.WriteUint32Le(uint32(s[0]), 0) || !mem.WriteUint32Le(uint32(s[1]), 0) {
		return errnoFault
	}
	return 0
}

func (w *wasi) clock(mem api.Memory, s []uint64) uint32 {
	t := w.now
	switch uint32(s[0]) {
	case 0:
		t = w.wall
	case 1:
	default:
		return errnoInval
	}
	if t != 0 {
		t += int64(w.slept)
	}
	if !mem.WriteUint64Le(uint32(s[2]), uint64(t)) {
		return errnoFault
	}
	return 0
}

func (w *wasi) randomGet(mem api.Memory, s []uint64) uint32 {
	b, in := mem.Read(uint32(s[0]), uint32(s[1]))
	if !in {
		return errnoFault
	}
	w.chargeBytes(len(b))
	_, _ = w.random.Read(b) // never fails
	return 0
}

// chargeBytes takes one unit a byte. It is called after charge has run once.
func (w *wasi) chargeBytes(n int) { w.charge(nil, int64(n)) }

func fdstat(_ *wasi, mem api.Memory, s []uint64) uint32 {
	if fd := uint32(s[0]); fd != 1 && fd != 2 {
		return errnoBadf
	}
	b, in := mem.Read(uint32(s[1]), 24)
	if !in {
		return errnoFault
	}
	clear(b)
	b[0] = 2                                   // a character device
	b[2] = 1                                   // append
	binary.LittleEndian.PutUint64(b[8:], 1<<6) // the right to write
	return 0
}

func fdflags(_ *wasi, _ api.Memory, s []uint64) uint32 {
	if fd := uint32(s[0]); fd != 1 && fd != 2 {
		return errnoBadf
	}
	return 0
}

func (w *wasi) write(mem api.Memory, s []uint64) uint32 {
	fd, iovs, n := uint32(s[0]), uint32(s[1]), uint32(s[2])
	if fd != 1 && fd != 2 {
		return errnoBadf
	}
	if n > maxVector {
		return errnoInval
	}
	vec, in := mem.Read(iovs, n*8)
	if !in {
		return errnoFault
	}
	total := uint32(0)
	for ; len(vec) > 0; vec = vec[8:] {
		b, in := mem.Read(binary.LittleEndian.Uint32(vec), binary.LittleEndian.Uint32(vec[4:]))
		if !in {
			return errnoFault
		}
		total += uint32(len(b))
		b = b[:min(len(b), w.output)]
		w.chargeBytes(len(b))
		w.output -= len(b)
		w.print(int(fd-1), b)
	}
	if !mem.WriteUint32Le(uint32(s[3]), total) {
		return errnoFault
	}
	return 0
}

// print cuts output into lines for the log.
func (w *wasi) print(stream int, b []byte) {
	for len(b) > 0 {
		line, rest, whole := bytes.Cut(b, []byte{'\n'})
		room := sdk.MaxLogText - len(w.lines[stream])
		w.lines[stream] = append(w.lines[stream], line[:min(room, len(line))]...)
		if whole {
			w.flush(stream)
		}
		b = rest
	}
}

func (w *wasi) flush(stream int) {
	if len(w.lines[stream]) > 0 && w.log != nil {
		level := sdk.LogInfo
		if stream == 1 {
			level = sdk.LogWarn
		}
		w.log(level, string(bytes.ToValidUTF8(w.lines[stream], []byte("\ufffd"))))
	}
	w.lines[stream] = w.lines[stream][:0]
}

// poll lets a guest sleep in virtual time, a little: the earliest clock fires and
// the batch's clock advances to it (W7.3).
func (w *wasi) poll(mem api.Memory, s []uint64) uint32 {
	n := uint32(s[2])
	if n == 0 || n > maxVector {
		return errnoInval
	}
	subs, in := mem.Read(uint32(s[0]), n*48)
	out, in2 := mem.Read(uint32(s[1]), n*32)
	if !in || !in2 {
		return errnoFault
	}
	w.chargeBytes(len(subs))
	first, at := []byte(nil), time.Duration(0)
	for ; len(subs) > 0; subs = subs[48:] {
		if subs[8] != 0 { // not a clock: there is no file to wait for
			continue
		}
		d := binary.LittleEndian.Uint64(subs[24:])
		if subs[40]&1 != 0 {
			base := w.now + int64(w.slept)
			if binary.LittleEndian.Uint32(subs[16:]) == 0 {
				base = w.wall + int64(w.slept)
			}
			d -= min(d, uint64(max(base, 0)))
		}
		if after := time.Duration(min(d, uint64(time.Hour))); first == nil || after < at {
			first, at = subs[:48], after
		}
	}
	if first == nil {
		return errnoBadf
	}
	if w.slept += at; w.slept > maxSleep {
		panic(&exitError{fmt.Sprintf("slept: Handle waited for %v, and a guest must not block (use Env.After)", at)})
	}
	var event [32]byte
	copy(event[:8], first[:8])
	copy(out, event[:])
	if !mem.WriteUint32Le(uint32(s[3]), 1) {
		return errnoFault
	}
	return 0
}
