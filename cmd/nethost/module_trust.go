package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"nethost/host/module"
	"nethost/subprotocols/builtin"
)

// releasePublisher is who signs nethost's own packages, which alone may hold core
// ids. "": there is no such key yet, and core ids are for compiled-in modules.
const releasePublisher = ""

// moduleOptions are the operator's rules for packages.
func moduleOptions(c *Config) module.Options {
	return module.Options{Unsigned: c.Unsigned, Dev: c.Dev, Release: releasePublisher, TrustFile: filepath.Join(c.Data, module.TrustName),
		LockFile: filepath.Join(c.Data, module.LockName), Core: coreModules, Grants: c.Grants, Overrides: c.Overrides, Builtin: builtin.All(), Where: c.Where}
}

// packageVerbs are the verbs of packages: who made them, and whether they may run.
func packageVerbs() []*cobra.Command {
	return []*cobra.Command{keygenCommand(), signCommand(), verifyCommand(), trustCommand(), untrustCommand(), lockCommand(),
		approveCommand(), moduleListCommand(), packagesCommand(), diffCommand(), inspectCommand()}
}

func trustCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trust [PUBLISHER]",
		Short: "trust a publisher with names, ids and carriers; without one: list whom you trust",
		Long: `Puts a publisher into DATA/trust.toml: modules signed with that key load if their
name, every id and the carrier are among those given here. A running node reads the
file at its next load. Without an argument it lists the trust store.

  nethost module trust ed25519:... --label acme --names 'telemetry,acme-*' --ids 0x2300-0x23ff`,
		Args: args(cobra.MaximumNArgs(1)),
	}
	label := cmd.Flags().String("label", "", "what to call the publisher, here and in [grants.\"LABEL/NAME\"]")
	names := cmd.Flags().StringSlice("names", []string{"*"}, "names of its modules; * and ? match")
	ids := cmd.Flags().StringSlice("ids", nil, "ids its modules may hold: 0x2301 or 0x2300-0x23ff")
	carriers := cmd.Flags().StringSlice("carriers", []string{string(module.Wasm)}, "wasm, and process for programs outside the sandbox")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		c, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		path := filepath.Join(c.Data, module.TrustName)
		if len(a) == 1 {
			e := module.Trusted{Label: *label, Names: *names}
			if e.Key, err = module.ParsePublisher(a[0]); err != nil {
				return usageError{err}
			}
			for _, s := range *ids {
				r, err := module.ParseIDRange(s)
				if err != nil {
					return usageError{fmt.Errorf("--%w", err)}
				}
				e.IDs = append(e.IDs, r)
			}
			for _, s := range *carriers {
				e.Carriers = append(e.Carriers, module.Kind(s))
			}
			if err := module.UpdateTrust(path, func(t *module.Trust) error { return t.Add(e) }); err != nil {
				return err
			}
		}
		t, err := module.ReadTrust(path)
		if err != nil {
			return err
		}
		var rows [][]string
		out := []map[string]any{}
		for _, p := range t.Publishers {
			if len(a) == 1 && module.PublisherText(p.Key) != a[0] {
				continue
			}
			var ranges, kinds []string
			for _, r := range p.IDs {
				ranges = append(ranges, r.String())
			}
			for _, k := range p.Carriers {
				kinds = append(kinds, string(k))
			}
			rows = append(rows, []string{p.Label, strings.Join(p.Names, ","), strings.Join(ranges, ","), strings.Join(kinds, ","), module.PublisherText(p.Key)})
			out = append(out, map[string]any{"label": p.Label, "key": module.PublisherText(p.Key), "names": p.Names, "ids": ranges, "carriers": kinds})
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), map[string]any{"publishers": out})
		}
		table(cmd.OutOrStdout(), "LABEL NAMES IDS CARRIERS KEY", rows)
		return nil
	}
	return cmd
}

func untrustCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "untrust PUBLISHER",
		Short: "trust a publisher no more, named by label or key",
		Args:  args(cobra.ExactArgs(1)),
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		c, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		err = module.UpdateTrust(filepath.Join(c.Data, module.TrustName), func(t *module.Trust) error {
			if !t.Remove(a[0]) {
				return fmt.Errorf("%s is not in the trust store: `nethost module trust` lists it", a[0])
			}
			return nil
		})
		if err == nil && *asJSON {
			err = printJSON(cmd.OutOrStdout(), map[string]string{"removed": a[0]})
		}
		return err
	}
	return cmd
}

func lockCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lock",
		Short: "show nethost.lock; --update NAME takes the package that lies there now",
		Long: `Shows which packages DATA/nethost.lock pins. A package is pinned when a node loads it
first; one that changed is refused afterwards, until --update NAME takes what lies in
the plugin directory now. If it asks for more than the old one it still waits for
"nethost module approve NAME".`,
		Args: args(cobra.NoArgs),
	}
	cmd.Flags().String("plugins", "", "directory of module packages")
	update := cmd.Flags().String("update", "", "pin the package of this name as it is now")
	remove := cmd.Flags().String("remove", "", "forget the pin of this name")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		c, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		path := filepath.Join(c.Data, module.LockName)
		switch {
		case *update != "" && *remove != "":
			return usageError{errors.New("--update and --remove: one at a time")}
		case *update != "":
			return repin(cmd, c, *update, false, *asJSON)
		case *remove != "":
			if err := module.UpdateLock(path, func(l *module.Lock) error {
				if !l.Remove(*remove) {
					return fmt.Errorf("nothing pins %s: `nethost module lock` lists the pins", *remove)
				}
				return nil
			}); err != nil {
				return err
			}
		}
		l, err := module.ReadLock(path)
		if err != nil {
			return err
		}
		var rows [][]string
		pins := []map[string]any{}
		for _, p := range l.Pins {
			rows = append(rows, []string{p.Name, p.Release, fmt.Sprintf("%x", p.Artifact[:8]), p.Publisher})
			pins = append(pins, pinJSON(p, nil))
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), map[string]any{"modules": pins})
		}
		table(cmd.OutOrStdout(), "NAME RELEASE ARTIFACT PUBLISHER", rows)
		return nil
	}
	return cmd
}

func pinJSON(p module.Pin, d module.Delta) map[string]any {
	approved := []string{}
	for _, a := range p.Asks {
		approved = append(approved, a.String())
	}
	out := map[string]any{"name": p.Name, "release": p.Release, "publisher": p.Publisher, "artifact": fmt.Sprintf("%x", p.Artifact),
		"manifest": fmt.Sprintf("%x", p.Manifest), "approved": approved}
	if d != nil {
		out["changes"] = d
	}
	return out
}

// repin does lock --update and approve.
func repin(cmd *cobra.Command, c *Config, name string, approve, asJSON bool) error {
	if c.Plugins == "" {
		return usageError{errors.New("no plugin directory: set plugins in the configuration, or --plugins")}
	}
	pin, delta, err := moduleOptions(c).Repin(c.Plugins, name, approve)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), pinJSON(pin, delta))
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s %s pinned\n", pin.Name, pin.Release)
	for _, ch := range delta {
		fmt.Fprintf(cmd.OutOrStdout(), "%v\n", ch)
	}
	if delta.Widens() && !approve {
		fmt.Fprintf(cmd.ErrOrStderr(), "nethost: what it asks for on top (%s) is not approved: `nethost module approve %s` says yes, or grant it in the configuration\n", delta.Wider(), name)
	}
	return nil
}

func approveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "approve NAME",
		Short: "let an upgrade have what it asks for on top, and pin it",
		Long: `Pins the package that lies in the plugin directory now, and approves everything it
asks for; a node that runs lets it take over at once. Grants still come from [grants] in the configuration: approving says that
the package may run and ask for them. "nethost module diff OLD NEW" and
"nethost module inspect PATH" show what that is.`,
		Args: args(cobra.ExactArgs(1)),
	}
	cmd.Flags().String("plugins", "", "directory of module packages")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		c, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		if err := repin(cmd, c, a[0], true, *asJSON); err != nil {
			return err
		}
		return takeApproved(cmd, c, a[0])
	}
	return cmd
}

func moduleListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "what a node would make of the plugin directory: publisher, signature, lock and grants",
		Long: `Reads the plugin directory as "nethost run" would, without running or pinning anything,
and says of each package who vouches for it, whether it is pinned, what it is granted
and what it wants and lacks. No node needs to run.`,
		Args: args(cobra.NoArgs),
	}
	cmd.Flags().String("plugins", "", "directory of module packages")
	cmd.Flags().Bool("dev", false, "decide as `nethost run --dev` would")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		if c.Plugins == "" {
			return usageError{errors.New("no plugin directory: set plugins in the configuration, or --plugins")}
		}
		opts := moduleOptions(c)
		opts.DryRun = true
		specs, rejected, err := module.Load(c.Plugins, opts)
		if err != nil {
			return err
		}
		var rows [][]string
		mods, refused := []map[string]any{}, []map[string]any{}
		for i := range specs {
			s := &specs[i]
			by := s.Standing.Label
			if by == "" {
				by = s.Publisher
			}
			rows = append(rows, []string{s.Name, s.Release, string(s.Kind), by, string(s.Standing.Voucher), s.Standing.Lock,
				strings.Join(s.Grants.List(), ","), strings.Join(s.Standing.Missing, ",")})
			mods = append(mods, map[string]any{"name": s.Name, "release": s.Release, "carrier": s.Kind, "publisher": s.Publisher, "label": s.Standing.Label,
				"signature": s.Standing.Voucher, "lock": s.Standing.Lock, "grants": s.Grants.List(), "missing": s.Standing.Missing, "notes": s.Standing.Notes})
		}
		for _, r := range rejected {
			refused = append(refused, map[string]any{"file": r.File, "line": r.Line, "reason": r.Reason, "needs_approval": r.Waits != nil})
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), map[string]any{"modules": mods, "refused": refused})
		}
		table(cmd.OutOrStdout(), "NAME RELEASE CARRIER PUBLISHER SIGNATURE LOCK GRANTS MISSING", rows)
		for _, r := range rejected {
			where := r.File
			if r.Line > 0 {
				where = fmt.Sprintf("%s:%d", r.File, r.Line)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "refused %s: %s\n", where, r.Reason)
		}
		for i := range specs {
			for _, note := range specs[i].Standing.Notes {
				fmt.Fprintf(cmd.OutOrStdout(), "note: %s\n", note)
			}
		}
		return nil
	}
	return cmd
}
