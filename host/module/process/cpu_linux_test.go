package process

import "testing"

// TestCPU: what the program has used is known while it runs and after its end, and
// never falls.
func TestCPU(t *testing.T) {
	d := open(t, Options{}, spec(t, "good"))
	in := d.in.(*instance)
	running, ok := in.CPU()
	if !ok || running <= 0 {
		t.Fatalf("%v, %v", running, ok)
	}
	d.ask("pid")
	if more, ok := in.CPU(); !ok || more < running {
		t.Errorf("%v after %v", more, running)
	}
	d.in.Close()
	// rusage counts in ticks on some systems, so only that it is known.
	if _, ok := in.CPU(); !ok {
		t.Error("not known after its end")
	}
}
