package module

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"lukechampine.com/blake3"
)

const (
	// maxBundles and maxPoison bound what is kept of each module's crashes.
	maxBundles = 5
	maxPoison  = 64
	// maxBundleLog bounds the module's log in a bundle, in bytes.
	maxBundleLog = 64 << 10
)

// files is where a manager keeps things: crash for bundles and poison, kept for
// copies of the artifacts that run. Empty: nothing is kept.
type files struct{ crash, kept string }

// keepPoison writes an event that kills, once, readable by nobody but the node's
// user: it is what a peer sent.
func (f *files) keepPoison(module, name string, batch []byte) (string, error) {
	if f.crash == "" {
		return "", nil
	}
	dir := filepath.Join(f.crash, module)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	path := filepath.Join(dir, name+".events")
	if err := os.WriteFile(path, batch, 0o600); err != nil {
		return "", err
	}
	return path, prune(dir, "poison-", maxPoison)
}

// report is what a bundle's report.json says.
type report struct {
	Module   string            `json:"module"`
	Release  string            `json:"release"`
	Carrier  Kind              `json:"carrier"`
	Digest   string            `json:"blake3,omitempty"`
	At       time.Time         `json:"at"`
	Error    string            `json:"error"`
	Restarts uint64            `json:"restarts"`
	Events   []string          `json:"events"` // of the batch
	Counters map[string]uint64 `json:"counters,omitempty"`
}

// bundle writes what a module was doing when it crashed: the report, the batch of
// events as it got it, and its last lines. The caller holds s.run.
func (f *files) bundle(s *supervisor, cause error, batch []byte) (string, error) {
	now := time.Now().UTC()
	top := filepath.Join(f.crash, s.spec.Name)
	dir := filepath.Join(top, "crash-"+now.Format("20060102T150405.000000000"))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	r := report{Module: s.spec.Name, Release: s.spec.Release, Carrier: s.spec.Kind, At: now, Error: cause.Error()}
	if s.spec.Digest != [32]byte{} {
		r.Digest = fmt.Sprintf("%x", s.spec.Digest)
	}
	for i := range s.batch {
		r.Events = append(r.Events, s.batch[i].ev.Kind.String())
	}
	s.mu.Lock()
	r.Restarts = s.cycle.restarts
	r.Counters = s.counters
	text, err := json.MarshalIndent(r, "", "  ")
	s.mu.Unlock()
	var log bytes.Buffer
	lines, _ := s.u.book.after(0)
	for _, l := range lines {
		fmt.Fprintf(&log, "%s %s %s\n", l.At.UTC().Format(time.RFC3339Nano), l.Level, l.Text)
	}
	tail := log.Bytes()
	tail = tail[max(0, len(tail)-maxBundleLog):]
	return dir, errors.Join(err,
		os.WriteFile(filepath.Join(dir, "report.json"), append(text, '\n'), 0o600),
		os.WriteFile(filepath.Join(dir, "batch.events"), batch, 0o600),
		os.WriteFile(filepath.Join(dir, "log.txt"), tail, 0o600),
		prune(top, "crash-", maxBundles))
}

// prune removes the oldest entries of a folder that begin with prefix, down to max.
func prune(dir, prefix string, max int) (err error) {
	found := aged(dir, prefix)
	for len(found) > max {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, found[0])))
		found = found[1:]
	}
	return err
}

// aged lists the entries of a folder that begin with prefix, oldest first; none when
// it cannot be read.
func aged(dir, prefix string) (names []string) {
	all, _ := os.ReadDir(dir)
	at := map[string]time.Time{}
	for _, e := range all {
		if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), prefix) {
			at[e.Name()] = info.ModTime()
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		if c := at[a].Compare(at[b]); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	return names
}

// keepArtifact copies the artifact of a version to where nobody changes it, and
// makes the version run from there: a restart then runs what was verified, and a
// version that an upgrade wrote over is still there to go back to (L3.6).
func (f *files) keepArtifact(s *Spec) error {
	if f.kept == "" || s.Artifact == "" {
		return nil
	}
	dir := filepath.Join(f.kept, s.Name)
	to := filepath.Join(dir, fmt.Sprintf("%x", s.Digest[:8])+"-"+filepath.Base(s.Artifact))
	if s.Artifact == to {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	in, err := os.Open(s.Artifact)
	if err != nil {
		return err
	}
	defer in.Close()
	tmp, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	h := blake3.New(32, nil)
	_, err = io.Copy(io.MultiWriter(tmp, h), in)
	if err = errors.Join(err, tmp.Chmod(0o700), tmp.Close()); err != nil {
		return err
	}
	var sum [32]byte
	if h.Sum(sum[:0]); sum != s.Digest {
		return fmt.Errorf("%s changed since it was verified: its BLAKE3 is %x, expected %x", s.Artifact, sum, s.Digest)
	}
	if err := os.Rename(tmp.Name(), to); err != nil {
		return err
	}
	s.Artifact = to
	return nil
}

// forgetArtifacts removes the copies that no version of a module needs any more.
func (f *files) forgetArtifacts(name string, needed ...Spec) {
	if f.kept == "" {
		return
	}
	dir := filepath.Join(f.kept, name)
	all, _ := os.ReadDir(dir)
	for _, e := range all {
		path := filepath.Join(dir, e.Name())
		if !slices.ContainsFunc(needed, func(s Spec) bool { return s.Artifact == path }) {
			os.Remove(path)
		}
	}
}

// list names what is kept of a module's crashes, oldest first.
func (f *files) list(module string) (bundles, poison []string) {
	if f.crash == "" {
		return nil, nil
	}
	top := filepath.Join(f.crash, module)
	for _, name := range aged(top, "crash-") {
		bundles = append(bundles, filepath.Join(top, name))
	}
	for _, name := range aged(top, "poison-") {
		poison = append(poison, filepath.Join(top, name))
	}
	return bundles, poison
}

// Kept names the files that are kept of a module's crashes, oldest first: bundles,
// which are folders, and events that crash it.
func (m *Manager) Kept(module string) (bundles, poison []string) { return m.files.list(module) }
