package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"nethost/host/module"
	"nethost/host/store"
)

// disabledFile says in the data directory which modules stay down.
const disabledFile = "disabled.json"

// widens says what a package asks for on top of what was approved, "" for nothing:
// what Load decided by the lock.
func (l *catalogue) widens(_, next module.Spec) (more []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.rejected {
		if r.Waits == nil || r.Waits.Name != next.Name || r.Waits.Next.Digest != next.Digest {
			continue
		}
		for _, c := range r.Waits.Delta {
			if c.Widens {
				more = append(more, c.String())
			}
		}
	}
	return more
}

// waiting gives the packages that need approval and have an older version that serves.
func (l *catalogue) waiting() (specs []module.Spec) {
	serving := l.h.Modules().Specs()
	for _, r := range l.refused() {
		if r.Waits != nil && slices.ContainsFunc(serving, func(s module.Spec) bool { return s.Name == r.Waits.Name }) {
			specs = append(specs, r.Waits.Next)
		}
	}
	return specs
}

// approve pins what lies in the plugin directory under a name, with all it asks for,
// and lets it take over.
func (l *catalogue) approve(ctx context.Context, name string) (module.Reloaded, error) {
	l.reloads.Lock()
	defer l.reloads.Unlock()
	if l.c.Plugins == "" {
		return module.Reloaded{}, errors.New("this node has no plugin directory: start it with --plugins DIR")
	}
	if _, _, err := moduleOptions(l.c).Repin(l.c.Plugins, name, true); err != nil {
		return module.Reloaded{}, err
	}
	specs, err := l.read()
	if err != nil {
		return module.Reloaded{}, err
	}
	i := slices.IndexFunc(specs, func(s module.Spec) bool { return s.Name == name })
	if i < 0 {
		for _, r := range l.refused() {
			if r.Waits != nil && r.Waits.Name == name || filepath.Base(r.Path()) == name {
				return module.Reloaded{}, fmt.Errorf("%s: %s", r.File, r.Reason)
			}
		}
		return module.Reloaded{}, &module.UnknownError{Name: name}
	}
	c := l.h.Modules().Approve(ctx, specs[i])
	l.log.Info("module approved", "module", name, "what", c.What, "from", c.From, "to", c.To)
	return c, nil
}

// readDisabled reads what the operator disabled in an earlier life of the node.
func (l *catalogue) readDisabled() error {
	path := filepath.Join(l.c.Data, disabledFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(b, &l.disabled)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: remove the file to start every module", path, err)
	}
	slices.Sort(l.disabled)
	return nil
}

func (l *catalogue) isDisabled(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.disabled, name)
}

// setDisabled writes down whether a module stays down.
func (l *catalogue) setDisabled(name string, off bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := slices.DeleteFunc(slices.Clone(l.disabled), func(s string) bool { return s == name })
	if off {
		next = append(next, name)
		slices.Sort(next)
	}
	if slices.Equal(next, l.disabled) {
		return nil
	}
	b, err := json.MarshalIndent(next, "", " ")
	if err == nil {
		err = store.Replace(filepath.Join(l.c.Data, disabledFile), append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("module %s: what the operator wants of it cannot be written down: %w", name, err)
	}
	l.disabled = next
	return nil
}

func (l *catalogue) disable(ctx context.Context, name string) error {
	l.reloads.Lock()
	defer l.reloads.Unlock()
	if !slices.ContainsFunc(l.h.Modules().Specs(), func(s module.Spec) bool { return s.Name == name }) {
		return l.h.Modules().Disable(ctx, name) // says which there are
	}
	if err := l.setDisabled(name, true); err != nil {
		return err
	}
	return l.h.Modules().Disable(ctx, name)
}

func (l *catalogue) enable(ctx context.Context, name string) error {
	l.reloads.Lock()
	defer l.reloads.Unlock()
	if err := l.setDisabled(name, false); err != nil {
		return err
	}
	return l.h.Modules().Enable(ctx, name)
}
