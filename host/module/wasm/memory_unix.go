//go:build unix

package wasm

import "golang.org/x/sys/unix"

// mapMemory maps n zero bytes, or gives nil when the system refuses.
func mapMemory(n uint64) ([]byte, func([]byte)) {
	if n == 0 {
		return nil, nil
	}
	b, err := unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, nil
	}
	return b, func(b []byte) { _ = unix.Munmap(b) } // fails only for a slice that Mmap did not give
}
