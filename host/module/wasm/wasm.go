package wasm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"lukechampine.com/blake3"

	"nethost/host/module"
)

const (
	// stackBytes bounds a guest's call stack, by the rewriter's estimate.
	stackBytes = 8 << 20
	// initBudget is what start section and _initialize may use together with
	// nothing else running: a Go guest needs 2 to 5 ms.
	initBudget = 250 * time.Millisecond
	// startFuel is what a start section may use. It is compiled into the binary,
	// so it must not come from a measurement: each start would compile anew and
	// leave its code in the cache. Go guests have no start section.
	startFuel = 1 << 30
)

// Carrier opens wasm guests. It is safe for concurrent use.
type Carrier struct {
	cache  wazero.CompilationCache
	onDisk bool
	rate   int64 // units of fuel a microsecond, measured
	opens  sync.WaitGroup
}

var _ module.Carrier = (*Carrier)(nil)

// New returns a carrier that keeps compiled code in cacheDir, which it creates;
// "" keeps it in memory. The directory holds native code that is run as it is, so
// it must belong to the host's user alone.
func New(cacheDir string) (*Carrier, error) {
	c := &Carrier{}
	if cacheDir == "" {
		c.cache = wazero.NewCompilationCache()
	} else {
		if err := os.MkdirAll(cacheDir, 0o700); err != nil {
			return nil, fmt.Errorf("wasm cache: %w", err)
		}
		fi, err := os.Lstat(cacheDir)
		if err != nil {
			return nil, fmt.Errorf("wasm cache: %w", err)
		}
		if !fi.IsDir() || checkMode && fi.Mode().Perm()&0o077 != 0 {
			return nil, fmt.Errorf("wasm cache %s: others can reach it and it holds native code; run chmod 700 on it, or remove it", cacheDir)
		}
		if c.cache, err = wazero.NewCompilationCacheWithDir(cacheDir); err != nil {
			return nil, fmt.Errorf("wasm cache %s: %w", cacheDir, err)
		}
		c.onDisk = true
	}
	rate, err := calibrate()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("wasm: calibrating fuel: %w", err), c.cache.Close(context.Background()))
	}
	c.rate = rate
	return c, nil
}

// Close waits for opens under way and frees the compiled code. Instances must be
// closed before.
func (c *Carrier) Close() error {
	c.opens.Wait()
	return c.cache.Close(context.Background())
}

// Rate is how many units of fuel this machine spends in a microsecond.
func (c *Carrier) Rate() int64 { return c.rate }

// Open implements module.Carrier. Compiling cannot be interrupted, so when ctx
// ends first the rest is finished and thrown away in the background.
func (c *Carrier) Open(ctx context.Context, s module.Spec) (module.Instance, error) {
	type result struct {
		i   *instance
		err error
	}
	done := make(chan result)
	c.opens.Add(1)
	go func() {
		defer c.opens.Done()
		i, err := c.open(ctx, s)
		if err != nil {
			err = fmt.Errorf("wasm module %s: %w", s.Name, err)
		}
		select {
		case done <- result{i, err}:
		case <-ctx.Done():
			if i != nil {
				_ = i.Close() // nobody is left to hear
			}
		}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, r.err
		}
		return r.i, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wasm module %s: starting: %w", s.Name, ctx.Err())
	}
}

func (c *Carrier) open(ctx context.Context, s module.Spec) (*instance, error) {
	bin, err := readArtifact(s)
	if err != nil {
		return nil, err
	}
	limits := s.Limits
	if limits.Memory == 0 {
		limits.Memory = module.DefaultLimits.Memory
	}
	if limits.CPUMax == 0 {
		limits.CPUMax = module.DefaultLimits.CPUMax
	}
	pages := uint32(min(limits.Memory/pageSize, 1<<16))
	bin, rep, err := Rewrite(bin, Options{MemoryPages: pages, InitFuel: startFuel, StackBytes: stackBytes})
	if err != nil {
		return nil, fmt.Errorf("%s %w", s.Artifact, err)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	i, err := c.start(bin, rep, s, pages, c.cache)
	if err != nil && c.onDisk && errors.As(err, new(*compileError)) {
		// The cache may hold a damaged entry: only a compile without it tells.
		i, err = c.start(bin, rep, s, pages, nil)
	}
	if err != nil {
		return nil, err
	}
	i.budget, i.rate = c.units(limits.CPUMax), c.rate
	return i, nil
}

func (c *Carrier) units(d time.Duration) int64 { return max(1, int64(d/time.Microsecond)) * c.rate }

// compileError marks an error of the compiler, as opposed to one of the guest.
type compileError struct{ err error }

func (e *compileError) Error() string { return "does not compile: " + e.err.Error() }
func (e *compileError) Unwrap() error { return e.err }

// start gives the guest a runtime of its own and initialises it.
func (c *Carrier) start(bin []byte, rep *Report, s module.Spec, pages uint32, cache wazero.CompilationCache) (_ *instance, err error) {
	ctx := experimental.WithMemoryAllocator(context.Background(), reserve{})
	cfg := wazero.NewRuntimeConfig().WithMemoryLimitPages(pages).WithDebugInfoEnabled(false).WithCoreFeatures(api.CoreFeaturesV2)
	if cache != nil {
		cfg = cfg.WithCompilationCache(cache)
	}
	rt := wazero.NewRuntimeWithConfig(ctx, cfg)
	defer func() {
		if err != nil {
			err = errors.Join(err, rt.Close(ctx))
		}
	}()
	w := &wasi{random: rand.NewChaCha8(s.Seed), log: s.Log}
	w.begin(1, 0) // Go's runtime takes a clock that says 0 for broken
	if err := w.build(ctx, rt, rep.imports); err != nil {
		return nil, err
	}
	code, err := rt.CompileModule(ctx, bin)
	if err != nil {
		return nil, &compileError{err}
	}
	mod, err := rt.InstantiateModule(ctx, code, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		return nil, fmt.Errorf("does not start: %w: %s", module.ErrTrap, where(err))
	}
	i := &instance{rt: rt, mod: mod, mem: mod.Memory(), wasi: w, budget: c.units(initBudget), rate: c.rate,
		buffer: mod.ExportedFunction(exportBuffer), handle: mod.ExportedFunction(exportHandle),
		fuel: mod.ExportedGlobal(exportFuel).(api.MutableGlobal), depth: mod.ExportedGlobal(exportStack)}
	w.fuel = i.fuel
	if init := mod.ExportedFunction(exportInit); init != nil {
		i.fuel.Set(uint64(i.budget))
		if err := init.CallWithStack(ctx, nil); err != nil {
			w.flush(0)
			w.flush(1)
			return nil, fmt.Errorf("%s: %w", exportInit, i.explain(err))
		}
	}
	return i, nil
}

// readArtifact reads the binary and holds it to the digest of the Spec: the file
// may have changed since the catalogue looked at it.
func readArtifact(s module.Spec) ([]byte, error) {
	f, err := os.Open(s.Artifact)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	bin, err := io.ReadAll(io.LimitReader(f, maxBinary+1))
	if err != nil {
		return nil, err
	}
	if sum := blake3.Sum256(bin); s.Digest != [32]byte{} && sum != s.Digest {
		return nil, fmt.Errorf("%s changed since it was verified: its BLAKE3 is %x, expected %x", s.Artifact, sum, s.Digest)
	}
	return bin, nil
}
