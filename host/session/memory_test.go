package session

import (
	"runtime"
	"testing"
)

// heap is what fn keeps, in bytes, n times over and divided by n.
func heap(n int, fn func(i int) any) uint64 {
	keep := make([]any, n)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range keep {
		keep[i] = fn(i)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(keep)
	return (after.HeapAlloc - before.HeapAlloc) / uint64(n)
}

// What a session costs: fresh, and after as many packets as its windows hold. An
// idle session has a few hundred packets in its life.
func TestSessionMemory(t *testing.T) {
	for name, aes := range map[string]bool{"ChaCha20-Poly1305": false, "AES-256-GCM": true} {
		fresh := heap(1000, func(i int) any { return newSession(seed(1), seed(2), aes) })
		full := heap(1000, func(i int) any {
			s := newSession(seed(1), seed(2), aes)
			s.packets.take(ReplayWindow)
			s.links.take(LinkWindow)
			return s
		})
		t.Logf("%s: %d bytes fresh, %d with whole windows", name, fresh, full)
		if fresh > 4<<10 || full > 8<<10 {
			t.Errorf("%s: %d bytes fresh, %d with whole windows", name, fresh, full)
		}
	}
}

// What an initiator and a responder keep while a handshake is half open: 1 024 of
// them stay below 8 MiB.
func TestHalfOpenMemory(t *testing.T) {
	d := newDesk(t)
	m1 := d.m1()
	each := heap(200, func(int) any {
		h, _, err := d.l.Respond(d.dice, indexB, m1)
		if err != nil {
			t.Fatal(err)
		}
		return h
	})
	t.Logf("%d bytes half open", each)
	if each*MaxHalfOpen > 8<<20 {
		t.Errorf("%d bytes half open", each)
	}
}

// The seen ring, full: below 3 MB.
func TestSeenMemory(t *testing.T) {
	each := heap(1, func(int) any {
		a := NewAdmission(nil, nil)
		for i := range uint64(3 * SeenEphemerals) {
			a.remember(i * 0x9E3779B97F4A7C15)
		}
		return a
	})
	t.Logf("%d bytes", each)
	if each > 3<<20 {
		t.Errorf("%d bytes", each)
	}
	if idle := heap(1, func(int) any { return NewAdmission(local(t, config(2)), nil) }); idle > 16<<10 {
		t.Errorf("%d bytes before anybody came", idle)
	}
}
