package store

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const incarnationFile = "incarnation"

// Incarnation counts the starts of the identity in dir: it adds one to the
// persisted counter, makes that durable and returns it. A node must never run
// twice under one incarnation, so a damaged file is an error and not a 1.
func Incarnation(dir string) (uint64, error) {
	path := filepath.Join(dir, incarnationFile)
	b, err := os.ReadFile(path)
	var n uint64
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return 0, fmt.Errorf("incarnation: %w", err)
	default:
		if n, err = strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64); err != nil || n == math.MaxUint64 {
			return 0, fmt.Errorf("incarnation file %s is damaged: write a number into it that is higher than at any start before, such as the Unix time", path)
		}
	}
	n++
	if err := replace(path, strconv.FormatUint(n, 10)+"\n"); err != nil {
		return 0, fmt.Errorf("incarnation: %w", err)
	}
	return n, nil
}

// SaveIncarnation makes durable that n was used, so that the next start is above
// it.
func SaveIncarnation(dir string, n uint64) error {
	if err := replace(filepath.Join(dir, incarnationFile), strconv.FormatUint(n, 10)+"\n"); err != nil {
		return fmt.Errorf("incarnation: %w", err)
	}
	return nil
}

// replace writes a file so that a crash leaves the old one or the new one.
func replace(path, text string) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".incarnation-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
