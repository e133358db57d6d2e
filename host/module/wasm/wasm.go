package wasm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
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
	cache     wazero.CompilationCache
	rewritten rewriteCache
	rate      int64 // units of fuel a microsecond, measured
	opens     sync.WaitGroup

	mu     sync.Mutex // guards what follows
	kept   []*program
	closed bool
}

var (
	_ module.Carrier  = (*Carrier)(nil)
	_ module.Restorer = (*Carrier)(nil)
)

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
		c.rewritten.dir = cacheDir
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
	return errors.Join(c.closeKept(), c.cache.Close(context.Background()))
}

// Rate is how many units of fuel this machine spends in a microsecond.
func (c *Carrier) Rate() int64 { return c.rate }

// Open implements module.Carrier. Compiling cannot be interrupted, so when ctx
// ends first the rest is finished and thrown away in the background.
func (c *Carrier) Open(ctx context.Context, s module.Spec) (module.Instance, error) {
	return c.openWith(ctx, s, nil)
}

func (c *Carrier) openWith(ctx context.Context, s module.Spec, image *snapshot) (module.Instance, error) {
	type result struct {
		i   *instance
		err error
	}
	done := make(chan result)
	c.opens.Add(1)
	go func() {
		defer c.opens.Done()
		i, err := c.open(ctx, s, image)
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

func (c *Carrier) open(ctx context.Context, s module.Spec, image *snapshot) (*instance, error) {
	bin, digest, err := readArtifact(s)
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
	key := programKey{digest: digest, pages: uint32(min(limits.Memory/pageSize, 1<<16)), seed: s.Seed}
	p := c.take(key)
	if p == nil {
		if p, err = c.compile(ctx, bin, key); err != nil {
			return nil, fmt.Errorf("%s %w", s.Artifact, err)
		}
	}
	i, err := c.begin(p, s, image)
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	i.budget = c.units(limits.CPUMax)
	return i, nil
}

// compile makes a program of a binary.
func (c *Carrier) compile(ctx context.Context, bin []byte, key programKey) (*program, error) {
	out, rep, err := c.rewritten.rewrite(bin, key.digest, Options{MemoryPages: key.pages, InitFuel: startFuel, StackBytes: stackBytes})
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	p, err := load(out, rep, key, c.cache)
	if err != nil && c.rewritten.dir != "" && errors.As(err, new(*compileError)) {
		// The cache may hold a damaged entry: only a compile without it tells.
		p, err = load(out, rep, key, nil)
	}
	return p, err
}

func (c *Carrier) units(d time.Duration) int64 { return max(1, int64(d/time.Microsecond)) * c.rate }

// compileError marks an error of the compiler, as opposed to one of the guest.
type compileError struct{ err error }

func (e *compileError) Error() string { return "does not compile: " + e.err.Error() }
func (e *compileError) Unwrap() error { return e.err }

// readArtifact reads the binary and holds it to the digest of the Spec: the file
// may have changed since the catalogue looked at it.
func readArtifact(s module.Spec) (bin []byte, digest [32]byte, err error) {
	f, err := os.Open(s.Artifact)
	if err != nil {
		return nil, digest, err
	}
	defer f.Close()
	bin, err = io.ReadAll(io.LimitReader(f, maxBinary+1))
	if err != nil {
		return nil, digest, err
	}
	digest = blake3.Sum256(bin)
	if s.Digest != [32]byte{} && digest != s.Digest {
		return nil, digest, fmt.Errorf("%s changed since it was verified: its BLAKE3 is %x, expected %x", s.Artifact, digest, s.Digest)
	}
	return bin, digest, nil
}
