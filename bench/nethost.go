package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"nethost/host"
	"nethost/host/identity"
	"nethost/host/link"
	"nethost/host/module"
	"nethost/host/module/inproc"
	"nethost/sdk"
	"nethost/subprotocols/builtin/echo"
)

// sinkID is the subprotocol of the bench's own module; echo is the builtin one.
const sinkID sdk.ID = 0x1510

// nethostNode is an embedded host, as an application would embed it.
type nethostNode struct {
	h       *host.Host
	mod     *sinkModule
	sink    sdk.NodeID
	stream  bool // messages on a stream instead of datagram messages
	cancel  context.CancelFunc
	stopped chan error
}

func startNethost(gso link.GSO, stream bool) func(context.Context, Spec, *Meter) (Node, error) {
	return func(ctx context.Context, s Spec, m *Meter) (Node, error) {
		l, err := link.ListenUDP(s.Listen[s.Index], link.UDPOptions{GSO: gso})
		if err != nil {
			return nil, err
		}
		n := &nethostNode{stream: stream, stopped: make(chan error, 1), mod: newSinkModule(m)}
		n.sink = identity.NewKey(s.key(s.last())).ID()
		n.mod.sink = n.sink
		var peers []host.PeerAddr
		if !s.isSink() {
			peers = []host.PeerAddr{{Addr: s.Dial[s.Index+1], Node: identity.NewKey(s.key(s.Index + 1)).ID()}}
		}
		n.h, err = newHost(s.key(s.Index+1000*s.Salt), s.Seed, l, peers, n.mod, s.isSource() || s.isSink())
		if err != nil {
			return nil, err
		}
		ctx, n.cancel = context.WithCancel(ctx)
		go func() { n.stopped <- n.h.Run(ctx) }()
		return n, nil
	}
}

// newHost makes a host with echo and the sink module, or without modules: a relay
// needs none.
func newHost(key, network [32]byte, l link.Link, peers []host.PeerAddr, mod *sinkModule, modules bool) (*host.Host, error) {
	cfg := host.Config{Key: identity.NewKey(key), NetworkKey: identity.NetworkKey(sha256.Sum256(network[:])),
		Incarnation: uint64(time.Now().UnixNano()), Link: l, Peers: peers}
	if modules {
		factories := map[string]func() sdk.Module{"echo": echo.New, "sink": func() sdk.Module { return mod }}
		for _, name := range []string{"echo", "sink"} {
			cfg.Modules = append(cfg.Modules, module.BuiltinSpec(name, factories[name]().Describe(), module.Options{}))
		}
		cfg.Carriers = map[module.Kind]module.Carrier{module.Builtin: inproc.New(factories)}
	}
	return host.New(cfg)
}

func (n *nethostNode) Close() error {
	n.mod.close()
	n.cancel()
	return <-n.stopped
}

func (n *nethostNode) Open(ctx context.Context, svc Service, size int) (Stream, error) {
	t := host.Target{Node: n.sink, ID: sinkID, Method: "discard", Meta: binary.LittleEndian.AppendUint32(nil, uint32(size))}
	switch svc {
	case Echo:
		t = host.Target{Node: n.sink, ID: echo.ID}
	case Framed:
		t.Method = "framed"
	}
	return n.h.Open(ctx, t)
}

func (n *nethostNode) SendMessages(ctx context.Context, size int, p *Pacer) error {
	if n.stream {
		return sendFramed(ctx, n, size, p)
	}
	return n.mod.send(ctx, size, p)
}

// sinkModule counts what arrives and, at the source, sends messages: an ordinary
// module that drives itself by Work, whose function waits for the pacer.
type sinkModule struct {
	m    *Meter
	sink sdk.NodeID
	jobs chan *sendJob
	done chan struct{}
	once sync.Once

	peer    sdk.Peer // the sink; 0 while there is none
	job     *sendJob
	buf     []byte
	streams map[sdk.Ref]*sinkStream
}

type sendJob struct {
	size  int
	p     *Pacer
	ended chan struct{}
}

type sinkStream struct {
	framed bool
	f      framer
	total  uint64
}

// burst is how many messages go out in one batch of effects.
const burst = 64

