package module

import (
	"io"
	"os"

	"lukechampine.com/blake3"
)

// Digest is the BLAKE3 digest of a file, as module.toml states it.
func Digest(path string) (sum [32]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := blake3.New(32, nil)
	if _, err := io.Copy(h, f); err != nil {
		return sum, err
	}
	h.Sum(sum[:0])
	return sum, nil
}
