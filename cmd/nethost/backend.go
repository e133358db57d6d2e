package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"nethost/host"
	"nethost/host/kernel"
	"nethost/host/link"
	"nethost/host/localapi"
	"nethost/host/module"
	"nethost/registry"
	"nethost/sdk"
	v1 "nethost/sdk/client/nethostv1"
)

// startPatience is how long a call waits for a module that is starting.
const startPatience = 30 * time.Second

// backend shows a host to the local API.
type backend struct {
	*control
	h       *host.Host
	plugins *catalogue
	open    bool
	stop    func() // ends the node
	inviter
}

var (
	_ localapi.Backend = (*backend)(nil)
	_ localapi.Swarm   = (*backend)(nil)
)

// apiStream gives a host's stream the errors of the local API.
type apiStream struct{ *host.Stream }

func (s apiStream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	return n, apiError(err)
}

func (s apiStream) Write(p []byte) (int, error) {
	n, err := s.Stream.Write(p)
	return n, apiError(err)
}

func apiError(err error) error {
	var e *host.StreamError
	if errors.As(err, &e) {
		text := e.Error()
		if e.Text == e.Code.String() {
			text = e.Text
		}
		return &localapi.Error{Code: e.Code, Text: text}
	}
	return err
}

func (b *backend) Open(ctx context.Context, t *v1.Target) (localapi.Stream, error) {
	var target host.Target
	if t.Node != "" {
		node, err := sdk.ParseNodeID(t.Node)
		if err != nil {
			return nil, &localapi.Error{Code: sdk.InvalidArgument, Text: err.Error()}
		}
		target.Node = node
	}
	id, method, err := b.h.Resolve(t.Module)
	if err != nil {
		return nil, &localapi.Error{Code: sdk.NotFound, Text: err.Error()}
	}
	if t.Method != "" {
		method = t.Method
	}
	target.ID, target.Method, target.Meta = id, method, t.Meta
	target.Deadline = time.Duration(t.TimeoutS * float64(time.Second))
	if t.Node == "" {
		b.awaitStart(ctx, id)
	}
	s, err := b.h.Open(ctx, target)
	if err != nil {
		return nil, apiError(err)
	}
	return apiStream{s}, nil
}

// awaitStart waits while the module that holds an id is starting: who calls right
// after the node came up means the module, not the moment.
func (b *backend) awaitStart(ctx context.Context, id sdk.ID) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for slices.ContainsFunc(b.h.Modules().List(), func(m module.Info) bool {
		return (m.State == module.StateVerified || m.State == module.StateStarting) && slices.ContainsFunc(m.Subprotocols, func(p sdk.Subprotocol) bool { return p.ID == id })
	}) {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (b *backend) Watch(ctx context.Context, send func(*v1.Event) error) error {
	events, cancel := b.h.Watch()
	defer cancel()
	if err := send(&v1.Event{AtS: b.h.Now().Seconds()}); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-events:
			if !ok {
				return nil
			}
			m := &v1.Event{AtS: b.h.Now().Seconds(), Kind: string(e.Kind), Text: e.Text}
			if !e.Node.IsZero() {
				m.Node = e.Node.String()
			}
			if e.Addr.IsValid() {
				m.Addr = e.Addr.String()
			}
			if err := send(m); err != nil {
				return err
			}
		}
	}
}

func (b *backend) Status() *v1.StatusResponse {
	s := b.h.Snapshot()
	r := &v1.StatusResponse{Node: s.Node.String(), Version: release, Incarnation: s.Incarnation, Listen: s.Addr.String(),
		UptimeS: s.Uptime.Seconds(), Relay: s.Relay, Peers: uint32(len(s.Peers)), Routes: uint32(len(s.Routes)),
		Modules: uint32(len(s.Modules)), PacketsIn: s.Counters.PacketsIn, PacketsOut: s.Counters.PacketsOut,
		Forwarded: s.Counters.Forwarded, ForwardedBytes: s.Counters.ForwardedBytes, Delivered: s.Counters.Delivered,
		Handshakes: s.Counters.Handshakes, Reroutes: s.Counters.Reroutes, Drops: map[string]uint64{}, OpenNetwork: b.open, Link: linkOf(s.Link), KillSwitch: s.Killed, Swarm: swarmOf(s.Swarm)}
	for _, m := range s.Modules {
		if m.State == module.StateReady {
			r.ModulesReady++
		}
	}
	s.Counters.DropReasons(func(name string, n uint64) {
		if n > 0 {
			r.Drops[name] = n
		}
	})
	for name, n := range map[string]uint64{"queue_late": s.Outbox.Late, "queue_overflow": s.Outbox.Overflow} {
		if n > 0 {
			r.Drops[name] = n
		}
	}
	for _, d := range s.Dials {
		dial := &v1.Dial{Addr: d.Addr.String(), Error: d.Error}
		if !d.Node.IsZero() {
			dial.Node = d.Node.String()
		}
		if dial.Error == "" && !slices.ContainsFunc(s.Peers, func(p kernel.PeerStatus) bool {
			return p.Direct && (p.Addr == d.Addr || p.Node == d.Node)
		}) {
			dial.Error = "no answer: is a node of this network, with that NodeID, at this address?"
		}
		r.Dials = append(r.Dials, dial)
	}
	return r
}

func linkOf(s link.Stats) *v1.Link {
	return &v1.Link{Mode: s.Mode, Note: s.Note, Overflows: s.Overflows, ReadCalls: s.ReadCalls, WriteCalls: s.WriteCalls,
		DatagramsIn: s.DatagramsIn, DatagramsOut: s.DatagramsOut}
}

