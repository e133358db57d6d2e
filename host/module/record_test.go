package module

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"nethost/sdk"
	"nethost/sdk/abi"
)

func eventsBatch(seq uint64, payload string) []byte {
	var w abi.Writer
	w.ResetEvents(seq, time.Duration(seq), 0)
	w.Event(sdk.Event{Kind: sdk.EvMessage, Peer: 1, ID: 7, Payload: []byte(payload)})
	w.Event(sdk.Event{Kind: sdk.EvFlush})
	return bytes.Clone(w.Bytes())
}

func effectsBatch(seq uint64, effects ...sdk.Effect) []byte {
	var w abi.Writer
	w.ResetEffects(seq)
	for _, f := range effects {
		w.Emit(f)
	}
	return bytes.Clone(w.Bytes())
}

func testHead() Head {
	return Head{Name: "echo", Release: "1.2.3", Carrier: Wasm, Digest: [32]byte{1}, Seed: [32]byte{2}, Memory: 32 << 20, CPUMax: 20 * time.Millisecond,
		Began: time.Unix(0, 1_700_000_000_123_456_789), Part: 3,
		Subprotocols: []sdk.Subprotocol{{ID: 7, Version: sdk.Version{Major: 1, Minor: 2}, MinPeer: sdk.Version{Major: 1}, Required: true}}}
}

// testRecord is a record with an effect, with none, with a death, and its end.
func testRecord() []byte {
	h := testHead()
	b := appendFrame([]byte(recordMagic), RecordHead, h.append(nil))
	b = appendFrame(b, RecordEvents, eventsBatch(1, "a"))
	b = appendFrame(b, RecordEffects, effectsBatch(1, sdk.Effect{Kind: sdk.OpSend, Peer: 1, ID: 7, Payload: []byte("a")}))
	b = appendFrame(b, RecordEvents, eventsBatch(2, "b"))
	b = appendFrame(b, RecordEffects, nil)
	b = appendFrame(b, RecordEvents, eventsBatch(3, "c"))
	b = appendFrame(b, RecordDied, append([]byte{byte(CauseTrap)}, "unreachable"...))
	return appendFrame(b, RecordEnd, []byte{EndOfLife})
}

// readRecord reads a record to its end.
func readRecord(b []byte) (rr *RecordReader, steps []Step, err error) {
	if rr, err = NewRecordReader(bytes.NewReader(b)); err != nil {
		return nil, nil, err
	}
	for {
		s, err := rr.Next()
		if err != nil {
			return rr, steps, err
		}
		steps = append(steps, s)
	}
}

// TestRecordFormat: what is written is read (R1.1 to R1.4, R2).
func TestRecordFormat(t *testing.T) {
	rr, steps, err := readRecord(testRecord())
	if !errors.Is(err, io.EOF) || rr.End != EndOfLife || len(steps) != 3 {
		t.Fatalf("%d steps, end %d, %v", len(steps), rr.End, err)
	}
	if want := testHead(); !reflect.DeepEqual(rr.Head, want) {
		t.Errorf("head %+v, want %+v", rr.Head, want)
	}
	if steps[0].Effects == nil || steps[1].Effects != nil || steps[2].Died != CauseTrap || steps[2].Text != "unreachable" || steps[2].Seq != 3 {
		t.Errorf("%+v", steps)
	}
}

// TestRecordCut: a record may be cut at any byte; every batch before is there, and it is
// told as cut and nothing else (R1.5). A batch without an answer is marked.
func TestRecordCut(t *testing.T) {
	whole := testRecord()
	_, all, _ := readRecord(whole)
	missing := 0
	for n := len(recordMagic); n < len(whole); n++ {
		_, steps, err := readRecord(whole[:n])
		if !errors.Is(err, ErrRecordCut) || errors.Is(err, ErrRecordCorrupt) {
			t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
		}
		for i, s := range steps {
			if s.Missing {
				missing++
				if i != len(steps)-1 {
					t.Fatalf("%d bytes: batch %d of %d has no answer", n, i+1, len(steps))
				}
				s.Missing = false
				s.Effects, s.Died, s.Text = all[i].Effects, all[i].Died, all[i].Text
			}
			if !reflect.DeepEqual(s, all[i]) {
				t.Fatalf("%d bytes: step %d is %+v", n, i, s)
			}
		}
	}
	if missing == 0 {
		t.Error("no cut left a batch without its answer")
	}
}

