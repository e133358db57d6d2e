package wasm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"time"

	"github.com/tetratelabs/wazero/api"

	"nethost/host/module"
	"nethost/sdk"
)

// block is the grain of a snapshot, in bytes: a page of the processor, so that a
// block that is left out costs no memory either.
const block = 4 << 10

// snapshot is the whole of a guest between two batches (W9.1).
type snapshot struct {
	digest    [32]byte // of the artifact
	pages     uint32   // of linear memory
	ptr, size uint32   // the guest's buffer
	now, wall int64
	slept     time.Duration
	random    []byte // state of the generator behind random_get
	lines     [2][]byte
	globals   []uint64
	chunks    []chunk
	// onto tells that blocks which are not there are as the binary's data
	// segments left them; else they are zero.
	onto bool
}

// chunk is a stretch of memory.
type chunk struct {
	at uint32
	b  []byte
}

// fingerprint hashes memory block by block.
func (i *instance) fingerprint() []uint64 {
	mem, _ := i.mem.Read(0, i.mem.Size())
	sums := make([]uint64, 0, len(mem)/block)
	for ; len(mem) > 0; mem = mem[block:] {
		sums = append(sums, maphash.Bytes(i.prog.seed, mem[:block]))
	}
	return sums
}

// capture copies the guest. With base, the fingerprint of its memory before, only
// blocks that changed since; else all that are not zero.
func (i *instance) capture(base []uint64) *snapshot {
	s := &snapshot{digest: i.prog.key.digest, pages: i.mem.Size() / pageSize, ptr: i.ptr, size: i.size,
		now: i.wasi.now, wall: i.wasi.wall, slept: i.wasi.slept, onto: base != nil}
	s.random, _ = i.wasi.random.MarshalBinary() // never fails
	for k, line := range i.wasi.lines {
		s.lines[k] = append([]byte(nil), line...)
	}
	for _, name := range i.prog.rep.Globals {
		s.globals = append(s.globals, i.mod.ExportedGlobal(name).Get())
	}
	mem, _ := i.mem.Read(0, i.mem.Size())
	var zero [block]byte
	from := -1
	flush := func(to int) {
		if from >= 0 {
			s.chunks = append(s.chunks, chunk{uint32(from * block), append([]byte(nil), mem[from*block:to*block]...)})
		}
		from = -1
	}
	n := len(mem) / block
	for k := range n {
		b := mem[k*block : (k+1)*block]
		same := [block]byte(b) == zero
		if base != nil && k < len(base) {
			same = maphash.Bytes(i.prog.seed, b) == base[k]
		}
		if same {
			flush(k)
		} else if from < 0 {
			from = k
		}
	}
	flush(n)
	return s
}

// apply makes a fresh instance what the snapshot was taken of.
func (i *instance) apply(s *snapshot) error {
	have := i.mem.Size() / pageSize
	switch {
	case s.digest != i.prog.key.digest:
		return errors.New("the snapshot is of another artifact")
	case len(s.globals) != len(i.prog.rep.Globals) || s.pages < have:
		return errors.New("the snapshot is not of this artifact")
	}
	if _, grown := i.mem.Grow(s.pages - have); !grown {
		return fmt.Errorf("the snapshot has %d KiB of memory; limits.memory is %d KiB", s.pages*64, i.prog.key.pages*64)
	}
	if err := i.wasi.random.UnmarshalBinary(s.random); err != nil {
		return fmt.Errorf("the snapshot's generator is malformed: %w", err)
	}
	mem, _ := i.mem.Read(0, i.mem.Size())
	if !s.onto {
		clear(mem)
	}
	for _, c := range s.chunks {
		copy(mem[c.at:], c.b)
	}
	for k, name := range i.prog.rep.Globals {
		i.mod.ExportedGlobal(name).(api.MutableGlobal).Set(s.globals[k])
	}
	i.wasi.now, i.wasi.wall, i.wasi.slept = s.now, s.wall, s.slept
	for k, line := range s.lines {
		i.wasi.lines[k] = append([]byte(nil), line...)
	}
	i.ptr, i.size = s.ptr, s.size
	return nil
}

