package gossip

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"nethost/sdk"
	"nethost/sdk/sdktest"
)

// note is the simplest protocol on top of gossip: key 32, number u64, signature 64.
type note struct {
	g      *Engine
	bodies map[Key][]byte
	ages   map[Key]time.Duration
	reads  int
}

const noteID sdk.ID = 0xF001

func newNote() sdk.Module {
	n := &note{bodies: map[Key][]byte{}, ages: map[Key]time.Duration{}}
	n.g = New(Config{ID: noteID, MaxBody: 104, Parse: parseNote,
		Admit:  func(*Statement, time.Duration) bool { return true },
		Accept: func(_ *sdk.Env, s *Statement, b []byte, age time.Duration) { n.bodies[s.Key], n.ages[s.Key] = b, age },
		Body:   func(k Key, _ time.Duration) ([]byte, time.Duration) { return n.bodies[k], n.ages[k] }})
	return n
}

func parseNote(b []byte) (Statement, error) {
	if len(b) != 104 {
		return Statement{}, errors.New("no note")
	}
	return Statement{Key: Key(b), Version: Version{binary.LittleEndian.Uint64(b[32:])}, Signer: sdk.NodeID(b), Sig: [64]byte(b[40:]), Signed: b[:40]}, nil
}

func (n *note) Describe() sdk.Descriptor {
	v := sdk.Version{Major: 1}
	return sdk.Descriptor{Name: "note", Release: "1.0.0", Subprotocols: []sdk.Subprotocol{{ID: noteID, Version: v, MinPeer: v}}}
}

func (n *note) Handle(env *sdk.Env, ev *sdk.Event) {
	if n.g.Handle(env, ev) {
		return
	}
	switch ev.Kind {
	case sdk.EvStart:
		s, _ := sdk.ParseStart(ev.Payload)
		n.g.Start(env, s.Self)
	case sdk.EvPosted:
		n.g.Posted(ev)
	case sdk.EvConfig:
		n.reads++
	case 200: // a test's event: a note of our own making
		st, _ := parseNote(ev.Payload)
		n.bodies[st.Key] = bytes.Clone(ev.Payload)
		n.g.Put(st.Key, st.Version)
	case sdk.EvFlush:
		n.g.Flush(env)
	}
}

func signedNote(seed int, number uint64) []byte {
	key := ed25519.NewKeyFromSeed(binary.LittleEndian.AppendUint64(make([]byte, 24), uint64(seed)))
	b := append([]byte(key.Public().(ed25519.PublicKey)), binary.LittleEndian.AppendUint64(nil, number)...)
	return append(b, ed25519.Sign(key, b)...)
}

// lab is a mesh whose modules a test can look into.
func lab(t testing.TB, n int) (*sdktest.Mesh, []*note) {
	var notes []*note
	m := sdktest.NewMesh(t, n, func() sdk.Module {
		x := newNote()
		notes = append(notes, x.(*note))
		return x
	})
	return m, notes[len(notes)-n:]
}

func put(m *sdktest.Mesh, i int, b []byte) { m.Nodes[i].Queue(sdk.Event{Kind: 200, Payload: b}) }

// TestSameEverywhere: whatever each part knew, after the links all know the newest
// of everything, and Compared says so (G2, G3.1).
func TestSameEverywhere(t *testing.T) {
	for seed := range uint64(6) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		const n = 6
		m, notes := lab(t, n)
		newest := map[Key]uint64{}
		for range 60 {
			b := signedNote(rnd.IntN(40), uint64(1+rnd.IntN(5)))
			st, _ := parseNote(b)
			newest[st.Key] = max(newest[st.Key], st.Version[0])
			i := rnd.IntN(n)
			if v, ok := notes[i].g.Version(st.Key); !ok || st.Version.Compare(v) > 0 {
				put(m, i, b)
			}
			m.Run()
			if j := rnd.IntN(n); rnd.IntN(3) == 0 && i != j {
				m.Link(i, j)
			} else if rnd.IntN(4) == 0 && i != j {
				m.Cut(i, j)
			}
		}
		for i := range n - 1 {
			m.Link(i, i+1)
		}
		m.Run()
		for i, x := range notes {
			if x.g.Root() != notes[0].g.Root() || x.g.Len() != len(newest) || !x.g.Compared(m.Now()) {
				t.Fatalf("seed %d, node %d: %d statements of %d, compared %v", seed, i, x.g.Len(), len(newest), x.g.Compared(m.Now()))
			}
			for k, v := range newest {
				if got, _ := x.g.Version(k); got[0] != v {
					t.Fatalf("seed %d, node %d holds version %d, the newest is %d", seed, i, got[0], v)
				}
			}
		}
	}
}

