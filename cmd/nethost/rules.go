package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"nethost/host/impair"
	"nethost/host/kernel"
	"nethost/host/localapi"
	"nethost/sdk"
	v1 "nethost/sdk/client/nethostv1"
)

// rulesFile holds what `nethost peer`, `nethost kill-switch` and `nethost relay`
// changed. It lies beside the configuration, is read at every start, and is stronger.
const rulesFile = "rules.json"

// ruleFile is its content. Zero says nothing.
type ruleFile struct {
	KillSwitch *bool             `json:"kill_switch,omitempty"`
	Relay      *bool             `json:"relay,omitempty"`
	RelayQuota *uint64           `json:"relay_quota,omitempty"` // bytes a second
	Block      []string          `json:"block,omitempty"`
	Limits     map[string]uint64 `json:"limits,omitempty"` // bytes a second, by NodeID
}

// autonomyDefaults are the keys of [autonomy].
func autonomyDefaults() map[string]any {
	return map[string]any{"autonomy.relay_quota": "", "autonomy.neighbor_rate": "", "autonomy.peer_rate": "",
		"autonomy.allow": []string{}, "autonomy.deny": []string{}, "autonomy.reject": []string{}, "autonomy.redirect": []string{},
		"autonomy.trace": true, "autonomy.kill_switch": false}
}

// autonomy reads [autonomy] and relay into the policy that they are.
func (l *layers) autonomy(boolean func(key string) bool) kernel.Policy {
	p := kernel.Policy{NoRelay: !boolean("relay"), NoTrace: !boolean("autonomy.trace"), Killed: boolean("autonomy.kill_switch")}
	rate := func(key string) (n uint64) {
		if s := l.k.String(key); s != "" {
			var err error
			if n, err = parseRate(s); err != nil {
				l.fault(key, "%s = %w", key, err)
			}
		}
		return n
	}
	p.RelayRate, p.NeighborRate, p.PeerRate = rate("autonomy.relay_quota"), rate("autonomy.neighbor_rate"), rate("autonomy.peer_rate")
	nodes := func(key string) (list []sdk.NodeID) {
		for _, s := range l.k.Strings(key) {
			id, err := sdk.ParseNodeID(s)
			if err != nil {
				l.fault(key, "%s: %q: %w", key, s, err)
				continue
			}
			list = append(list, id)
		}
		return list
	}
	p.Allow, p.Deny = nodes("autonomy.allow"), nodes("autonomy.deny")
	for _, s := range l.k.Strings("autonomy.reject") {
		id, err := sdk.ParseID(s)
		if err != nil {
			l.fault("autonomy.reject", "autonomy.reject: %w", err)
			continue
		}
		p.Reject = append(p.Reject, id)
	}
	for _, s := range l.k.Strings("autonomy.redirect") {
		r, err := parseRedirect(s)
		if err != nil {
			l.fault("autonomy.redirect", "autonomy.redirect: %w", err)
			continue
		}
		p.Redirects = append(p.Redirects, r)
	}
	return p
}

// parseRate reads bytes a second, such as "10MiB".
func parseRate(s string) (uint64, error) {
	n, err := impair.ParseSize(strings.TrimSuffix(s, "/s"))
	if err != nil || n < 1000 && n != 0 {
		return 0, fmt.Errorf("%q: want bytes a second, at least 1KB, such as 10MiB", s)
	}
	return uint64(n), nil
}

// parseRedirect reads "0x1001" or "0x1001=NODEID".
func parseRedirect(s string) (kernel.Redirect, error) {
	name, node, named := strings.Cut(s, "=")
	id, err := sdk.ParseID(name)
	if err != nil {
		return kernel.Redirect{}, fmt.Errorf(`%q: want an id such as "0x1001", or "0x1001=NODEID": %w`, s, err)
	}
	r := kernel.Redirect{ID: id}
	if named {
		if r.To, err = sdk.ParseNodeID(node); err != nil {
			return r, fmt.Errorf("%q: %w", s, err)
		}
	}
	return r, nil
}

