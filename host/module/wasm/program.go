package wasm

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"nethost/host/module"
)

// program is a compiled guest in a runtime of its own. It has one instance at a
// time; when that dies it is kept for the next.
type program struct {
	key    programKey
	rt     wazero.Runtime
	code   wazero.CompiledModule
	wasi   *wasi
	rep    *Report
	golden *snapshot // the guest after _initialize; nil: it has to run
	seed   maphash.Seed
}

// programKey is what an instance before its first batch depends on.
type programKey struct {
	digest [32]byte // of the artifact
	pages  uint32
	seed   [32]byte
}

// maxKept bounds the programs whose instance died and whose next one was not
// asked for yet.
const maxKept = 32

// take gives a program that was kept, or nil.
func (c *Carrier) take(key programKey) *program {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, p := range c.kept {
		if p.key == key {
			c.kept = append(c.kept[:i], c.kept[i+1:]...)
			return p
		}
	}
	return nil
}

// keep takes a program back. The oldest one goes when there are too many.
func (c *Carrier) keep(p *program) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return p.close()
	}
	c.kept = append(c.kept, p)
	if len(c.kept) <= maxKept {
		return nil
	}
	oldest := c.kept[0]
	c.kept = append(c.kept[:0], c.kept[1:]...)
	return oldest.close()
}

// closeKept closes the programs that were kept, and those that come back later.
func (c *Carrier) closeKept() (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, p := range c.kept {
		err = errors.Join(err, p.close())
	}
	c.kept = nil
	return err
}

func (p *program) close() error { return p.rt.Close(context.Background()) }

// load compiles a rewritten binary.
func load(bin []byte, rep *Report, key programKey, cache wazero.CompilationCache) (_ *program, err error) {
	ctx := context.Background()
	cfg := wazero.NewRuntimeConfig().WithMemoryLimitPages(key.pages).WithDebugInfoEnabled(false).WithCoreFeatures(api.CoreFeaturesV2)
	if cache != nil {
		cfg = cfg.WithCompilationCache(cache)
	}
	p := &program{key: key, rep: rep, seed: maphash.MakeSeed(), wasi: &wasi{}, rt: wazero.NewRuntimeWithConfig(ctx, cfg)}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if err := p.wasi.build(ctx, p.rt, rep.imports); err != nil {
		return nil, err
	}
	if p.code, err = p.rt.CompileModule(ctx, bin); err != nil {
		return nil, &compileError{err}
	}
	return p, nil
}

// instantiate makes a fresh instance, of which the start section ran and nothing
// else.
func (c *Carrier) instantiate(p *program, s module.Spec) (*instance, error) {
	ctx := experimental.WithMemoryAllocator(context.Background(), reserve{})
	*p.wasi = wasi{random: rand.NewChaCha8(s.Seed), log: s.Log}
	p.wasi.begin(1, 0) // Go's runtime takes a clock that says 0 for broken
	mod, err := p.rt.InstantiateModule(ctx, p.code, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		return nil, fmt.Errorf("does not start: %w: %s", module.ErrTrap, where(err))
	}
	i := &instance{c: c, prog: p, mod: mod, mem: mod.Memory(), wasi: p.wasi, budget: c.units(initBudget), rate: c.rate,
		buffer: mod.ExportedFunction(exportBuffer), handle: mod.ExportedFunction(exportHandle),
		fuel: mod.ExportedGlobal(exportFuel).(api.MutableGlobal), depth: mod.ExportedGlobal(exportStack)}
	p.wasi.fuel = i.fuel
	return i, nil
}

// begin makes an instance that is ready for its next batch: from an image if there
// is one, the golden one by preference to none, else by _initialize.
func (c *Carrier) begin(p *program, s module.Spec, image *snapshot) (*instance, error) {
	i, err := c.instantiate(p, s)
	if err != nil {
		return nil, err
	}
	if image != nil && len(p.rep.Pinned) > 0 {
		return nil, fmt.Errorf("%w: %s", module.ErrPinned, strings.Join(p.rep.Pinned, ", "))
	}
	if image == nil {
		image = p.golden
	}
	if image != nil {
		return i, i.apply(image)
	}
	init := i.mod.ExportedFunction(exportInit)
	if init == nil {
		return i, nil
	}
	var base []uint64
	if len(p.rep.Pinned) == 0 {
		base = i.fingerprint()
	}
	i.fuel.Set(uint64(i.budget))
	if err := init.CallWithStack(context.Background(), nil); err != nil {
		p.wasi.flush(0)
		p.wasi.flush(1)
		return nil, fmt.Errorf("%s: %w", exportInit, i.explain(err))
	}
	if base != nil {
		p.golden = i.capture(base)
	}
	return i, nil
}