func newSinkModule(m *Meter) *sinkModule {
	return &sinkModule{m: m, jobs: make(chan *sendJob), done: make(chan struct{}), streams: map[sdk.Ref]*sinkStream{}}
}

func (s *sinkModule) close() { s.once.Do(func() { close(s.done) }) }

// send runs one job to its end.
func (s *sinkModule) send(ctx context.Context, size int, p *Pacer) error {
	j := &sendJob{size, p, make(chan struct{})}
	select {
	case s.jobs <- j:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.done:
		return errors.New("the node is closed")
	}
	select {
	case <-j.ended:
		return nil
	case <-s.done:
		return errors.New("the node was closed")
	}
}

// Describe implements sdk.Module.
func (s *sinkModule) Describe() sdk.Descriptor {
	v := sdk.Version{Major: 1}
	return sdk.Descriptor{Name: "sink", Release: "1.0.0", Methods: []string{"discard", "framed"},
		Subprotocols: []sdk.Subprotocol{{ID: sinkID, Version: v, MinPeer: v}}}
}

// Handle implements sdk.Module.
func (s *sinkModule) Handle(env *sdk.Env, ev *sdk.Event) {
	switch ev.Kind {
	case sdk.EvMessage:
		s.m.Message(ev.Payload)
	case sdk.EvStart:
		env.Work(1, s.nextJob)
	case sdk.EvPeerUp:
		if info, err := sdk.ParsePeerInfo(ev.Payload); err == nil && info.Node == s.sink {
			s.peer = ev.Peer
		}
	case sdk.EvPeerDown:
		if ev.Peer == s.peer {
			s.peer = 0
		}
	case sdk.EvPosted:
		s.sendBurst(env, ev.Payload)
	case sdk.EvStreamOpen, sdk.EvStreamData, sdk.EvStreamReset:
		s.onStream(env, ev)
	case sdk.EvDrain:
		env.Drained()
	}
}

// nextJob waits for a job; it runs off the loop.
func (s *sinkModule) nextJob() []byte {
	select {
	case s.job = <-s.jobs:
		return s.take()
	case <-s.done:
		return nil
	}
}

// take waits for the pacer; it runs off the loop.
func (s *sinkModule) take() []byte {
	n := s.job.p.Take(burst)
	if n == 0 {
		close(s.job.ended)
	}
	return []byte{byte(n)}
}

func (s *sinkModule) sendBurst(env *sdk.Env, posted []byte) {
	if len(posted) == 0 {
		return // closed
	}
	if posted[0] == 0 {
		env.Work(1, s.nextJob)
		return
	}
	if len(s.buf) != s.job.size {
		s.buf = make([]byte, s.job.size)
	}
	for range posted[0] {
		s.job.p.Stamp(s.buf)
		if s.peer != 0 {
			env.Send(s.peer, sinkID, sdk.Realtime, s.buf)
		}
	}
	env.Work(1, s.take)
}

func (s *sinkModule) onStream(env *sdk.Env, ev *sdk.Event) {
	if ev.Kind == sdk.EvStreamOpen {
		o, err := sdk.ParseOpen(ev.Payload)
		if err != nil || len(o.Meta) != 4 {
			env.Reset(ev.Ref, sdk.InvalidArgument, "meta is the size of a message")
			return
		}
		s.streams[ev.Ref] = &sinkStream{framed: o.Method == "framed", f: framer{size: int(binary.LittleEndian.Uint32(o.Meta))}}
		return
	}
	st := s.streams[ev.Ref]
	if st == nil {
		return
	}
	if ev.Kind == sdk.EvStreamReset {
		delete(s.streams, ev.Ref)
		return
	}
	n := len(ev.Payload)
	if st.framed {
		st.f.feed(s.m, ev.Payload)
	} else {
		st.total += uint64(n)
		s.m.Bytes.Add(uint64(n))
	}
	if !ev.FIN() {
		env.Credit(ev.Ref, n)
		return
	}
	delete(s.streams, ev.Ref)
	var answer []byte
	if !st.framed {
		answer = binary.LittleEndian.AppendUint64(nil, st.total)
	}
	env.Write(ev.Ref, answer, true)
}
