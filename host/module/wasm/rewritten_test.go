package wasm

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"lukechampine.com/blake3"
)

// TestRewriterVersion: what Rewrite makes is what it made under this version, or
// hosts would go on with code that an earlier build kept.
func TestRewriterVersion(t *testing.T) {
	h := blake3.New(32, nil)
	for seed := range uint64(60) {
		out, _, err := Rewrite(generate(seed).bytes(), testOptions)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = h.Write(out)
	}
	got, want := hex.EncodeToString(h.Sum(nil)[:8]), "441b4bfaea667d66"
	if got != want {
		t.Errorf("the rewriter's output changed: raise rewriterVersion (%d now), and write %q here. (Or the generator changed: then write it only.)", rewriterVersion, got)
	}
}

// TestRewriteCache: what was kept is found again, whole; what is damaged, or was
// made under other options, is not.
func TestRewriteCache(t *testing.T) {
	c := rewriteCache{t.TempDir()}
	bin := rememberer()
	digest := blake3.Sum256(bin)
	files := func() []string {
		m, err := filepath.Glob(filepath.Join(c.dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	want, rep, err := c.rewrite(bin, digest, testOptions)
	if err != nil || len(files()) != 1 {
		t.Fatal(err, files())
	}
	// Nothing is read of the binary when it is there.
	got, again, err := c.rewrite(nil, digest, testOptions)
	if err != nil || !bytes.Equal(got, want) || !reflect.DeepEqual(rep, again) {
		t.Errorf("%v\n%+v\n%+v", err, rep, again)
	}
	other := testOptions
	other.MemoryPages--
	if _, _, err := c.rewrite(nil, digest, other); err == nil {
		t.Error("other options found it too")
	}
	b, err := os.ReadFile(files()[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 35, len(b) - 1} {
		if _, _, ok := parseKept(b[:n]); ok {
			t.Errorf("the first %d bytes of %d are taken", n, len(b))
		}
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(files()[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, _, err := c.rewrite(bin, digest, testOptions); err != nil || !bytes.Equal(got, want) {
		t.Errorf("a damaged file: %v", err)
	}
	if _, _, err := c.rewrite(nil, digest, testOptions); err != nil {
		t.Errorf("it was not made anew: %v", err)
	}
}
