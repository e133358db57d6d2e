package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"nethost/host/localapi"
	"nethost/host/module"
	"nethost/sdk"
	v1 "nethost/sdk/client/nethostv1"
)

var _ localapi.ModuleBackend = (*backend)(nil)

// moduleError gives an error of the modules a code of the contract.
func moduleError(err error) error {
	var unknown *module.UnknownError
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &unknown):
		return &localapi.Error{Code: sdk.NotFound, Text: err.Error()}
	}
	return &localapi.Error{Code: sdk.Internal, Text: err.Error()}
}

// ReloadModules takes one name and answers with what became of every module.
func (b *backend) ReloadModules(ctx context.Context, name string) (*v1.ReloadModulesResponse, error) {
	changes, err := b.plugins.reload(ctx, name)
	if err != nil {
		return nil, moduleError(err)
	}
	r := &v1.ReloadModulesResponse{}
	for _, c := range changes {
		m := &v1.ModuleChange{Name: c.Name, What: c.What, From: c.From, To: c.To}
		if c.Err != nil {
			m.Error = c.Err.Error()
		}
		r.Changes = append(r.Changes, m)
	}
	for _, j := range b.plugins.refused() {
		where := j.File
		if j.Line > 0 {
			where = fmt.Sprintf("%s:%d", j.File, j.Line)
		}
		r.Rejected = append(r.Rejected, where+": "+j.Reason)
	}
	return r, nil
}

func (b *backend) Enable(ctx context.Context, name string) error {
	return moduleError(b.plugins.enable(ctx, name))
}

func (b *backend) Disable(ctx context.Context, name string) error {
	return moduleError(b.plugins.disable(ctx, name))
}

func (b *backend) Logs(ctx context.Context, name string, follow bool, send func(*v1.LogLine) error) error {
	return moduleError(b.h.Modules().Logs(ctx, name, follow, func(l module.LogLine) error {
		return send(&v1.LogLine{Seq: l.Seq, UnixNs: l.At.UnixNano(), Level: l.Level.String(), Text: l.Text})
	}))
}

func (b *backend) Top() *v1.TopResponse {
	r := &v1.TopResponse{UptimeS: b.h.Now().Seconds()}
	for _, m := range b.h.Modules().List() {
		u := &m.Usage
		r.Modules = append(r.Modules, &v1.ModuleLoad{CpuUs: micros(u.CPU), CpuKnown: u.Batches > 0 || u.CPU > 0, DebtUs: micros(u.Debt), Late: u.Late,
			Name: m.Name, Release: m.Release, State: m.State.String(), BusyS: m.Busy.Seconds(), Memory: m.Memory, Mailbox: uint32(m.Mailbox), MailboxMax: uint32(m.MailboxMax), Dropped: m.Dropped, Poisoned: m.Poisoned,
			Restarts: m.Restarts, Events: m.Events, Effects: m.Effects, Finishing: uint32(m.Finishing),
			Waiting: m.Waiting, Widens: m.Widens, UpgradeError: m.Upgrade})
	}
	return r
}

// Drain lets the modules finish, then ends the node as SIGTERM does.
func (b *backend) Drain(ctx context.Context, within float64) (*v1.DrainResponse, error) {
	limit := 30 * time.Second
	if within > 0 {
		limit = time.Duration(within * float64(time.Second))
	}
	cut := b.h.Modules().Drain(ctx, limit)
	b.stop()
	return &v1.DrainResponse{Cut: cut}, nil
}
