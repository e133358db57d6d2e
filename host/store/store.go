package store

import (
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Op is one change of a module's state.
type Op struct {
	Delete   bool
	Key, Val []byte
}

// Store is the state of all modules of a node. It is safe for concurrent use.
type Store struct{ db *bolt.DB }

// Open opens or makes the file at path. It fails at once when another process
// holds it.
func Open(path string) (*Store, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: 100 * time.Millisecond, FreelistType: bolt.FreelistMapType})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("state %s is in use by another nethost: stop it, or give this node its own directory with --data", path)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return nil, fmt.Errorf("state %s is damaged (%w): restore it from a backup, or move it away to start with empty state", path, err)
	case err != nil:
		return nil, fmt.Errorf("state: %w", err)
	}
	return &Store{db}, nil
}

// Close makes everything durable and closes the file.
func (s *Store) Close() error {
	return errors.Join(s.db.Sync(), s.db.Close())
}

// Module gives the state of one module.
func (s *Store) Module(name string) *Bucket { return &Bucket{s.db, []byte(name)} }

// Bucket is the state of one module.
type Bucket struct {
	db   *bolt.DB
	name []byte
}

// Load visits every entry in key order. The slices are valid during the call.
func (b *Bucket) Load(visit func(key, val []byte)) error {
	return b.db.View(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(b.name)
		if bucket == nil {
			return nil
		}
		return bucket.ForEach(func(k, v []byte) error {
			visit(k, v)
			return nil
		})
	})
}

// Apply makes the changes in one transaction: all of them or none, and on disk
// when it returns. Writing without the sync would be ten times faster, and a power
// cut later could take what had been synced before: bbolt reuses pages.
func (b *Bucket) Apply(ops []Op) error {
	return b.db.Update(func(tx *bolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists(b.name)
		if err != nil {
			return err
		}
		for _, op := range ops {
			if op.Delete {
				err = bucket.Delete(op.Key)
			} else {
				err = bucket.Put(op.Key, op.Val)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Sync makes everything applied so far durable, which Apply has done: it is what
// an acknowledgement waits for, whatever Apply does.
func (b *Bucket) Sync() error { return b.db.Sync() }