// TestRecordCorrupt: no changed byte goes unseen, and none reads as another batch.
func TestRecordCorrupt(t *testing.T) {
	whole := testRecord()
	_, all, _ := readRecord(whole)
	for n := range whole {
		b := bytes.Clone(whole)
		b[n] ^= 0x20
		_, steps, err := readRecord(b)
		if errors.Is(err, io.EOF) {
			t.Fatalf("byte %d changed unseen", n)
		}
		for i, s := range steps {
			if !s.Missing && !reflect.DeepEqual(s, all[i]) {
				t.Fatalf("byte %d: step %d is %+v", n, i, s)
			}
		}
	}
}

// TestRecordRules: frames that are sound, where they must not stand (R1.2 to R1.4, R2).
func TestRecordRules(t *testing.T) {
	h := testHead()
	head := appendFrame([]byte(recordMagic), RecordHead, h.append(nil))
	one := appendFrame(bytes.Clone(head), RecordEvents, eventsBatch(1, "a"))
	answered := appendFrame(bytes.Clone(one), RecordEffects, nil)
	died := appendFrame(bytes.Clone(one), RecordDied, []byte{1})
	snap := appendFrame(bytes.Clone(head), RecordSnapshot, []byte("s"))
	add := func(b []byte, k RecordKind, payload []byte) []byte { return appendFrame(bytes.Clone(b), k, payload) }
	padded := add(answered, RecordEnd, []byte{1})
	padded[len(answered)+1] = 1
	for name, b := range map[string][]byte{
		"no head":              add([]byte(recordMagic), RecordEnd, []byte{1}),
		"short head":           add([]byte(recordMagic), RecordHead, h.append(nil)[:20]),
		"long head":            add([]byte(recordMagic), RecordHead, append(h.append(nil), 0)),
		"required 2":           add([]byte(recordMagic), RecordHead, append(h.append(nil)[:len(h.append(nil))-1], 2)),
		"two heads":            add(head, RecordHead, h.append(nil)),
		"two snapshots":        add(snap, RecordSnapshot, []byte("s")),
		"late snapshot":        add(answered, RecordSnapshot, []byte("s")),
		"effects first":        add(head, RecordEffects, nil),
		"events twice":         add(one, RecordEvents, eventsBatch(2, "b")),
		"begins with 2":        add(head, RecordEvents, eventsBatch(2, "b")),
		"a gap":                add(answered, RecordEvents, eventsBatch(3, "b")),
		"sequence 0 after all": add(snap, RecordEvents, eventsBatch(0, "b")),
		"other sequence":       add(one, RecordEffects, effectsBatch(2)),
		"no batch":             add(one, RecordEffects, []byte("x")),
		"no events":            add(head, RecordEvents, []byte("x")),
		"death without cause":  add(one, RecordDied, nil),
		"cause 6":              add(one, RecordDied, []byte{6}),
		"life after death":     add(died, RecordEvents, eventsBatch(2, "b")),
		"kind 7":               add(answered, 7, nil),
		"kind 0":               add(answered, 0, nil),
		"end without reason":   add(answered, RecordEnd, nil),
		"reason 4":             add(answered, RecordEnd, []byte{4}),
		"after the end":        append(add(answered, RecordEnd, []byte{1}), 0),
		"padding":              padded,
		"too long":             add(answered, RecordDied, make([]byte, maxRecordText+1)),
	} {
		if _, _, err := readRecord(b); !errors.Is(err, ErrRecordCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, steps, err := readRecord(add(snap, RecordEvents, eventsBatch(9, "b"))); !errors.Is(err, ErrRecordCut) || len(steps) != 1 {
		t.Errorf("any sequence may follow a snapshot: %d steps, %v", len(steps), err)
	}
}

// TestRecordLies: a length costs memory only as far as the bytes are there.
func TestRecordLies(t *testing.T) {
	h := testHead()
	b := appendFrame([]byte(recordMagic), RecordHead, h.append(nil))
	b = append(b, byte(RecordSnapshot), 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, maxSnapshot)
	b = append(b, "a few bytes"...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, _, err := readRecord(b); !errors.Is(err, ErrRecordCut) {
		t.Fatal(err)
	}
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 64<<20 {
		t.Errorf("%d bytes for a lie", after.TotalAlloc-before.TotalAlloc)
	}
}

// copier is an instance that can be snapshotted, or says why not.
type copier struct{ err error }

func (c *copier) Snapshot() ([]byte, error) { return []byte("snapshot"), c.err }

func newTape(t *testing.T, dir string, snap Snapshotter, told *[]string) *tape {
	t.Helper()
	h := testHead()
	h.Part, h.Began = 0, h.Began.Add(time.Duration(len(*told)))
	tp := &tape{dir: dir, limit: 1000, head: h, snap: snap, failed: func(err error) { *told = append(*told, err.Error()) }}
	tp.open(nil)
	return tp
}

// TestTape: files are bounded, and each is a record by itself (R3).
func TestTape(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "records")
	var told []string
	tp := newTape(t, dir, &copier{}, &told)
	for seq := uint64(1); seq <= 100; seq++ {
		tp.events(eventsBatch(seq, strings.Repeat("x", 100)))
		tp.answer(effectsBatch(seq), nil)
	}
	tp.close()
	files, _ := filepath.Glob(filepath.Join(dir, "*"+recordExt))
	if len(files) != maxRecords || len(told) != 0 { // R3.4
		t.Fatalf("%d files, told %q", len(files), told)
	}
	next := uint64(0)
	for i, name := range files {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != 0o600 || info.Size() > 2000 { // R3.1, R3.3
			t.Errorf("%s: %v, %d bytes, %v", name, info.Mode(), info.Size(), err)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		rr, steps, err := readRecord(b)
		if !errors.Is(err, io.EOF) || string(rr.Snapshot) != "snapshot" || len(steps) == 0 {
			t.Fatalf("%s: %v, %d steps", name, err, len(steps))
		}
		if next != 0 && steps[0].Seq != next {
			t.Errorf("part %d begins with batch %d, want %d", rr.Head.Part, steps[0].Seq, next)
		}
		next = steps[len(steps)-1].Seq + 1
		if want := byte(EndOfPart); i < len(files)-1 && rr.End != want {
			t.Errorf("part %d ends with %d", rr.Head.Part, rr.End)
		}
	}
	if next != 101 {
		t.Errorf("the last batch is %d", next-1)
	}
}

// TestTapeFull: what cannot go on ends, and the record is whole up to there (R3.3).
func TestTapeFull(t *testing.T) {
	for name, snap := range map[string]Snapshotter{"none": nil, "pinned": &copier{ErrPinned}} {
		dir := t.TempDir()
		var told []string
		tp := newTape(t, dir, snap, &told)
		for seq := uint64(1); seq <= 100; seq++ {
			tp.events(eventsBatch(seq, strings.Repeat("x", 100)))
			tp.answer(nil, nil)
		}
		tp.close()
		files, _ := filepath.Glob(filepath.Join(dir, "*"))
		if len(files) != 1 || len(told) != 1 || !strings.Contains(told[0], "full") {
			t.Fatalf("%s: %d files, told %q", name, len(files), told)
		}
		b, _ := os.ReadFile(files[0])
		if rr, steps, err := readRecord(b); !errors.Is(err, io.EOF) || rr.End != EndFull || len(steps) < 4 || len(steps) == 100 {
			t.Errorf("%s: %d steps, %v", name, len(steps), err)
		}
	}
}

// TestTapeDies: a batch is there before its answer (R3.2), a death is kept with its
// cause, and a disk that fails ends the record and not the module (R3.5).
func TestTapeDies(t *testing.T) {
	dir := t.TempDir()
	var told []string
	tp := newTape(t, dir, nil, &told)
	tp.events(eventsBatch(1, "a"))
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	read := func() (*RecordReader, []Step, error) {
		b, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		return readRecord(b)
	}
	if _, steps, err := read(); !errors.Is(err, ErrRecordCut) || len(steps) != 1 || !steps[0].Missing {
		t.Errorf("%+v %v", steps, err)
	}
	tp.answer(nil, fmt.Errorf("%w: it loops", ErrFuel))
	tp.close()
	if _, steps, err := read(); !errors.Is(err, io.EOF) || len(steps) != 1 || steps[0].Died != CauseFuel || !strings.Contains(steps[0].Text, "it loops") {
		t.Errorf("%+v %v", steps, err)
	}
	tp = newTape(t, filepath.Join(files[0], "no folder"), nil, &told)
	if len(told) != 1 {
		t.Errorf("told %q", told)
	}
	tp.events(eventsBatch(1, "a"))
	tp.answer(nil, nil)
	tp.close()
	tp = newTape(t, dir, nil, &told)
	tp.f.Close()
	tp.events(eventsBatch(1, "a"))
	tp.answer(nil, nil)
	tp.close()
	if len(told) != 2 {
		t.Errorf("told %q", told)
	}
}

// TestReplayCompares: R4.1 to R4.3.
func TestReplayCompares(t *testing.T) {
	send := sdk.Effect{Kind: sdk.OpSend, Peer: 1, ID: 7, Payload: []byte("a")}
	post := sdk.Effect{Kind: sdk.OpPost, Ref: 3, Payload: []byte("slow")}
	for _, c := range []struct {
		name  string
		then  Step
		here  []byte
		died  error
		loose bool
		why   string // "": the same
	}{
		{name: "same", then: Step{Effects: effectsBatch(1, send)}, here: effectsBatch(1, send)},
		{name: "none and none at all", then: Step{}, here: effectsBatch(1)},
		{name: "one more", then: Step{Effects: effectsBatch(1)}, here: effectsBatch(1, send), why: "0 effects then, 1 here"},
		{name: "one less", then: Step{Effects: effectsBatch(1, send)}, why: "1 effects then, 0 here"},
		{name: "order", then: Step{Effects: effectsBatch(1, send, post)}, here: effectsBatch(1, post, send), why: "effect 1 differs"},
		{name: "header", then: Step{Effects: effectsBatch(1, send)}, here: effectsBatch(2, send), why: "headers differ"},
		{name: "work on one carrier", then: Step{Effects: effectsBatch(1, send, post)}, here: effectsBatch(1, send), why: "2 effects then, 1 here"},
		{name: "work on two", then: Step{Effects: effectsBatch(1, send, post)}, here: effectsBatch(1, send), loose: true},
		{name: "work on two, more", then: Step{Effects: effectsBatch(1, post, send)}, here: effectsBatch(1, send), loose: true, why: "effect 1 differs"},
		{name: "trap then", then: Step{Died: CauseTrap}, why: "not here"},
		{name: "trap twice", then: Step{Died: CauseTrap}, died: ErrTrap},
		{name: "fuel then", then: Step{Died: CauseFuel}, here: effectsBatch(1)},
		{name: "trap here", then: Step{}, died: ErrTrap, why: "not then"},
		{name: "garbage", then: Step{Effects: effectsBatch(1, send)}, here: []byte("x"), why: "no batch"},
	} {
		c.then.Seq = 1
		d := c.then.compare(c.here, c.died, c.loose)
		if (d == nil) != (c.why == "") || d != nil && !strings.Contains(d.Why, c.why) {
			t.Errorf("%s: %+v, want %q", c.name, d, c.why)
		}
	}
}

func FuzzRecord(f *testing.F) {
	whole := testRecord()
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	h := testHead()
	f.Add(appendFrame(appendFrame([]byte(recordMagic), RecordHead, h.append(nil)), RecordSnapshot, []byte("s")))
	f.Add([]byte(recordMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		rr, steps, err := readRecord(b)
		if rr == nil {
			return
		}
		// What was read is written the same way: the format has one spelling.
		w := appendFrame([]byte(recordMagic), RecordHead, rr.Head.append(nil))
		if rr.Snapshot != nil {
			w = appendFrame(w, RecordSnapshot, rr.Snapshot)
		}
		for _, s := range steps {
			w = appendFrame(w, RecordEvents, s.Events)
			switch {
			case s.Missing:
			case s.Died != 0:
				w = appendFrame(w, RecordDied, append([]byte{byte(s.Died)}, s.Text...))
			default:
				w = appendFrame(w, RecordEffects, s.Effects)
			}
		}
		if errors.Is(err, io.EOF) {
			w = appendFrame(w, RecordEnd, []byte{rr.End})
			if !bytes.Equal(w, b) {
				t.Fatalf("read %x, written %x", b, w)
			}
		} else if !bytes.HasPrefix(b, w) {
			t.Fatalf("read %x, written %x", b, w)
		}
	})
}
