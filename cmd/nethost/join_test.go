package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/knadh/koanf/parsers/toml/v2"
)

// The inviter's address joins the peers that are there, and nothing else of the file
// changes.
func TestAddPeer(t *testing.T) {
	const peer = "abc@10.0.0.1:7700"
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"none":            {"relay = true\n", []string{peer}},
		"the commented":   {"# a\n# peers = []    # keep\nrelay = true\n[log]\nlevel = \"info\"\n", []string{peer}},
		"an empty list":   {"peers = []\nrelay = true\n", []string{peer}},
		"one":             {"peers = [\"b:1\"] # mine\nrelay = true\n", []string{peer, "b:1"}},
		"without spaces":  {"peers=[\"b:1\",\"c:2\"]\nrelay = true\n", []string{peer, "b:1", "c:2"}},
		"over many lines": {"peers = [\n  \"b:1\", # one\n  \"c:2\",\n]\nrelay = true\n", []string{peer, "b:1", "c:2"}},
		"it is there":     {"peers = [\"" + peer + "\"]\nrelay = true\n", []string{peer}},
		"of a table":      {"relay = true\n[module.x]\npeers = [\"b:1\"]\n", []string{peer}},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, configFile)
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := addPeer(dir, nil, peer); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := toml.Parser().Unmarshal(b)
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, b)
			continue
		}
		var got []string
		list, _ := keys["peers"].([]any)
		for _, p := range list {
			got = append(got, p.(string))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: peers %q, want %q", name, got, c.want)
		}
		for line := range strings.Lines(c.text) { // what somebody wrote stays
			if !strings.Contains(line, "peers") && !strings.Contains(string(b), line) {
				t.Errorf("%s: %q is gone from\n%s", name, line, b)
			}
		}
	}
}
