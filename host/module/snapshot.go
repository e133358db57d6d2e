package module

import (
	"context"
	"errors"
)

// Snapshotter is implemented by instances that can be copied between two batches:
// wasm guests. Batches that follow have the same effects on the copy.
type Snapshotter interface {
	// Snapshot gives the whole of the instance. The error wraps ErrPinned when
	// such a guest can never be copied. It must not run beside Deliver.
	Snapshot() ([]byte, error)
}

// Restorer is implemented by carriers that bring a snapshot to life.
type Restorer interface {
	// Restore is Open, but the instance goes on where the snapshot was taken:
	// it must be given no State, Config or Start. The Spec must have the same
	// artifact. A snapshot is as trusted as the instance it came from: it can
	// put anything into the guest's memory, and nothing outside of it.
	Restore(ctx context.Context, s Spec, snapshot []byte) (Instance, error)
}

// ErrPinned is wrapped when memory and globals are not the whole of a guest.
var ErrPinned = errors.New("module cannot be snapshotted")
