package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"nethost/host/module"
	"nethost/host/module/inproc"
	"nethost/host/module/process"
	"nethost/host/module/wasm"
	"nethost/subprotocols/builtin"
)

// replayRun is one pass over a record, for people and for JSON.
type replayRun struct {
	Carrier    module.Kind       `json:"carrier"`
	Batches    int               `json:"batches"`
	Last       uint64            `json:"last_batch"`
	Same       bool              `json:"same"`
	Difference *replayDifference `json:"difference,omitempty"`
	Notes      []string          `json:"notes,omitempty"`
	Ends       string            `json:"ends,omitempty"` // how the record ends, when not as it should
	fault      error
}

type replayDifference struct {
	Batch uint64 `json:"batch"`
	Why   string `json:"why"`
	Then  string `json:"then,omitempty"`
	Here  string `json:"here,omitempty"`
}

// replayReport is the whole of a replay.
type replayReport struct {
	File     string      `json:"file"`
	Module   string      `json:"module"`
	Release  string      `json:"release"`
	Carrier  module.Kind `json:"carrier"`
	Began    string      `json:"began"`
	Part     uint32      `json:"part"`
	Artifact string      `json:"artifact,omitempty"`
	Notes    []string    `json:"notes,omitempty"`
	Runs     []replayRun `json:"runs"`
}

func moduleReplayCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay FILE",
		Short: "run the batches of a record again and compare the effects, byte by byte",
		Long: `Hands the batches of a record to a fresh instance of the module and compares what comes
of each with what is recorded. No node runs and nothing reaches the network. The module
is the one that was recorded: its kept artifact, or the package of its name in the plugin
directory; --package names another one, --carrier builtin takes the compiled-in one.
A builtin module is run twice, because its maps are in another order each time.

A node writes records to DATA/records/MODULE when its configuration says so:

  [module.echo]
  record = true

They hold what peers sent, the module's state and its secrets.

Ends with 0 when all effects are the same, also of a record that was cut off, and with 1
when one is not, or the record is corrupt.`,
		Args: args(cobra.ExactArgs(1)),
	}
	carrier := cmd.Flags().String("carrier", "", "builtin, wasm or process (default: that of the package, or the one recorded)")
	dir := cmd.Flags().String("package", "", "folder or .wasm of the package to run")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		c, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		switch module.Kind(*carrier) {
		case "", module.Builtin, module.Wasm, module.Process:
		default:
			return usageError{fmt.Errorf("--carrier %s: want builtin, wasm or process", *carrier)}
		}
		report, err := replay(cmd.Context(), c, a[0], module.Kind(*carrier), *dir)
		if err != nil {
			return err
		}
		if *asJSON {
			err = printJSON(cmd.OutOrStdout(), report)
		} else {
			report.show(cmd.OutOrStdout())
		}
		return cmp.Or(err, report.verdict())
	}
	return cmd
}

// replay runs a record once, or twice where the order of maps may matter.
func replay(ctx context.Context, c *Config, path string, kind module.Kind, dir string) (*replayReport, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rr, err := module.NewRecordReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	h := rr.Head
	r := &replayReport{File: path, Module: h.Name, Release: h.Release, Carrier: h.Carrier, Began: h.Began.UTC().Format(time.RFC3339), Part: h.Part}
	spec, err := r.find(c, h, kind, dir)
	if err != nil {
		return nil, err
	}
	var carrier module.Carrier
	runs := 1
	switch spec.Kind {
	case module.Builtin:
		carrier, runs = inproc.New(builtin.All()), 2
	case module.Wasm:
		guests, err := wasm.New("")
		if err != nil {
			return nil, err
		}
		defer guests.Close()
		carrier = guests
	default:
		carrier = process.New(process.Options{})
	}
	for range runs {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		out, err := module.Replay(ctx, f, carrier, spec)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		run := replayRun{Carrier: spec.Kind, Batches: out.Batches, Last: out.Last, Same: out.Difference == nil, Notes: out.Notes, fault: out.Fault}
		if d := out.Difference; d != nil {
			run.Difference = &replayDifference{d.Seq, d.Why, d.Then, d.Here}
		}
		if out.Fault != nil {
			run.Ends = fmt.Sprintf("after batch %d: %v", out.Last, out.Fault)
		}
		r.Runs = append(r.Runs, run)
	}
	return r, nil
}

