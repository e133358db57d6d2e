package wasm

import "github.com/tetratelabs/wazero/experimental"

// reserve gives each guest its granted memory up front, outside the Go heap where
// the system allows it: growing neither copies nor moves it, and pages cost
// nothing until they are touched.
type reserve struct{}

var _ experimental.MemoryAllocator = reserve{}

// Allocate implements experimental.MemoryAllocator.
func (reserve) Allocate(_, limit uint64) experimental.LinearMemory {
	b, unmap := mapMemory(limit)
	if b == nil {
		b = make([]byte, limit)
	}
	return &linear{b: b, unmap: unmap}
}

type linear struct {
	b     []byte
	unmap func([]byte)
}

// Reallocate implements experimental.LinearMemory; nil refuses to grow.
func (l *linear) Reallocate(size uint64) []byte {
	if size > uint64(len(l.b)) {
		return nil
	}
	return l.b[:size:size]
}

// Free implements experimental.LinearMemory.
func (l *linear) Free() {
	if l.unmap != nil && l.b != nil {
		l.unmap(l.b)
	}
	l.b = nil
}
