// Package dirwatch tells when a directory of folders has changed, and has been
// left alone for a while since.
//
// It does not know what is in the files, and says nothing about which changed: who
// is told looks for himself. Changes that the system does not report (a network
// file system) it does not see.
package dirwatch

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// patience bounds how long a directory that never comes to rest is waited for, in
// multiples of the quiet time.
const patience = 20

// Watch calls changed, on its own goroutine, whenever something in dir or in one of
// its folders was made, written, renamed or removed and nothing more has happened
// for the time quiet. It returns when ctx ends, or when the directory cannot be
// watched.
func Watch(ctx context.Context, dir string, quiet time.Duration, changed func()) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: %w", dir, err)
	}
	defer w.Close()
	if err := w.Add(dir); err != nil {
		return fmt.Errorf("watch %s: %w", dir, err)
	}
	folders(w, dir)
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	var since time.Time // of the first change that was not told yet
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-w.Errors:
			if err == nil {
				return nil
			}
			// Some events are lost: look as if there had been one.
			timer.Reset(quiet)
		case ev, ok := <-w.Events:
			if !ok {
				return nil
			}
			if ev.Op == fsnotify.Chmod {
				continue
			}
			if since.IsZero() {
				since = time.Now()
			}
			timer.Reset(min(quiet, max(0, patience*quiet-time.Since(since))))
		case <-timer.C:
			since = time.Time{}
			folders(w, dir)
			changed()
		}
	}
}

// folders watches the folders of dir that are there now. One that was removed is
// not watched any more by itself.
func folders(w *fsnotify.Watcher, dir string) {
	all, _ := os.ReadDir(dir)
	for _, e := range all {
		path := filepath.Join(dir, e.Name())
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			_ = w.Add(path) // gone again: the directory itself tells
		}
	}
}
