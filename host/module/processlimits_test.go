package module

import (
	"strings"
	"testing"
)

// TestProcessLimits: [module.NAME.limits] is checked when it is read, and bounds
// nothing but a process.
func TestProcessLimits(t *testing.T) {
	for _, c := range []struct {
		kind  Kind
		table map[string]any
		want  ProcessLimits
		fault string
	}{
		{Process, map[string]any{"memory": "512MiB", "open_files": 64}, ProcessLimits{512 << 20, 64}, ""},
		{Process, map[string]any{"memory": "1GiB"}, ProcessLimits{Memory: 1 << 30}, ""},
		{"", map[string]any{"open_files": 256}, ProcessLimits{OpenFiles: 256}, ""},
		{Wasm, map[string]any{"memory": "512MiB"}, ProcessLimits{}, "this module's carrier is wasm"},
		{Process, map[string]any{"memory": "1MiB"}, ProcessLimits{}, "less than 16MiB"},
		{Process, map[string]any{"memory": "many"}, ProcessLimits{}, `limits.memory = "many": want a size`},
		{Process, map[string]any{"open_files": 3}, ProcessLimits{}, "want 16 to 1048576"},
		{Process, map[string]any{"cpus": 3}, ProcessLimits{}, `unknown key "limits.cpus"`},
	} {
		s := Spec{Name: "m", Kind: c.kind, Limits: DefaultLimits}
		o := Options{Overrides: map[string]map[string]any{"m": {"limits": c.table, "record": true}}}
		err := o.override(&s, nil)
		if c.fault == "" && (err != nil || s.Process != c.want || !s.Record) {
			t.Errorf("%v: %+v %v", c.table, s.Process, err)
		}
		if c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("%v: %v, want %q", c.table, err, c.fault)
		}
	}
}
