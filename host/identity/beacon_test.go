package identity

import "testing"

// B1.1: a beacon is of one key, one instance and one port, and the same each time.
func TestBeacon(t *testing.T) {
	a, b := NetworkKey{1}, NetworkKey{2}
	// The vector was computed once; another value would hide all nodes of today.
	const want = "zjv7cr2zwohi4gxsj4dk623u"
	if got := a.Beacon("0123456789abcdef", 7700); got != want {
		t.Errorf("the beacon is %q, want %q", got, want)
	}
	for what, other := range map[string]string{
		"another key":      b.Beacon("0123456789abcdef", 7700),
		"another instance": a.Beacon("0123456789abcdee", 7700),
		"another port":     a.Beacon("0123456789abcdef", 7701),
	} {
		if other == want || len(other) != len(want) {
			t.Errorf("%s gives %q", what, other)
		}
	}
}
