package token

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"nethost/sdk"
)

// Key names a verdict: presenter, right, resource and chain. It is a SHA-256 over
// all four, so that no two requests share one (T5.1).
type Key [32]byte

// KeyOf makes the key under which a verdict is kept. chain is the chain's bytes.
func KeyOf(presenter sdk.NodeID, scope Scope, resource string, chain []byte) Key {
	var head [38]byte
	copy(head[:], presenter[:])
	binary.LittleEndian.PutUint16(head[32:], uint16(scope))
	binary.LittleEndian.PutUint32(head[34:], uint32(len(resource)))
	h := sha256.New()
	h.Write(head[:])
	h.Write([]byte(resource))
	h.Write(chain)
	var k Key
	h.Sum(k[:0])
	return k
}

// verdict is a chain that was good.
type verdict struct {
	epoch      uint64        // of the floors it was compared with
	begin, end int64         // Unix seconds, skew included
	links      *[]generation // of the issuers; apart, so that a verdict is short
}

type generation struct {
	issuer sdk.NodeID
	n      uint64
}

// Cache keeps the verdicts of good chains, so that the same request is answered
// without a signature. It holds what was permitted and nothing else: a miss means
// that the caller verifies. It is not safe for concurrent use.
type Cache struct {
	floors     *Floors
	max        int
	young, old map[Key]verdict
}

// NewCache makes a cache of at most max verdicts that obeys floors at once.
func NewCache(floors *Floors, max int) *Cache {
	return &Cache{floors: floors, max: max, young: map[Key]verdict{}, old: map[Key]verdict{}}
}

// Good reports that a verdict is kept for k and holds at wall, Unix seconds; 0: the
// caller has no clock. A floor that was raised since is looked at first. It
// allocates nothing.
func (c *Cache) Good(k *Key, wall int64) bool {
	v, ok := c.young[*k]
	if !ok {
		if v, ok = c.old[*k]; !ok {
			return false
		}
		c.keep(k, v)
	}
	if v.epoch != c.floors.epoch && !c.recheck(k, v) {
		return false
	}
	return v.begin <= wall && wall < v.end
}

// recheck compares a verdict with floors that were raised since.
func (c *Cache) recheck(k *Key, v verdict) bool {
	for _, l := range *v.links {
		if l.n < c.floors.Of(l.issuer) {
			delete(c.young, *k)
			delete(c.old, *k)
			return false
		}
	}
	v.epoch = c.floors.epoch
	c.young[*k] = v
	return true
}

// keep puts a verdict among the young. When those are half of what may be kept,
// they become the old ones, and the old ones go.
func (c *Cache) keep(k *Key, v verdict) {
	if len(c.young) >= max(1, c.max/2) {
		c.old, c.young = c.young, make(map[Key]verdict, len(c.young))
	}
	c.young[*k] = v
}

// Verify is Chain.Verify with the cache's floors, and keeps a good verdict under k,
// which must be KeyOf the same request.
func (c *Cache) Verify(k *Key, chain Chain, q Request) error {
	q.Floor = c.floors.Of
	if err := chain.Verify(q); err != nil {
		return err
	}
	v := verdict{epoch: c.floors.epoch}
	begin, end := chain.window()
	v.begin, v.end = begin, end
	if end <= maxUnix { // a wall of 0 is no clock
		skew := int64(Skew / time.Second)
		v.begin, v.end = max(1, begin-skew), end+skew
	}
	links := make([]generation, len(chain))
	for i := range chain {
		links[i] = generation{chain[i].Issuer, chain[i].Generation}
	}
	v.links = &links
	c.keep(k, v)
	return nil
}

// Len is the number of verdicts kept.
func (c *Cache) Len() int { return len(c.young) + len(c.old) }
