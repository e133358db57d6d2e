package builtin

import (
	"reflect"
	"testing"
)

// TestAll: the name in the list is the module's own, Describe is stable, and a
// factory gives a new module each time.
func TestAll(t *testing.T) {
	taken := map[any]string{}
	for name, factory := range All() {
		a, b := factory(), factory()
		d := a.Describe()
		if d.Name != name || len(d.Subprotocols) == 0 || d.Release == "" {
			t.Errorf("%s: Describe gives %+v", name, d)
		}
		if !reflect.DeepEqual(d, b.Describe()) || !reflect.DeepEqual(d, a.Describe()) {
			t.Errorf("%s: Describe is not the same every time", name)
		}
		if reflect.ValueOf(a).Kind() == reflect.Pointer && a == b {
			t.Errorf("%s: the factory gives the same instance twice", name)
		}
		for _, s := range d.Subprotocols {
			if s.MinPeer.Major != s.Version.Major || s.MinPeer.Compare(s.Version) > 0 {
				t.Errorf("%s: %v speaks %v but wants peers of %v", name, s.ID, s.Version, s.MinPeer)
			}
			key := [2]int{int(s.ID), int(s.Version.Major)}
			if other, ok := taken[key]; ok {
				t.Errorf("%s and %s both hold %v major %d", name, other, s.ID, s.Version.Major)
			}
			taken[key] = name
		}
	}
}
