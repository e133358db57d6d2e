package wasm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tetratelabs/wazero/api"

	"nethost/host/module"
	"nethost/sdk"
	"nethost/sdk/abi"
)

// instance is one living guest. mu guards all of it: Close waits for a Deliver
// under way, which fuel ends.
type instance struct {
	mu     sync.Mutex
	c      *Carrier
	prog   *program
	mod    api.Module
	mem    api.Memory
	buffer api.Function
	handle api.Function
	fuel   api.MutableGlobal
	depth  api.Global
	wasi   *wasi

	budget int64 // units a batch
	spent  int64 // units the last batch used
	rate   int64 // units a microsecond
	ptr    uint32
	size   uint32 // of the guest's buffer, 0 before the first batch
	stack  [2]uint64
	out    []byte
	failed error // why the instance is dead
	closed bool
}

var (
	_ module.Instance    = (*instance)(nil)
	_ module.Meter       = (*instance)(nil)
	_ module.Snapshotter = (*instance)(nil)
)

// What the host's own work for a batch costs the guest (W4.10).
const (
	copyBytes  = 8  // bytes copied for a unit
	recordFuel = 16 // units for each effect that is checked and applied
	recordsAt  = 8  // where a batch's header has its count of records
)

// Deliver implements module.Instance.
func (i *instance) Deliver(batch []byte) ([]byte, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return nil, fmt.Errorf("%w: the instance is closed", module.ErrGone)
	}
	if i.failed != nil {
		return nil, i.failed
	}
	h, _, err := abi.Parse(batch, sdk.MaxBatchBytes)
	if err != nil {
		return nil, fmt.Errorf("%w: batch of events: %w", module.ErrProtocol, err)
	}
	i.wasi.begin(int64(h.Now), h.Wall)
	i.fuel.Set(uint64(i.budget))
	out, err := i.run(batch)
	i.spent = i.budget - int64(i.fuel.Get())
	if err == nil {
		err = i.pay(batch, out)
	}
	if err != nil {
		i.failed = err
		i.wasi.flush(0)
		i.wasi.flush(1)
	}
	return out, err
}

// pay charges the guest for what the host does with its batch (W4.10).
func (i *instance) pay(batch, out []byte) error {
	cost := int64(len(batch)+len(out)) / copyBytes
	if len(out) >= abi.HeaderSize {
		cost += recordFuel * int64(min(binary.LittleEndian.Uint32(out[recordsAt:]), sdk.MaxEffects))
	}
	if i.spent += cost; i.spent <= i.budget {
		return nil
	}
	return fmt.Errorf("%w (%v): %d bytes of effects were too many for what it had left", module.ErrFuel, i.time(i.budget).Round(time.Microsecond), len(out))
}

// run copies the batch in, calls the guest, and copies the effects out.
func (i *instance) run(batch []byte) ([]byte, error) {
	n := uint32(len(batch))
	if n > i.size {
		if err := i.grow(n); err != nil {
			return nil, err
		}
	}
	if !i.mem.Write(i.ptr, batch) {
		return nil, fmt.Errorf("%w: %s is outside the memory", module.ErrProtocol, exportBuffer)
	}
	i.stack[0], i.stack[1] = uint64(i.ptr), uint64(n)
	if err := i.handle.CallWithStack(context.Background(), i.stack[:]); err != nil {
		return nil, i.explain(err)
	}
	packed := i.stack[0]
	if packed == 0 {
		return nil, nil
	}
	ptr, length := uint32(packed>>32), uint32(packed)
	if length < abi.HeaderSize || length > sdk.MaxEffectBytes {
		return nil, fmt.Errorf("%w: %s gave %d bytes of effects; a batch has %d to %d", module.ErrProtocol, exportHandle, length, abi.HeaderSize, sdk.MaxEffectBytes)
	}
	view, in := i.mem.Read(ptr, length)
	if !in {
		return nil, fmt.Errorf("%w: %s gave effects outside the memory (%d bytes at %d)", module.ErrProtocol, exportHandle, length, ptr)
	}
	// Copied, because the memory is gone once Close ran.
	i.out = append(i.out[:0], view...)
	return i.out, nil
}

// grow asks the guest for a buffer of at least n bytes, in powers of two so that
// it is asked a few times only.
func (i *instance) grow(n uint32) error {
	size := uint32(4096)
	for size < n {
		size *= 2
	}
	i.stack[0] = uint64(size)
	if err := i.buffer.CallWithStack(context.Background(), i.stack[:]); err != nil {
		return i.explain(err)
	}
	ptr := uint32(i.stack[0])
	if ptr == 0 || ptr%8 != 0 || uint64(ptr)+uint64(size) > uint64(i.mem.Size()) {
		return fmt.Errorf("%w: %s(%d) gave %d, which is no 8-aligned place for so much", module.ErrProtocol, exportBuffer, size, ptr)
	}
	i.ptr, i.size = ptr, size
	return nil
}

// explain turns what wazero reports into one of the carrier's errors.
func (i *instance) explain(err error) error {
	if int64(i.fuel.Get()) < 0 {
		return fmt.Errorf("%w (%v): %s", module.ErrFuel, i.time(i.budget).Round(time.Microsecond), where(err))
	}
	if int32(i.depth.Get()) < 0 {
		return fmt.Errorf("%w: its call stack is deeper than %d KiB: %s", module.ErrTrap, stackBytes>>10, where(err))
	}
	if e := (*exitError)(nil); errors.As(err, &e) {
		return fmt.Errorf("%w: it %s", module.ErrTrap, e.text)
	}
	return fmt.Errorf("%w: %s", module.ErrTrap, where(err))
}

// where keeps the cause and the innermost frames of wazero's text.
func where(err error) string {
	lines := strings.Split(err.Error(), "\n")
	const most = 12
	if len(lines) > most {
		lines = append(lines[:most], fmt.Sprintf("\t... %d more", len(lines)-most))
	}
	return strings.Join(lines, "\n")
}

// Used is the processor time of the last batch, by fuel.
func (i *instance) Used() time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.time(i.spent)
}

// time turns units of fuel into processor time.
func (i *instance) time(units int64) time.Duration {
	return time.Duration(float64(units) / float64(i.rate) * float64(time.Microsecond))
}

// Close implements module.Instance. The program of an instance that failed is kept:
// another instance follows, as a rule at once.
func (i *instance) Close() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return nil
	}
	i.closed = true
	i.wasi.flush(0)
	i.wasi.flush(1)
	if i.failed == nil {
		return i.prog.close()
	}
	return errors.Join(i.mod.Close(context.Background()), i.c.keep(i.prog))
}
