//go:build !unix

package main

import "errors"

// freeze has no means on this system.
func freeze(int, bool) error {
	return errors.New("a process cannot be stopped and continued on this system")
}