// readRules reads the rules of a data directory; none is no rules.
func readRules(data string) (ruleFile, error) {
	var r ruleFile
	path := filepath.Join(data, rulesFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("rules: %w", err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("rules %s: %w: mend it, or remove it and block again with `nethost peer block`", path, err)
	}
	for _, s := range append(slices.Clone(r.Block), slices.Sorted(maps.Keys(r.Limits))...) {
		if _, err := sdk.ParseNodeID(s); err != nil {
			return r, fmt.Errorf("rules %s: %q: %w", path, s, err)
		}
	}
	return r, nil
}

func (r *ruleFile) write(data string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return writeAtomic(filepath.Join(data, rulesFile), string(b)+"\n", 0o600)
}

// policy adds the rules to what the configuration says. readRules has checked them.
func (r *ruleFile) policy(p kernel.Policy) kernel.Policy {
	p.Deny, p.Limits = slices.Clone(p.Deny), nil
	for _, s := range r.Block {
		if id, err := sdk.ParseNodeID(s); err == nil && !slices.Contains(p.Deny, id) {
			p.Deny = append(p.Deny, id)
		}
	}
	for _, s := range slices.Sorted(maps.Keys(r.Limits)) {
		if id, err := sdk.ParseNodeID(s); err == nil {
			p.Limits = append(p.Limits, kernel.Limit{Node: id, Rate: r.Limits[s]})
		}
	}
	if r.KillSwitch != nil {
		p.Killed = *r.KillSwitch
	}
	if r.Relay != nil {
		p.NoRelay = !*r.Relay
	}
	if r.RelayQuota != nil {
		p.RelayRate = *r.RelayQuota
	}
	return p
}

// change gives the rules after a change; base is what the configuration says, self
// this node.
func (r *ruleFile) change(m *v1.ChangeRulesRequest, base kernel.Policy, self sdk.NodeID) (ruleFile, error) {
	n := *r
	n.Block, n.Limits = slices.Clone(r.Block), maps.Clone(r.Limits)
	wrong := func(format string, a ...any) (ruleFile, error) {
		return n, &localapi.Error{Code: sdk.InvalidArgument, Text: fmt.Sprintf(format, a...)}
	}
	node := m.GetBlock() + m.GetUnblock() + m.GetLimit().GetNode()
	id, err := sdk.ParseNodeID(node)
	switch c := m.Change.(type) {
	case *v1.ChangeRulesRequest_Block, *v1.ChangeRulesRequest_Unblock, *v1.ChangeRulesRequest_Limit_:
		if err != nil {
			return wrong("%q: %v", node, err)
		}
		if id == self {
			return wrong("%s is this node itself", id.Short())
		}
	case *v1.ChangeRulesRequest_KillSwitch:
		n.KillSwitch = &c.KillSwitch
		return n, nil
	case *v1.ChangeRulesRequest_Relay:
		if c.Relay.Forget {
			n.Relay, n.RelayQuota = nil, nil
		}
		if c.Relay.On != nil {
			n.Relay = c.Relay.On
		}
		if c.Relay.Quota != nil {
			n.RelayQuota = c.Relay.Quota
		}
		return n, nil
	default:
		return wrong("no change is named")
	}
	switch c := m.Change.(type) {
	case *v1.ChangeRulesRequest_Block:
		if !slices.Contains(n.Block, node) {
			n.Block = append(n.Block, node)
			slices.Sort(n.Block)
		}
	case *v1.ChangeRulesRequest_Unblock:
		if slices.Contains(base.Deny, id) {
			return wrong("%s is denied by autonomy.deny of the configuration: remove it there, then `nethost reload`", id.Short())
		}
		if !slices.Contains(n.Block, node) {
			return wrong("%s is not blocked: `nethost peer ls` lists who is", id.Short())
		}
		n.Block = slices.DeleteFunc(n.Block, func(s string) bool { return s == node })
	case *v1.ChangeRulesRequest_Limit_:
		if c.Limit.Rate == 0 {
			delete(n.Limits, node)
		} else if n.Limits == nil {
			n.Limits = map[string]uint64{node: c.Limit.Rate}
		} else {
			n.Limits[node] = c.Limit.Rate
		}
	}
	return n, nil
}

// rulesOf lists a policy; base is the part that the configuration says.
func rulesOf(p, base kernel.Policy) *v1.RulesResponse {
	r := &v1.RulesResponse{KillSwitch: p.Killed, Relay: !p.NoRelay, RelayQuota: p.RelayRate, NeighborRate: p.NeighborRate,
		PeerRate: p.PeerRate, Trace: !p.NoTrace}
	for _, id := range p.Allow {
		r.Nodes = append(r.Nodes, &v1.Rule{Node: id.String(), Rule: "allowed", From: "autonomy.allow"})
	}
	for _, id := range p.Deny {
		rule := &v1.Rule{Node: id.String(), Rule: "blocked", From: "nethost peer block"}
		if slices.Contains(base.Deny, id) {
			rule.Rule, rule.From = "denied", "autonomy.deny"
		}
		r.Nodes = append(r.Nodes, rule)
	}
	for _, l := range p.Limits {
		r.Nodes = append(r.Nodes, &v1.Rule{Node: l.Node.String(), Rule: "limited", Rate: l.Rate, From: "nethost peer limit"})
	}
	for _, id := range p.Reject {
		r.Reject = append(r.Reject, id.String())
	}
	for _, d := range p.Redirects {
		s := d.ID.String()
		if !d.To.IsZero() {
			s += "=" + d.To.String()
		}
		r.Redirect = append(r.Redirect, s)
	}
	return r
}

// writeAtomic replaces a file: whoever reads it, a machine that lost its power
// included, finds the old text or the new one.
func writeAtomic(path, text string, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the names in a directory last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
