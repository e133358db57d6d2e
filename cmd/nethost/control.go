package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"nethost/host"
	"nethost/host/kernel"
	"nethost/host/localapi"
	"nethost/host/route"
	"nethost/host/wire"
	"nethost/sdk"
	v1 "nethost/sdk/client/nethostv1"
)

// control changes a running node, and explains what goes on around it.
type control struct {
	h       *host.Host
	log     *slog.Logger
	level   *slog.LevelVar
	plugins *catalogue
	keeper  *keeper

	mu    sync.Mutex // guards everything below; held while files change
	cfg   *Config    // in force
	rules ruleFile
	seen  []seen // of late, oldest first
}

// Rules lists what is in force.
func (c *control) Rules() *v1.RulesResponse {
	c.mu.Lock()
	defer c.mu.Unlock()
	return rulesOf(c.h.Policy(), c.cfg.Policy)
}

// ChangeRules writes the change down, then puts it in force.
func (c *control) ChangeRules(m *v1.ChangeRulesRequest) (*v1.RulesResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rules, err := c.rules.change(m, c.cfg.Policy, c.h.Self())
	if err != nil {
		return nil, err
	}
	if err := rules.write(c.cfg.Data); err != nil {
		return nil, fmt.Errorf("rules: %w: nothing changed", err)
	}
	c.rules = rules
	p := rules.policy(c.cfg.Policy)
	c.h.SetPolicy(p)
	return rulesOf(p, c.cfg.Policy), nil
}

// NetworkKeys tells about the keys, or does a step of their change.
func (c *control) NetworkKeys(m *v1.NetworkKeysRequest) (*v1.NetworkKeysResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.Action != "" {
		if err := rotateKeys(c.cfg, m.Action, m.Key); err != nil {
			return nil, &localapi.Error{Code: sdk.InvalidArgument, Text: err.Error()}
		}
		first, second, err := networkKeys(c.cfg)
		if err != nil {
			return nil, err
		}
		c.h.SetNetworkKeys(first, second)
		c.log.Info("network keys changed", "action", m.Action, "first", fingerprint(first), "second", fingerprint(second))
	}
	r, err := keysOf(c.cfg)
	if err != nil {
		return nil, err
	}
	first, second, gone := c.h.KeyUse()
	r.SessionsFirst, r.SessionsSecond, r.SessionsGone = uint32(first), uint32(second), uint32(gone)
	return r, nil
}

// hangups gives the SIGHUPs from now on: one must not end a node that starts.
func hangups() chan os.Signal {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	return hup
}

// onHangup reloads on SIGHUP until ctx ends.
func (c *control) onHangup(ctx context.Context, hup chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			c.Reload(ctx)
		}
	}
}

// changesLive reports whether a key can be put in force under a node that runs.
func changesLive(key string) bool {
	return key == "relay" || key == "peers" || key == "log.level" || strings.HasPrefix(key, "autonomy.")
}

// Reload reads the configuration, the rules and the network keys again. What is
// faulty leaves everything as it was.
func (c *control) Reload(context.Context) *v1.ReloadResponse {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &v1.ReloadResponse{}
	next, err := c.cfg.reread()
	var rules ruleFile
	if err == nil {
		rules, err = readRules(c.cfg.Data)
	}
	if err == nil {
		_, _, err = networkKeys(c.cfg)
	}
	if err != nil {
		r.Faults = strings.Split(strings.TrimPrefix(err.Error(), "configuration: "), "\n")
		c.log.Error("reload: the configuration is faulty, the old one goes on", "faults", r.Faults)
		return r
	}
	keys := maps.Clone(c.cfg.keys)
	maps.Copy(keys, next.keys)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		switch {
		case reflect.DeepEqual(c.cfg.keys[key], next.keys[key]):
		case changesLive(key):
			r.Changed = append(r.Changed, key)
		default:
			r.Restart = append(r.Restart, key)
		}
	}
	c.keeper.setPeers(next.Peers)
	if !reflect.DeepEqual(rules, c.rules) {
		r.Changed = append(r.Changed, rulesFile)
	}
	// What needs a restart stays as it is, and is named again by the next reload.
	cfg := *c.cfg
	cfg.Peers, cfg.Policy, cfg.LogLevel = next.Peers, next.Policy, next.LogLevel
	cfg.keys = maps.Clone(c.cfg.keys)
	for key, v := range next.keys {
		if changesLive(key) {
			cfg.keys[key] = v
		}
	}
	before := c.h.Policy()
	c.cfg, c.rules = &cfg, rules
	if p := rules.policy(cfg.Policy); !reflect.DeepEqual(p, before) {
		c.h.SetPolicy(p)
	}
	_ = c.level.UnmarshalText([]byte(cfg.LogLevel)) // checked
	if first, second, err := networkKeys(c.cfg); err == nil && c.h.SetNetworkKeys(first, second) {
		r.Changed = append(r.Changed, "network keys")
	}
	c.log.Info("reloaded", "changed", r.Changed, "needs_restart", r.Restart)
	return r
}

