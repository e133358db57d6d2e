package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nethost/host/module"
	"nethost/host/module/check"
	"nethost/host/module/inproc"
	"nethost/host/module/process"
	"nethost/host/module/wasm"
	"nethost/sdk/sdktest"
	"nethost/subprotocols/builtin"
)

func moduleTestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test DIR",
		Short: "put a module through what every host may do to it",
		Long: `Builds the project in DIR, or takes the package in it, runs the module on its carrier
and checks that it keeps the contract: ABI, limits, permissions, negotiation, state,
determinism, crash. One line for each case; ends with 1 when one failed.`,
		Args: args(cobra.ExactArgs(1)),
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON, one line for each case")
	cmd.Flags().StringArray("set", nil, "value of a key of the module's [config], as KEY=VALUE; may be repeated")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		s, err := openSubject(cmd, a[0])
		if err != nil {
			return err
		}
		defer s.close()
		enc := json.NewEncoder(cmd.OutOrStdout())
		var passed, skipped, failures int
		check.Run(s.Subject, func(r check.Result) {
			word := "ok  "
			switch {
			case r.Skip:
				word = "skip"
				skipped++
			case r.Pass:
				passed++
			default:
				word = "FAIL"
				failures++
			}
			if *asJSON {
				_ = enc.Encode(r)
				return
			}
			line := fmt.Sprintf("%s  %-12s  %s", word, r.Group, r.Case)
			if r.Detail != "" {
				line += ": " + r.Detail
			}
			fmt.Fprintln(cmd.OutOrStdout(), line)
		})
		if failures > 0 {
			return fmt.Errorf("%s: %d of %d cases failed", s.spec.Name, failures, passed+skipped+failures)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %d cases passed, %d skipped\n", s.spec.Name, passed, skipped)
		return nil
	}
	return cmd
}

// subject is a module that is built and can be opened.
type subject struct {
	check.Subject
	spec  module.Spec
	close func()
}

// openSubject builds the project in dir, or takes the package in it.
func openSubject(cmd *cobra.Command, dir string) (*subject, error) {
	tmp, err := os.MkdirTemp("", "nethost-test-")
	if err != nil {
		return nil, err
	}
	s := &subject{close: func() { _ = os.RemoveAll(tmp) }}
	if err := s.load(cmd, dir, tmp); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *subject) load(cmd *cobra.Command, dir, tmp string) error {
	text, err := os.ReadFile(filepath.Join(dir, module.ManifestName))
	if err != nil {
		return fmt.Errorf("%w: a module's folder has a module.toml", err)
	}
	m, err := module.ParseManifest(text)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(dir, module.ManifestName), err)
	}
	pkg := filepath.Join(tmp, "plugins", m.Name)
	if m.HasDigest {
		err = os.CopyFS(pkg, os.DirFS(dir))
	} else {
		_, err = buildPackage(cmd.Context(), cmd.ErrOrStderr(), dir, pkg, "")
	}
	if err != nil {
		return err
	}
	given, err := setValues(cmd)
	if err != nil {
		return err
	}
	overrides := map[string]map[string]any{}
	if len(given) > 0 {
		overrides[m.Name] = map[string]any{"config": given}
	}
	specs, rejected, err := module.Load(filepath.Dir(pkg), module.Options{Unsigned: true, Overrides: overrides, Core: append([]string{m.Name}, coreModules...), Builtin: builtin.All()})
	if err != nil {
		return err
	}
	if len(rejected) > 0 || len(specs) != 1 {
		return fmt.Errorf("%s: refused: %s", dir, rejected[0].Reason)
	}
	s.spec = specs[0]
	guests, err := wasm.New(filepath.Join(tmp, "cache"))
	if err != nil {
		return err
	}
	carriers := map[module.Kind]module.Carrier{module.Builtin: inproc.New(builtin.All()), module.Wasm: guests, module.Process: process.New(process.Options{})}
	carrier := carriers[s.spec.Kind]
	s.Subject = check.Subject{Subprotocols: s.spec.Subprotocols, Methods: s.spec.Methods, Config: s.spec.Config, Grants: m.Wants,
		MemoryLimit: s.spec.Limits.Memory, Deterministic: s.spec.Kind == module.Wasm,
		Open: func() (sdktest.Instance, error) {
			ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
			defer cancel()
			return carrier.Open(ctx, s.spec)
		}}
	s.StateLimit = m.Wanted.State
	if len(s.Subprotocols) == 0 {
		return errors.New("the module speaks no subprotocol: there is nothing to test")
	}
	return nil
}

// setValues reads --set, where a command has it. Numbers and truth values are what they
// look like; everything else is a string.
func setValues(cmd *cobra.Command) (map[string]any, error) {
	if cmd.Flags().Lookup("set") == nil {
		return nil, nil
	}
	list, err := cmd.Flags().GetStringArray("set")
	if err != nil {
		return nil, err
	}
	given := map[string]any{}
	for _, text := range list {
		key, value, ok := strings.Cut(text, "=")
		if !ok || key == "" {
			return nil, usageError{fmt.Errorf("--set %s: want KEY=VALUE", text)}
		}
		given[key] = value
		if n, err := strconv.ParseInt(value, 0, 64); err == nil {
			given[key] = n
		} else if f, err := strconv.ParseFloat(value, 64); err == nil {
			given[key] = f
		} else if value == "true" || value == "false" {
			given[key] = value == "true"
		}
	}
	return given, nil
}
