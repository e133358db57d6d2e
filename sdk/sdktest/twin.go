package sdktest

import (
	"bytes"
	"testing"
)

// Twin is two instances of one module that must do the same: what a carrier brings
// back is compared, byte by byte, with what the module does in this process.
func Twin(t testing.TB, carried, here Instance) Instance { return &twin{t, carried, here} }

type twin struct {
	t             testing.TB
	carried, here Instance
}

func (w *twin) Deliver(batch []byte) ([]byte, error) {
	want, errHere := w.here.Deliver(batch)
	got, err := w.carried.Deliver(batch)
	if (err == nil) != (errHere == nil) {
		w.t.Fatalf("sdktest: carried: %v; in process: %v", err, errHere)
	}
	if err == nil && !bytes.Equal(got, want) {
		w.t.Fatalf("sdktest: %d bytes of effects differ from the %d in process\n%s", len(got), len(want), diff(got, want))
	}
	return got, err
}

func (w *twin) Close() error {
	w.here.Close()
	return w.carried.Close()
}