// Trace asks hop after hop.
func (c *control) Trace(ctx context.Context, r *v1.TraceRequest, send func(*v1.TraceHop) error) error {
	dest, err := sdk.ParseNodeID(r.Node)
	if err != nil {
		return &localapi.Error{Code: sdk.InvalidArgument, Text: err.Error()}
	}
	timeout := 2 * time.Second
	if r.TimeoutS > 0 {
		timeout = time.Duration(r.TimeoutS * float64(time.Second))
	}
	at, been := c.h.Self(), map[sdk.NodeID]bool{}
	for !been[at] {
		been[at] = true
		hop := &v1.TraceHop{Node: at.String()}
		a, err := c.askHop(ctx, at, dest, timeout)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			hop.Verdict = "no answer"
			return send(hop)
		}
		hop.Answered, hop.Verdict, hop.RttMs = true, wire.TraceVerdict(a.Verdict), ms(a.RTT)
		if a.Verdict != wire.TraceNext {
			return send(hop)
		}
		hop.Next, hop.LinkRttMs, hop.Loss = a.Next.String(), float64(a.TraceAnswer.RTT)/1000, float64(a.Loss)/65535
		hop.MetricUs, hop.Hops, hop.Why = a.Metric, uint32(a.Hops), route.WhyText(a.Why)
		for _, o := range a.Others[:a.N] {
			hop.Alternates = append(hop.Alternates, &v1.TraceAlternate{Node: o.Node.String(), MetricUs: o.Metric})
		}
		if err := send(hop); err != nil {
			return err
		}
		at = a.Next
	}
	return &localapi.Error{Code: sdk.NoRoute, Text: at.Short() + " was on the way already: the routes change, or a node does not tell the truth; ask again"}
}

func (c *control) askHop(ctx context.Context, at, dest sdk.NodeID, timeout time.Duration) (host.HopAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return c.h.TraceHop(ctx, at, dest)
}

// seen is an event that the doctor may have to explain.
type seen struct {
	kernel.Trace
	at time.Duration
}

// seenMost and seenFor bound what is remembered of events.
const (
	seenMost = 256
	seenFor  = 5 * time.Minute
)

// remember keeps the events that explain failures until ctx ends.
func (c *control) remember(ctx context.Context) {
	events, cancel := c.h.Watch()
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-events:
			if !ok {
				return
			}
			switch e.Kind {
			case kernel.TraceHandshake, kernel.TraceRefused, kernel.TraceDenied, kernel.TraceMTU, kernel.TraceUnsupport:
				c.mu.Lock()
				c.seen = append(c.seen, seen{e, c.h.Now()})
				c.seen = c.seen[max(0, len(c.seen)-seenMost):]
				c.mu.Unlock()
			}
		}
	}
}

// lately gives the events of the last minutes.
func (c *control) lately() []seen {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.h.Now()
	return slices.DeleteFunc(slices.Clone(c.seen), func(s seen) bool { return now-s.at > seenFor })
}
