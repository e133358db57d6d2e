package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"

	"nethost/host"
	"nethost/host/identity"
	"nethost/host/link"
	"nethost/host/module"
	"nethost/host/module/inproc"
	"nethost/host/module/process"
	"nethost/host/module/wasm"
	"nethost/host/store"
	"nethost/registry"
	"nethost/sdk"
	"nethost/sdk/client"
	"nethost/subprotocols/builtin"
)

// devNode is one of the two nodes of `nethost module dev`.
type devNode struct {
	*host.Host
	name string
	addr netip.AddrPort
	db   *store.Store
	out  *devPrinter
	done chan struct{} // closed when it has ended
}

// openDevNodes makes A and B; A dials B. Nothing runs yet.
func openDevNodes(tmp string, guests *wasm.Carrier, out *devPrinter) (a, b *devNode, err error) {
	carriers := map[module.Kind]module.Carrier{module.Builtin: inproc.New(builtin.All()), module.Wasm: guests, module.Process: process.New(process.Options{})}
	var network identity.NetworkKey
	var keys [2]*identity.Key
	names := devNames{}
	for i, name := range []string{"A", "B"} {
		var seed [32]byte
		_, _ = rand.Read(seed[:]) // never fails
		keys[i] = identity.NewKey(seed)
		names[keys[i].ID()] = name
	}
	_, _ = rand.Read(network[:])
	open := func(i int, peers ...host.PeerAddr) (*devNode, error) {
		return openDevNode(filepath.Join(tmp, names[keys[i].ID()]), names, host.Config{Key: keys[i], NetworkKey: network, Carriers: carriers, Peers: peers}, out)
	}
	if b, err = open(1); err != nil {
		return nil, nil, err
	}
	if a, err = open(0, host.PeerAddr{Addr: b.addr, Node: b.Self()}); err != nil {
		b.abandon()
		return nil, nil, err
	}
	return a, b, nil
}

// openDevNode makes a node whose module is watched.
func openDevNode(dir string, names devNames, cfg host.Config, out *devPrinter) (*devNode, error) {
	n := &devNode{name: names[cfg.Key.ID()], out: out, done: make(chan struct{})}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	if n.db, err = store.Open(filepath.Join(dir, "state.db")); err != nil {
		return nil, err
	}
	udp, err := link.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"), link.UDPOptions{GSO: link.GSOAuto})
	if err != nil {
		return nil, errors.Join(err, n.db.Close())
	}
	n.addr = udp.LocalAddr()
	watched := map[module.Kind]module.Carrier{}
	for kind, c := range cfg.Carriers {
		watched[kind] = devCarrier{c, n.name, names, out}
	}
	cfg.Link, cfg.Incarnation, cfg.Carriers = udp, 1, watched
	cfg.State = func(name string) module.State { return n.db.Module(name) }
	cfg.Log = slog.New(out.logger(n.name))
	if n.Host, err = host.New(cfg); err != nil {
		return nil, errors.Join(err, udp.Close(), n.db.Close())
	}
	return n, nil
}

// abandon closes a node that never ran.
func (n *devNode) abandon() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = n.serve(ctx)
}

// serve runs the node until ctx ends.
func (n *devNode) serve(ctx context.Context) error {
	defer close(n.done)
	err := n.Run(ctx)
	return errors.Join(err, n.db.Close())
}

// take lets a version take over, or starts the first one.
func (n *devNode) take(ctx context.Context, spec module.Spec, force bool) error {
	var names []string
	if force {
		names = []string{spec.Name}
	}
	for _, c := range n.Modules().Sync(ctx, []module.Spec{spec}, names, nil) {
		if c.Err != nil {
			return fmt.Errorf("%s: %w", n.name, c.Err)
		}
		if c.Name != spec.Name {
			continue
		}
		for _, m := range n.Modules().List() {
			if m.Name == spec.Name && m.State != module.StateReady {
				return fmt.Errorf("%s: module %s is %v: %s", n.name, spec.Name, m.State, m.LastError)
			}
		}
		n.out.taken(n.name, c)
	}
	return nil
}

// agree waits until the two nodes have agreed about the module's ids.
func (n *devNode) agree(ctx context.Context, with *devNode, spec module.Spec) error {
	why := "they have no session"
	err := poll(ctx, devReady, "A and B agree", func() bool {
		for _, p := range n.Snapshot().Peers {
			if p.Node != with.Self() {
				continue
			}
			for _, s := range spec.Subprotocols {
				why = fmt.Sprintf("%v is not negotiated yet", s.ID)
				for _, o := range p.Outcomes {
					if o.ID == s.ID && o.State == registry.StateAgreed {
						why = ""
					} else if o.ID == s.ID {
						why = fmt.Sprintf("%v: %v", s.ID, o.State)
					}
				}
				if why != "" {
					return false
				}
			}
			return true
		}
		return false
	})
	if errors.Is(err, errWaited) {
		err = fmt.Errorf("%w: %s", err, why)
	}
	return err
}

// call sends bytes to a module of another node and gives its answer.
func (n *devNode) call(ctx context.Context, to sdk.NodeID, id sdk.ID, method string, b []byte) ([]byte, error) {
	answer, err := n.exchange(ctx, to, id, method, b)
	var why *host.StreamError
	if errors.As(err, &why) && ctx.Err() == nil {
		return nil, &client.Error{Code: why.Code, Text: why.Error()} // for the exit code
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return answer, err
}

func (n *devNode) exchange(ctx context.Context, to sdk.NodeID, id sdk.ID, method string, b []byte) ([]byte, error) {
	s, err := n.Open(ctx, host.Target{Node: to, ID: id, Method: method})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	defer context.AfterFunc(ctx, func() { s.Close() })()
	if _, err := s.Write(b); err != nil {
		return nil, err
	}
	if err := s.CloseWrite(); err != nil {
		return nil, err
	}
	return io.ReadAll(s)
}
