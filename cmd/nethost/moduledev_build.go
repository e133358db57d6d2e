package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"nethost/host/module"
	"nethost/sdk"
	"nethost/subprotocols/builtin"
)

// devKept is how many builds stay on disk: a program that finishes may still read
// its own files.
const devKept = 4

// devBuild is what the two nodes run.
type devBuild struct {
	spec     module.Spec
	digest   string
	manifest string
	serves   bool // on both nodes
}

// build compiles the project into a package of its own and loads it as a node does.
func (d *dev) build(ctx context.Context, said io.Writer) (b devBuild, err error) {
	d.builds++
	plugins := filepath.Join(d.tmp, fmt.Sprint("build", d.builds))
	_ = os.RemoveAll(filepath.Join(d.tmp, fmt.Sprint("build", d.builds-devKept)))
	text, err := os.ReadFile(filepath.Join(d.dir, module.ManifestName))
	if err != nil {
		return b, err
	}
	m, err := module.ParseManifest(text)
	if err != nil {
		return b, fmt.Errorf("%s: %w", filepath.Join(d.dir, module.ManifestName), err)
	}
	b.manifest = string(text)
	pkg := filepath.Join(plugins, m.Name)
	if m.HasDigest { // a package that something else builds
		b.digest, err = fmt.Sprintf("%x", m.Digest), os.CopyFS(pkg, os.DirFS(d.dir))
	} else {
		b.digest, err = buildPackage(ctx, said, d.dir, pkg, "")
	}
	if err != nil {
		return b, err
	}
	opts := module.Options{Unsigned: true, Dev: true, Core: append([]string{m.Name}, coreModules...), Builtin: builtin.All()}
	if len(d.set) > 0 {
		opts.Overrides = map[string]map[string]any{m.Name: {"config": d.set}}
	}
	specs, rejected, err := module.Load(plugins, opts)
	switch {
	case err != nil:
		return b, err
	case len(rejected) > 0:
		return b, fmt.Errorf("%s: refused: %s", d.dir, rejected[0].Reason)
	case len(specs) != 1:
		return b, fmt.Errorf("%s holds no package", d.dir)
	}
	b.spec = specs[0]
	b.spec.Grants = m.Wanted
	return b, nil
}

// reload builds the project and lets it take over on both nodes. It reports whether
// another version serves now than before.
func (d *dev) reload(ctx context.Context, force bool) (changed bool, err error) {
	began := time.Now()
	var said bytes.Buffer
	next, err := d.build(ctx, &said)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		d.out.buildFailed(err, said.String(), d.last.serves, d.once)
		return false, err
	}
	if !force && d.last.serves && next.digest == d.last.digest && next.manifest == d.last.manifest {
		d.out.note("unchanged", "", "built: nothing has changed")
		return false, nil
	}
	d.out.built(&next, said.String(), time.Since(began))
	for _, n := range []*devNode{d.a, d.b} {
		if fault := n.take(ctx, next.spec, force); fault != nil {
			err = errors.Join(err, fault)
		}
	}
	if err == nil {
		err = d.a.agree(ctx, d.b, next.spec)
	}
	if err != nil {
		if ctx.Err() == nil {
			d.out.note("failed", "", err.Error())
		}
		return false, err
	}
	next.serves = true
	d.last = next
	return true, nil
}

// target is the subprotocol and method that a call names.
func (b *devBuild) target(method string) (sdk.ID, string, error) {
	subs := b.spec.Subprotocols
	if len(subs) == 0 {
		return 0, "", errors.New("the module speaks no subprotocol: there is nothing to call")
	}
	id := subs[0].ID
	if strings.HasPrefix(method, "0x") {
		text, rest, _ := strings.Cut(method, ".")
		var err error
		if id, err = sdk.ParseID(text); err != nil {
			return 0, "", fmt.Errorf("call %s: %w", method, err)
		}
		method = rest
	}
	method = strings.TrimPrefix(method, b.spec.Name+".")
	if method == "-" || method == b.spec.Name {
		method = ""
	}
	return id, method, nil
}
