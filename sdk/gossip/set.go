package gossip

import (
	"crypto/sha256"
	"slices"
	"strings"
)

// set is the keys and versions held, with their digests (G2.1).
type set struct {
	versions map[Key]Version
	keys     [buckets][]Key // ascending
	hashes   [buckets * cut]byte
	dirty    [buckets]bool
	stale    bool // root
	root     [32]byte
}

func newSet() *set { return &set{versions: map[Key]Version{}, stale: true} }

func (s *set) put(k Key, v Version) {
	if _, ok := s.versions[k]; !ok {
		at, _ := s.find(k)
		s.keys[k[0]] = slices.Insert(s.keys[k[0]], at, k)
	}
	s.versions[k] = v
	s.dirty[k[0]], s.stale = true, true
}

func (s *set) remove(k Key) {
	if _, ok := s.versions[k]; !ok {
		return
	}
	delete(s.versions, k)
	at, _ := s.find(k)
	s.keys[k[0]] = slices.Delete(s.keys[k[0]], at, at+1)
	s.dirty[k[0]], s.stale = true, true
}

func (s *set) find(k Key) (int, bool) {
	return slices.BinarySearchFunc(s.keys[k[0]], k, func(a, b Key) int { return strings.Compare(string(a[:]), string(b[:])) })
}

// digest brings the hashes up to date and gives the root.
func (s *set) digest() [32]byte {
	if !s.stale {
		return s.root
	}
	var buf []byte
	for i := range s.keys {
		if !s.dirty[i] {
			continue
		}
		s.dirty[i], buf = false, buf[:0]
		for _, k := range s.keys[i] {
			buf = appendLine(buf, k, s.versions[k])
		}
		var h [32]byte
		if len(buf) > 0 {
			h = sha256.Sum256(buf)
		}
		copy(s.hashes[i*cut:], h[:cut])
	}
	s.root, s.stale = sha256.Sum256(s.hashes[:]), false
	return s.root
}
