package token

import (
	"bytes"
	"testing"
	"time"

	"nethost/sdk"
)

func floor(by byte, generation, seq uint64) Floor {
	f := Floor{Generation: generation, Seq: seq}
	f.Sign(key(by))
	return f
}

// TestFloors: T4: whatever the order, the same floors come out; none falls.
func TestFloors(t *testing.T) {
	all := []Floor{floor(1, 5, 1), floor(1, 7, 2), floor(1, 6, 3), floor(1, 7, 1), floor(2, 1, 1), floor(1, 8, 2)}
	var a, b Floors
	for i := range all {
		if !all[i].Verify() {
			t.Fatal("a floor is not signed")
		}
		before := a.Of(id(1))
		a.Put(all[i])
		b.Put(all[len(all)-1-i])
		if a.Of(id(1)) < before {
			t.Error("a floor fell")
		}
	}
	if a.Of(id(1)) != 8 || b.Of(id(1)) != 8 || a.Of(id(2)) != 1 || a.Of(id(3)) != 0 || len(a.All()) != 2 || a.Len() != b.Len() {
		t.Errorf("%v and %v", a.All(), b.All())
	}
	if a.Put(all[1]) || a.Put(all[5]) {
		t.Error("a replayed floor counted as new")
	}
	bent := all[0]
	bent.Generation++
	other := all[0]
	other.Issuer = id(2)
	if bent.Verify() || other.Verify() {
		t.Error("a forged floor is good")
	}
}

// FuzzFloor: T4.1.
func FuzzFloor(f *testing.F) {
	good := floor(1, 5, 1)
	f.Add(good.Append(nil))
	f.Add([]byte("NHF1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if fl, err := ParseFloor(b); err == nil && !bytes.Equal(fl.Append(nil), b) {
			t.Fatalf("%x is written as %x", b, fl.Append(nil))
		}
	})
}

// TestCache: T5: exact, at once void when a floor rises or time runs out.
func TestCache(t *testing.T) {
	var floors Floors
	c := NewCache(&floors, 8)
	chain, q := three(t), request()
	k := KeyOf(q.Presenter, q.Scope, q.Resource, chain.Append(nil))
	if c.Good(&k, 1) {
		t.Error("an empty cache permits")
	}
	if err := c.Verify(&k, chain, q); err != nil || !c.Good(&k, 1) || !c.Good(&k, 0) {
		t.Error("a good chain is not kept", err)
	}
	for what, other := range map[string]Key{"presenter": KeyOf(id(3), q.Scope, q.Resource, chain.Append(nil)),
		"scope": KeyOf(q.Presenter, Subscribe, q.Resource, chain.Append(nil)), "resource": KeyOf(q.Presenter, q.Scope, "sensors/ab", chain.Append(nil)),
		"chain": KeyOf(q.Presenter, q.Scope, q.Resource, chain[:2].Append(nil))} {
		if c.Good(&other, 1) {
			t.Error("another "+what, "is permitted")
		}
	}
	floors.Put(floor(7, 100, 1))
	if !c.Good(&k, 1) {
		t.Error("a stranger's floor revoked it")
	}
	floors.Put(floor(2, 6, 1))
	if c.Good(&k, 1) || c.Len() != 0 {
		t.Error("it is permitted after the floor rose")
	}
	refused(t, "after the floor", c.Verify(&k, chain, q), Revoked, 1)

	timed := tok(Publish, "sensors/a", 0, 4)
	timed.NotBefore, timed.NotAfter = 1000, 2000
	chain = must(t, []byte{1}, timed)
	q.Wall = time.Unix(1500, 0)
	if err := c.Verify(&k, chain, q); err != nil {
		t.Fatal(err)
	}
	for wall, want := range map[int64]bool{0: false, 939: false, 940: true, 2059: true, 2060: false} {
		if c.Good(&k, wall) != want {
			t.Errorf("at %d: %v", wall, !want)
		}
	}
	for i := range 100 { // it is bounded, and what is used stays
		other := Key{byte(i)}
		if err := c.Verify(&other, chain, q); err != nil || !c.Good(&k, 1500) || c.Len() > 9 {
			t.Fatalf("after %d others: %d kept, %v", i, c.Len(), err)
		}
	}
}

// warm is a cache with a thousand verdicts.
func warm(t testing.TB) (*Cache, []Key) {
	var floors Floors
	c := NewCache(&floors, 1<<12)
	chain := must(t, []byte{1}, tok(Publish, "sensors/a", 0, 4))
	keys := make([]Key, 1000)
	q := request()
	for i := range keys {
		keys[i] = KeyOf(sdk.NodeID{byte(i), byte(i >> 8)}, Publish, "sensors/a", nil)
		if err := c.Verify(&keys[i], chain, q); err != nil {
			t.Fatal(err)
		}
	}
	return c, keys
}

func TestCacheAllocates(t *testing.T) {
	c, keys := warm(t)
	i := 0
	if n := testing.AllocsPerRun(1000, func() { c.Good(&keys[i%1000], 1500); i++ }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCached(b *testing.B) {
	c, keys := warm(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if !c.Good(&keys[i%1000], 1500) {
			b.Fatal("not permitted")
		}
	}
}

func BenchmarkVerifyThree(b *testing.B) {
	c, q := three(b), request()
	for b.Loop() {
		if c.Verify(q) != nil {
			b.Fatal("refused")
		}
	}
}