func swarmOf(s kernel.Swarm) *v1.Swarm {
	return &v1.Swarm{Profile: s.Profile, DeadAfterMs: ms(s.DeadAfter), HealthFactor: uint32(s.HealthFactor), LatestTimerMs: ms(s.LatestTimer),
		Neighbors: uint32(s.Neighbors), Suspects: uint32(s.Suspects), Repairs: uint32(s.Repairs), Twin: s.Twin, Origins: uint32(s.Origins),
		OriginsFull: s.OriginsFull, OriginsForgot: s.OriginsForgot}
}

func (b *backend) Peers() *v1.PeersResponse {
	s := b.h.Snapshot()
	r := &v1.PeersResponse{Link: linkOf(s.Link)}
	for _, p := range s.Peers {
		m := &v1.Peer{Node: p.Node.String(), Direct: p.Direct, State: "via relay", RttMs: ms(p.RTT), RttVarMs: ms(p.RTTVar),
			LastHeardMs: ms(p.LastHeard), RxBytes: p.RxBytes, TxBytes: p.TxBytes, RxPackets: p.RxPackets, TxPackets: p.TxPackets,
			LostPackets: p.Mux.Lost, Streams: uint32(p.Streams), SessionAgeS: p.Age.Seconds(), Incarnation: p.Incarnation, Mtu: uint32(p.MTU)}
		if p.Direct {
			m.State, m.Addr = p.State.String(), p.Addr.String()
		}
		if !p.Via.IsZero() {
			m.Via = p.Via.String()
		}
		r.Peers = append(r.Peers, m)
	}
	return r
}

func (b *backend) Routes() *v1.RoutesResponse {
	r := &v1.RoutesResponse{}
	for _, x := range b.h.Snapshot().Routes {
		m := &v1.Route{Node: x.Dest.String(), Via: x.Via.String(), MetricUs: x.Metric, Hops: uint32(x.Hops), Mtu: uint32(x.MTU),
			Incarnation: x.Incarnation, Sequence: x.Seq, AgeS: x.Age.Seconds(), Why: x.Why}
		for _, a := range x.Alts {
			m.Alternates = append(m.Alternates, a.String())
		}
		r.Routes = append(r.Routes, m)
	}
	return r
}

func (b *backend) Sessions() *v1.SessionsResponse {
	s := b.h.Snapshot()
	r := &v1.SessionsResponse{}
	for _, p := range s.Peers {
		m := &v1.Session{Node: p.Node.String(), Agreed: p.Agreed, OurEpoch: s.Manifest.Epoch, TheirEpoch: p.Theirs.Epoch}
		for _, o := range p.Outcomes {
			m.Ids = append(m.Ids, b.agreement(o, s.Manifest, p.Theirs))
		}
		r.Sessions = append(r.Sessions, m)
	}
	for _, p := range s.Refused {
		m := &v1.Session{Node: p.Node.String(), OurEpoch: s.Manifest.Epoch, TheirEpoch: p.Theirs.Epoch}
		for _, o := range p.Outcomes {
			a := b.agreement(o, s.Manifest, p.Theirs)
			if a.Effective, a.Why = "", "the session was refused"; o.Required && o.State != registry.StateAgreed {
				a.Why = p.Why
			}
			m.Ids = append(m.Ids, a)
		}
		r.Sessions = append(r.Sessions, m)
	}
	return r
}

func (b *backend) agreement(o registry.Outcome, ours, theirs registry.Manifest) *v1.Agreement {
	a := &v1.Agreement{Id: o.ID.String(), Ours: versions(ours, o.ID), Theirs: versions(theirs, o.ID)}
	for _, m := range b.h.Modules().List() {
		for _, s := range m.Subprotocols {
			if s.ID == o.ID {
				a.Module, a.Carrier = m.Name, string(m.Kind)
			}
		}
	}
	switch o.State {
	case registry.StateAgreed:
		a.Effective = o.Version.String()
	case registry.StateMismatch:
		a.Why = "no common version"
	default:
		a.Why = "the peer does not have it"
		if a.Ours == "" {
			a.Why = "not on this node"
		}
	}
	return a
}

// versions lists a manifest's versions of an id, with what each accepts.
func versions(m registry.Manifest, id sdk.ID) string {
	out := ""
	for _, l := range m.Lines {
		if l.ID != id {
			continue
		}
		if out != "" {
			out += ","
		}
		out += l.Version.String()
		if l.MinPeer != l.Version {
			out += fmt.Sprintf("(from %s)", l.MinPeer)
		}
	}
	return out
}

func (b *backend) Modules() *v1.ModulesResponse {
	r := &v1.ModulesResponse{}
	for _, m := range b.h.Snapshot().Modules {
		x := &v1.Module{Name: m.Name, Release: m.Release, Publisher: m.Publisher, Carrier: string(m.Kind), State: m.State.String(),
			Methods: m.Methods, Grants: m.Grants, Restarts: m.Restarts, LastError: m.LastError, Events: m.Events,
			Effects: m.Effects, Denied: m.Denied, Dropped: m.Dropped, Mailbox: uint32(m.Mailbox), Counters: m.Counters}
		for _, s := range m.Subprotocols {
			x.Ids = append(x.Ids, s.ID.String()+"@"+s.Version.String())
		}
		r.Modules = append(r.Modules, x)
	}
	for _, j := range b.plugins.refused() {
		r.Rejected = append(r.Rejected, &v1.Rejection{Dir: j.Dir, File: j.File, Line: uint32(j.Line), Reason: j.Reason})
	}
	return r
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
