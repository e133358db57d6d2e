package process

import "path/filepath"

// absolute makes a path of ours one for a program, whose working directory is another.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil && path != "" {
		return abs
	}
	return path
}
