package process

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"lukechampine.com/blake3"
)

// checkKind refuses what is no program.
func checkKind(f *os.File, path string, want [32]byte) error {
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file", path)
	case !executable(info.Mode()):
		return fmt.Errorf("%s is not executable: chmod +x %s", path, path)
	case want == [32]byte{}:
		return fmt.Errorf("%s has no digest to check it against: put blake3 into module.toml", path)
	}
	return nil
}

// checkDigest reads the file and compares; it leaves it at its start.
func checkDigest(f *os.File, path string, want [32]byte) error {
	h := blake3.New(32, nil)
	if _, err := io.Copy(h, f); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if got := [32]byte(h.Sum(nil)); got != want {
		return fmt.Errorf("%s has BLAKE3 digest %x, expected %x: it was changed after it was accepted; if you meant that, write the new digest into %s",
			path, got, want, filepath.Join(filepath.Dir(path), "module.toml"))
	}
	_, err := f.Seek(0, io.SeekStart)
	return err
}
