package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"nethost/host"
	"nethost/host/dirwatch"
	"nethost/host/module"
	"nethost/sdk"
)

// watchQuiet is how long the plugin directory must be left alone before it is read:
// a package is several files.
const watchQuiet = 300 * time.Millisecond

// catalogue is the plugin directory of a running node, and what came of it.
type catalogue struct {
	c   *Config
	log *slog.Logger
	h   *host.Host

	reloads  sync.Mutex // one at a time
	mu       sync.Mutex
	rejected []module.Rejection
	disabled []string // what stays down, also after a restart; sorted
}

// read reads the plugin directory and the compiled-in modules. A package that is
// refused is told on stderr and in the listing; the others run.
func (l *catalogue) read() ([]module.Spec, error) {
	c := l.c
	if c.reread != nil && l.h != nil { // the operator may have granted something since
		again, err := c.reread()
		if err != nil {
			return nil, err
		}
		c = again
	}
	opts := moduleOptions(c)
	var specs []module.Spec
	var rejected []module.Rejection
	if c.Plugins != "" {
		var err error
		if specs, rejected, err = module.Load(c.Plugins, opts); err != nil {
			return nil, err
		}
	}
	for _, name := range c.Builtin {
		if slices.ContainsFunc(specs, func(s module.Spec) bool { return s.Name == name }) {
			continue // its package is there already
		}
		spec := builtinSpec(name, opts)
		for _, p := range spec.Subprotocols {
			for _, s := range specs {
				if slices.ContainsFunc(s.Subprotocols, func(q sdk.Subprotocol) bool { return q.ID == p.ID && q.Version.Major == p.Version.Major }) {
					return nil, usageError{fmt.Errorf("modules.builtin: %s holds %v, and so does package %s: remove one of the two", name, p.ID, s.Name)}
				}
			}
		}
		specs = append(specs, spec)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Grants)) {
		unused(l.log, "grants", name, specs, rejected)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Overrides)) {
		unused(l.log, "module", name, specs, rejected)
	}
	for i := range specs {
		for _, note := range specs[i].Standing.Notes {
			l.log.Warn(note, "module", specs[i].Name)
		}
	}
	for _, r := range rejected {
		l.log.Error("module refused", "file", r.File, "line", r.Line, "reason", r.Reason)
	}
	l.mu.Lock()
	l.rejected = rejected
	l.mu.Unlock()
	return specs, nil
}

func (l *catalogue) refused() []module.Rejection {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.rejected)
}

// reload makes the node's modules what the plugin directory says. force names a
// module to load anew even if nothing changed, "" none.
func (l *catalogue) reload(ctx context.Context, force string) ([]module.Reloaded, error) {
	l.reloads.Lock()
	defer l.reloads.Unlock()
	specs, err := l.read()
	if err != nil {
		return nil, err
	}
	var names, keep []string
	for _, r := range l.refused() {
		keep = append(keep, r.Dir)
		if filepath.Base(r.Dir) == force {
			return nil, fmt.Errorf("%s:%d: %s", r.File, r.Line, r.Reason)
		}
	}
	if force != "" {
		if !slices.ContainsFunc(specs, func(s module.Spec) bool { return s.Name == force }) {
			e := &module.UnknownError{Name: force}
			for _, s := range specs {
				e.Known = append(e.Known, s.Name)
			}
			return nil, e
		}
		names = []string{force}
	}
	if force != "" {
		if err := l.setDisabled(force, false); err != nil {
			return nil, err
		}
	}
	changes := l.h.Modules().Sync(ctx, append(specs, l.waiting()...), names, keep)
	for _, c := range changes {
		if c.What != "unchanged" && c.What != "disabled" {
			l.log.Info("module "+c.What, "module", c.Name, "from", c.From, "to", c.To)
		}
	}
	return changes, nil
}

// watch reloads when the plugin directory changes, until ctx ends.
func (l *catalogue) watch(ctx context.Context) {
	err := dirwatch.Watch(ctx, l.c.Plugins, watchQuiet, func() {
		if _, err := l.reload(ctx, ""); err != nil && !errors.Is(err, context.Canceled) {
			l.log.Error("the plugin directory cannot be read", "error", err)
		}
	})
	if err != nil {
		l.log.Warn("changes of the plugin directory are not noticed: use `nethost module reload`", "error", err)
	}
}

// unused warns of a table for a module that is not here: most likely its name is
// misspelt, or it lacks the publisher's.
func unused(log *slog.Logger, table, name string, specs []module.Spec, rejected []module.Rejection) {
	bare := name[strings.LastIndexByte(name, '/')+1:]
	if slices.ContainsFunc(rejected, func(r module.Rejection) bool { return strings.TrimSuffix(filepath.Base(r.Path()), ".wasm") == bare }) {
		return
	}
	hint := ""
	for i := range specs {
		tables := []string{specs[i].Name}
		if table == "grants" {
			tables = specs[i].GrantTables()
		}
		if slices.Contains(tables, name) {
			return
		}
		if specs[i].Name == bare {
			hint = fmt.Sprintf("[%s.%q]", table, tables[0])
		}
	}
	if hint != "" {
		log.Warn("the configuration gives grants to a module of another publisher than the one that is here", "table", "["+table+"."+name+"]", "want", hint)
		return
	}
	log.Warn("the configuration speaks of a module that is not here", "table", "["+table+"."+name+"]")
}