// find says what is to be run.
func (r *replayReport) find(c *Config, h module.Head, kind module.Kind, dir string) (module.Spec, error) {
	spec := h.Spec()
	want := cmp.Or(kind, h.Carrier)
	if dir == "" && want == module.Builtin {
		if builtin.All()[h.Name] == nil {
			return spec, fmt.Errorf("no module %q is compiled in: name its package with --package", h.Name)
		}
		spec.Kind = module.Builtin
		return spec, nil
	}
	if dir == "" && want == h.Carrier {
		kept, _ := filepath.Glob(filepath.Join(c.Data, "modules", h.Name, fmt.Sprintf("%x-*", h.Digest[:8])))
		if len(kept) > 0 {
			spec.Artifact, r.Artifact = kept[0], kept[0]
			return spec, nil
		}
	}
	if dir == "" {
		if dir = filepath.Join(c.Plugins, h.Name); c.Plugins == "" || !exists(dir) {
			return spec, fmt.Errorf("no artifact of %s %s for carrier %s is below %s: name its package with --package", h.Name, h.Release, want, c.Data)
		}
	}
	p, err := module.ReadPackage(dir)
	if err == nil {
		err = p.CheckArtifact()
	}
	if err != nil {
		return spec, module.PathFault(dir, err)
	}
	m := &p.Manifest
	switch {
	case m.Name != h.Name:
		return spec, fmt.Errorf("%s is the package of %s, and the record is one of %s", dir, m.Name, h.Name)
	case kind != "" && m.Carrier != kind:
		return spec, fmt.Errorf("%s is a package for carrier %s, not %s", dir, m.Carrier, kind)
	}
	if m.Release != h.Release || m.Carrier == h.Carrier && m.Digest != h.Digest {
		r.Notes = append(r.Notes, fmt.Sprintf("another build than the recorded one: %s (%x) here, %s (%x) then", m.Release, m.Digest[:8], h.Release, h.Digest[:8]))
	}
	spec.Kind, spec.Release, spec.Digest, spec.Subprotocols, spec.Artifact, spec.Dir = m.Carrier, m.Release, m.Digest, m.Subprotocols, p.Artifact, p.Path
	if p.Bare {
		spec.Dir = filepath.Dir(p.Path)
	}
	spec.Limits.Memory = max(spec.Limits.Memory, m.Limits.Memory)
	r.Artifact = p.Artifact
	return spec, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (r *replayReport) show(out io.Writer) {
	fmt.Fprintf(out, "%s %s, recorded on %s from %s, part %d\n", r.Module, r.Release, r.Carrier, r.Began, r.Part)
	for _, n := range r.Notes {
		fmt.Fprintf(out, "note: %s\n", n)
	}
	for i, run := range r.Runs {
		again := ""
		if i > 0 {
			again = " again, with new map seeds"
		}
		for _, n := range run.Notes {
			fmt.Fprintf(out, "note: %s\n", n)
		}
		if run.Ends != "" {
			fmt.Fprintf(out, "the record ends %s\n", run.Ends)
		}
		if run.Same {
			fmt.Fprintf(out, "%s%s: %d batches, the same effects\n", run.Carrier, again, run.Batches)
			continue
		}
		d := run.Difference
		fmt.Fprintf(out, "%s%s: batch %d is not the same: %s\n", run.Carrier, again, d.Batch, d.Why)
		fmt.Fprintf(out, "  then  %s\n  here  %s\n", cmp.Or(d.Then, "-"), cmp.Or(d.Here, "-"))
	}
}

// verdict is what the command ends with.
func (r *replayReport) verdict() error {
	for _, run := range r.Runs {
		if run.Difference != nil {
			return fmt.Errorf("batch %d of %s has other effects than recorded", run.Difference.Batch, r.File)
		}
		if errors.Is(run.fault, module.ErrRecordCut) || run.fault == nil {
			continue
		}
		return fmt.Errorf("%s ends after batch %d: %w", r.File, run.Last, run.fault)
	}
	return nil
}
