package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nethost/host/localapi"
	"nethost/host/module"
	"nethost/sdk"
	"nethost/sdk/client"
	v1 "nethost/sdk/client/nethostv1"
)

var _ localapi.CareBackend = (*backend)(nil)

// Approve implements localapi.CareBackend.
func (b *backend) Approve(ctx context.Context, name string) (*v1.ApproveResponse, error) {
	c, err := b.plugins.approve(ctx, name)
	if err != nil {
		return nil, moduleError(err)
	}
	r := &v1.ApproveResponse{What: c.What, From: c.From, To: c.To}
	if c.Err != nil {
		r.Error = c.Err.Error()
	}
	return r, nil
}

// Show implements localapi.CareBackend.
func (b *backend) Show(name string) (*v1.ShowResponse, error) {
	s := b.h.Snapshot()
	nodes := map[sdk.Peer]string{}
	for _, p := range s.Peers {
		nodes[p.Handle] = p.Node.String()
	}
	r := &v1.ShowResponse{}
	unknown := &module.UnknownError{Name: name}
	for _, m := range s.Modules {
		if unknown.Known = append(unknown.Known, m.Name); name != "" && m.Name != name {
			continue
		}
		u := m.Usage
		c := &v1.ModuleCare{Name: m.Name, Release: m.Release, State: m.State.String(), LastError: m.LastError, Disabled: b.plugins.isDisabled(m.Name),
			Metered: u.Batches > 0, CpuUs: micros(u.CPU), WorstUs: micros(u.Worst), DebtUs: micros(u.Debt), Batches: u.Batches, Late: u.Late,
			GoneUs: micros(u.Gone), Waiting: m.Waiting, Widens: m.Widens}
		for _, p := range u.Peers {
			c.Peers = append(c.Peers, &v1.PeerCare{Node: nodes[p.Peer], CpuUs: micros(p.CPU)})
		}
		c.Crashes, c.Poison = b.h.Modules().Kept(m.Name)
		r.Modules = append(r.Modules, c)
	}
	if name != "" && len(r.Modules) == 0 {
		return nil, moduleError(unknown)
	}
	return r, nil
}

func micros(d time.Duration) uint64 { return uint64(max(0, d.Microseconds())) }

// takeApproved lets what was just approved take over in a node that runs.
func takeApproved(cmd *cobra.Command, c *Config, name string) error {
	r, err := client.New(c.Socket).Approve(cmd.Context(), name)
	if errors.Is(err, client.ErrNotRunning) {
		return nil // its next start takes it
	}
	if err != nil {
		return fmt.Errorf("%s is approved, but the node that runs did not take it: %w", name, err)
	}
	if r.Error != "" {
		return fmt.Errorf("%s is approved, but the node that runs did not take it: %s", name, r.Error)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s %s: %s\n", name, r.To, r.What)
	return nil
}

func moduleShowCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show NAME", Short: "one module in full: processor time and for whom, debt, files of its crashes", Args: args(cobra.ExactArgs(1)),
		Long: `Says what a module used of the processor in all, in its dearest batch and for which
peers, what it owes over its soft budget, and which files are kept of its crashes:
bundles (report.json, batch.events, log.txt) and events that crash it.`}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		cfg, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		r, err := client.New(cfg.Socket).ShowModules(cmd.Context(), a[0])
		if err != nil {
			return err
		}
		if *asJSON {
			return printProto(cmd, r)
		}
		for _, m := range r.Modules {
			showModule(cmd.OutOrStdout(), m)
		}
		return nil
	}
	return cmd
}

func showModule(w io.Writer, m *v1.ModuleCare) {
	line := func(key, format string, a ...any) { fmt.Fprintf(w, "%-10s %s\n", key, fmt.Sprintf(format, a...)) }
	us := func(n uint64) time.Duration { return time.Duration(n) * time.Microsecond }
	line("module", "%s %s", m.Name, m.Release)
	state := m.State
	if m.Disabled {
		state += ", disabled"
	}
	line("state", "%s", state)
	if m.LastError != "" {
		line("last error", "%s", m.LastError)
	}
	if m.Waiting != "" {
		line("waiting", "%s asks for %s: `nethost module approve %s` says yes", m.Waiting, strings.Join(m.Widens, ", "), m.Name)
	}
	switch {
	case m.Metered:
		line("cpu", "%v in %d batches, the dearest %v", us(m.CpuUs), m.Batches, us(m.WorstUs))
		line("debt", "%v; %d batches waited for it", us(m.DebtUs), m.Late)
		for _, p := range m.Peers {
			node := short(p.Node)
			if node == "" {
				node = "(left)"
			}
			line("for", "%-10s %v", node, us(p.CpuUs))
		}
		if m.GoneUs > 0 {
			line("for", "%-10s %v", "(gone)", us(m.GoneUs))
		}
	case m.CpuUs > 0:
		line("cpu", "%v by its process", us(m.CpuUs))
	default:
		line("cpu", "not metered by its carrier")
	}
	for _, f := range m.Crashes {
		line("crash", "%s", f)
	}
	for _, f := range m.Poison {
		line("poison", "%s", f)
	}
}
