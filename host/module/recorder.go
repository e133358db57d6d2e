package module

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"nethost/sdk"
)

const (
	// recordPart is how many bytes of batches one file has (R3.3).
	recordPart = 8 << 20
	// maxRecords is how many files of a module stay (R3.4).
	maxRecords = 8
	recordExt  = ".record"
)

// tape writes the record of one life of an instance. A nil tape records nothing.
// It is used by whoever holds the supervisor's run.
type tape struct {
	dir    string
	limit  int
	head   Head
	snap   Snapshotter // nil: the instance has none
	failed func(error) // told once

	f       *os.File
	size    int
	buf     []byte
	pending bool // events are in the file and wait for their answer
}

// record begins the record of an instance's life, nil when the operator wants none.
func (s *supervisor) record(inst Instance) *tape {
	if !s.spec.Record || s.m.cfg.Records == "" {
		return nil
	}
	snap, _ := inst.(Snapshotter)
	t := &tape{dir: filepath.Join(s.m.cfg.Records, s.spec.Name), limit: recordPart, head: headOf(&s.spec, time.Now()), snap: snap,
		failed: func(err error) { s.tell(sdk.LogWarn, "the record of this module ended", "error", err) }}
	t.open(nil)
	return t
}

// open begins a part, with a snapshot when it does not begin with the life.
func (t *tape) open(snapshot []byte) {
	err := os.MkdirAll(t.dir, 0o700)
	if err == nil {
		name := fmt.Sprintf("%s-%04d%s", t.head.Began.UTC().Format("20060102T150405.000000000"), t.head.Part, recordExt)
		t.f, err = os.OpenFile(filepath.Join(t.dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	}
	if err != nil {
		t.fail(err)
		return
	}
	t.size = 0
	t.buf = appendFrame(append(t.buf[:0], recordMagic...), RecordHead, t.head.append(nil))
	if snapshot != nil {
		t.buf = appendFrame(t.buf, RecordSnapshot, snapshot)
	}
	if !t.flush() {
		return
	}
	if snapshot != nil {
		t.buf = nil // it is as large as the instance, and is not needed again
	}
	if err := prune(t.dir, "2", maxRecords); err != nil {
		t.fail(err)
	}
}

func (t *tape) flush() bool {
	if _, err := t.f.Write(t.buf); err != nil {
		t.fail(err)
		return false
	}
	return true
}

// fail ends the record (R3.5). What is in the file stays.
func (t *tape) fail(err error) {
	if t.f != nil {
		err = errors.Join(err, t.f.Close())
		t.f = nil
	}
	t.failed(err)
}

// events writes a batch before the instance gets it (R3.2).
func (t *tape) events(batch []byte) {
	if t == nil || t.f == nil {
		return
	}
	if t.size >= t.limit {
		if t.turn(); t.f == nil {
			return
		}
	}
	t.buf = appendFrame(t.buf[:0], RecordEvents, batch)
	t.size += len(t.buf)
	t.pending = t.flush()
}

// turn begins the next part, or ends the record when that could not be replayed (R3.3).
func (t *tape) turn() {
	snapshot, err := []byte(nil), ErrPinned
	if t.snap != nil {
		snapshot, err = t.snap.Snapshot()
	}
	if err == nil && len(snapshot) > maxSnapshot {
		err = fmt.Errorf("a snapshot of %d bytes, the limit is %d", len(snapshot), maxSnapshot)
	}
	if err != nil {
		t.finish(EndFull)
		t.failed(fmt.Errorf("its file is full (%d MiB), and this carrier cannot go on with a snapshot: %w", t.limit>>20, err))
		return
	}
	t.finish(EndOfPart)
	t.head.Part++
	t.open(snapshot)
}

// answer writes what came of the batch.
func (t *tape) answer(effects []byte, err error) {
	if t == nil || t.f == nil || !t.pending {
		return
	}
	t.pending = false
	if err != nil {
		text := err.Error()
		t.buf = appendFrame(t.buf[:0], RecordDied, append([]byte{byte(causeOf(err))}, text[:min(len(text), sdk.MaxLogText)]...))
	} else {
		t.buf = appendFrame(t.buf[:0], RecordEffects, effects)
	}
	t.size += len(t.buf)
	t.flush()
}

// close ends the record with the life of the instance.
func (t *tape) close() {
	if t != nil {
		t.finish(EndOfLife)
	}
}

func (t *tape) finish(reason byte) {
	if t.f == nil {
		return
	}
	if !t.pending { // else it is cut off, as its host is not
		t.buf = appendFrame(t.buf[:0], RecordEnd, []byte{reason})
		if !t.flush() {
			return
		}
	}
	if err := t.f.Close(); err != nil {
		t.failed(err)
	}
	t.f = nil
}