// Snapshot implements module.Snapshotter.
func (i *instance) Snapshot() ([]byte, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.closed:
		return nil, fmt.Errorf("%w: the instance is closed", module.ErrGone)
	case i.failed != nil:
		return nil, i.failed
	case len(i.prog.rep.Pinned) > 0:
		return nil, fmt.Errorf("%w: %s", module.ErrPinned, strings.Join(i.prog.rep.Pinned, ", "))
	}
	return i.capture(nil).encode(), nil
}

// Restore implements module.Restorer.
func (c *Carrier) Restore(ctx context.Context, s module.Spec, b []byte) (module.Instance, error) {
	image, err := parseSnapshot(b)
	if err != nil {
		return nil, fmt.Errorf("wasm module %s: snapshot: %w", s.Name, err)
	}
	return c.openWith(ctx, s, image)
}

const snapshotMagic = "NHS1"

var errSnapshot = errors.New("it is cut short or malformed")

// encode writes W9.3.
func (s *snapshot) encode() []byte {
	size := 256 + len(s.random) + len(s.lines[0]) + len(s.lines[1]) + 8*len(s.globals)
	for _, c := range s.chunks {
		size += 8 + len(c.b)
	}
	b := append(append(make([]byte, 0, size), snapshotMagic...), s.digest[:]...)
	le := binary.LittleEndian
	b = le.AppendUint32(le.AppendUint32(le.AppendUint32(b, s.pages), s.ptr), s.size)
	b = le.AppendUint64(le.AppendUint64(le.AppendUint64(b, uint64(s.now)), uint64(s.wall)), uint64(s.slept))
	for _, v := range [][]byte{s.random, s.lines[0], s.lines[1]} {
		b = append(le.AppendUint32(b, uint32(len(v))), v...)
	}
	b = le.AppendUint32(b, uint32(len(s.globals)))
	for _, g := range s.globals {
		b = le.AppendUint64(b, g)
	}
	b = le.AppendUint32(b, uint32(len(s.chunks)))
	for _, c := range s.chunks {
		b = append(le.AppendUint32(le.AppendUint32(b, c.at), uint32(len(c.b))), c.b...)
	}
	return b
}

// parseSnapshot reads what encode wrote. The slices alias b.
func parseSnapshot(b []byte) (*snapshot, error) {
	s := &snapshot{}
	r := &reader{b: b}
	u64 := func() uint64 {
		if v := r.take(8); v != nil {
			return binary.LittleEndian.Uint64(v)
		}
		return 0
	}
	u32 := func() uint32 {
		if v := r.take(4); v != nil {
			return binary.LittleEndian.Uint32(v)
		}
		return 0
	}
	if string(r.take(4)) != snapshotMagic {
		return nil, errors.New("it is none of this host's kind")
	}
	copy(s.digest[:], r.take(32))
	s.pages, s.ptr, s.size = u32(), u32(), u32()
	s.now, s.wall, s.slept = int64(u64()), int64(u64()), time.Duration(u64())
	s.random, s.lines[0], s.lines[1] = r.take(u32()), r.take(u32()), r.take(u32())
	memory := uint64(s.pages) * pageSize
	if s.pages > 1<<16 || uint64(s.ptr)+uint64(s.size) > memory || s.slept < 0 || s.slept > maxSleep ||
		max(len(s.lines[0]), len(s.lines[1])) > sdk.MaxLogText {
		return nil, errSnapshot
	}
	for n := u32(); n > 0 && r.err == nil; n-- {
		s.globals = append(s.globals, u64())
	}
	end := uint64(0)
	for n := u32(); n > 0 && r.err == nil; n-- {
		c := chunk{at: u32()}
		c.b = r.take(u32())
		// In order, apart from each other, whole blocks: one way to write it.
		if n := uint64(len(c.b)); n == 0 || n%block != 0 || c.at%block != 0 || len(s.chunks) > 0 && uint64(c.at) <= end || uint64(c.at)+n > memory {
			return nil, errSnapshot
		}
		end = uint64(c.at) + uint64(len(c.b))
		s.chunks = append(s.chunks, c)
	}
	if r.err != nil || r.left() != 0 {
		return nil, errSnapshot
	}
	return s, nil
}