// TestOnlyWhatIsMissing: G2.2 and G2.3: two that know the same say little; one that
// lacks little gets little.
func TestOnlyWhatIsMissing(t *testing.T) {
	m, notes := lab(t, 2)
	for k := range 2000 {
		b := signedNote(k, 1)
		put(m, 0, b)
		if k%100 != 0 {
			put(m, 1, b)
		}
	}
	m.Run()
	m.Link(0, 1)
	m.Run()
	if notes[1].g.Len() != 2000 {
		t.Fatalf("%d of 2000", notes[1].g.Len())
	}
	// 20 differ: both roots, the buckets, up to 20 lists of some 8 lines, the items.
	if m.Sent > 20*(8*3*48+120)+8000 {
		t.Errorf("%d bytes for 20 missing statements", m.Sent)
	}
	m.Cut(0, 1)
	m.Run()
	before := m.Sent
	m.Link(0, 1)
	m.Run()
	if m.Sent-before > 100 {
		t.Errorf("%d bytes between two that know the same", m.Sent-before)
	}
	before = m.Sent
	put(m, 0, signedNote(5, 9))
	m.Run()
	if got := m.Sent - before; got > 120 {
		t.Errorf("%d bytes for one change", got) // G3.4
	}
}

// TestAll: many at once go through credit and the limit of signatures (G3.3).
func TestAll(t *testing.T) {
	m, notes := lab(t, 3)
	for k := range 3000 {
		put(m, 0, signedNote(k, 1))
	}
	m.Run()
	m.Link(0, 1)
	m.Link(1, 2)
	m.Run()
	if notes[2].g.Len() != 3000 || !notes[2].g.Compared(m.Now()) {
		t.Errorf("%d of 3000 two hops away, compared %v", notes[2].g.Len(), notes[2].g.Compared(m.Now()))
	}
}

// TestNotCompared: G2.4: who heard nothing has not compared, for 5 s.
func TestNotCompared(t *testing.T) {
	m, notes := lab(t, 2)
	m.Nodes[0].Queue(sdk.Event{Kind: sdk.EvPeerUp, Peer: 99, ID: noteID, Payload: sdk.AppendPeerInfo(nil, sdk.PeerInfo{Node: sdk.NodeID{8}})})
	m.Run()
	if notes[0].g.Compared(m.Now()) {
		t.Error("a silent neighbour counts as compared")
	}
	m.Advance(6 * time.Second)
	if !notes[0].g.Compared(m.Now()) {
		t.Error("a silent neighbour is waited for without end")
	}
}

// TestGreedy: a peer that asks and does not read is cut off before it costs memory.
func TestGreedy(t *testing.T) {
	m, notes := lab(t, 2)
	for k := range 3000 {
		put(m, 0, signedNote(k, 1))
	}
	m.Link(0, 1)
	m.Run()
	p := notes[0].g.peers[m.Nodes[0].Peer(1)]
	p.credit = 0
	s := m.Dial(1, 0, Method)
	b, at := beginFrame(nil, frBuckets)
	b = endFrame(append(b, make([]byte, buckets*cut)...), at)
	for range 200 {
		s.Write(b, false)
		m.Run()
	}
	if !s.WasReset || p.bytes > 2*maxBacklog {
		t.Errorf("reset %v, %d bytes wait for a peer that does not read", s.WasReset, p.bytes)
	}
}

// FuzzFrame: G1.2: what is taken is to the byte what it says.
func FuzzFrame(f *testing.F) {
	root, at := beginFrame(nil, frRoot)
	f.Add(endFrame(append(root, make([]byte, 36)...), at))
	list, at := beginFrame(nil, frList)
	f.Add(endFrame(appendLine(append(list, 7), Key{7, 1}, Version{1, 2}), at))
	it, at := beginFrame(nil, frItem)
	f.Add(endFrame(append(it, 0, 0, 0, 0, 'x'), at))
	f.Add([]byte{frEnd, 0, 0, 0, 0})
	f.Add([]byte{frWant, 1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, n, err := next(b, 1000)
		if err != nil || n == 0 {
			return
		}
		if n > len(b) || len(fr.body) > 1000 || len(fr.lines)%16 != 0 {
			t.Fatalf("%d of %d bytes: %+v", n, len(b), fr)
		}
		for cut := range n {
			if _, k, err := next(b[:cut], 1000); k != 0 && err == nil {
				t.Fatalf("cut at %d of %d it is a frame", cut, n)
			}
		}
	})
}

// FuzzPeer: whatever a peer writes, the engine neither panics nor takes what nobody
// signed.
func FuzzPeer(f *testing.F) {
	f.Add([]byte{frRoot, 36, 0, 0, 0}, uint8(3))
	f.Add(append([]byte{frItem, 108, 0, 0, 0, 0, 0, 0, 0}, signedNote(1, 1)...), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		m, notes := lab(t, 2)
		put(m, 0, signedNote(1, 7))
		m.Link(0, 1)
		m.Run()
		s := m.Dial(1, 0, Method)
		for part := range slices.Chunk(b, int(step)+1) {
			s.Write(part, false)
		}
		m.Run()
		for k := range notes[0].bodies {
			if st, err := parseNote(notes[0].bodies[k]); err != nil || !ed25519.Verify(st.Signer[:], st.Signed, st.Sig[:]) {
				t.Fatal("a statement that nobody signed was kept")
			}
		}
		if fmt.Sprint(m.Nodes[0].Counters["malformed"]) == "0" && s.WasReset && m.Nodes[0].Counters["forged"] == 0 {
			t.Fatal("a reset that was not counted")
		}
	})
}
