package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net/netip"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/multiformats/go-multiaddr"
)

const p2pProtocol = "/bench/1"

// p2pNode is go-libp2p over TCP with Noise and yamux; through one relay with
// circuit v2, whose limits of 128 KiB and two minutes are lifted.
type p2pNode struct {
	h      host.Host
	relay  *relay.Relay
	sink   peer.ID
	dial   multiaddr.Multiaddr
	cancel context.CancelFunc
}

func p2pKey(s Spec, i int) (crypto.PrivKey, peer.ID, error) {
	seed := s.key(i)
	key, err := crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		return nil, "", err
	}
	id, err := peer.IDFromPrivateKey(key)
	return key, id, err
}

func p2pAddr(a netip.AddrPort) string { return fmt.Sprintf("/ip4/%s/tcp/%d", a.Addr(), a.Port()) }

func startLibp2p(ctx context.Context, s Spec, m *Meter) (Node, error) {
	key, _, err := p2pKey(s, s.Index)
	if err != nil {
		return nil, err
	}
	opts := []libp2p.Option{libp2p.Identity(key), libp2p.Transport(tcp.NewTCPTransport), libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport), libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.ConnectionManager(connmgr.NullConnMgr{}), libp2p.DisableMetrics()}
	if s.isSource() {
		opts = append(opts, libp2p.NoListenAddrs, libp2p.EnableRelay()) // NoListenAddrs turns the relay client off
	} else {
		opts = append(opts, libp2p.ListenAddrStrings(p2pAddr(s.Listen[s.Index])))
	}
	n := &p2pNode{}
	if n.h, err = libp2p.New(opts...); err != nil {
		return nil, err
	}
	ctx, n.cancel = context.WithCancel(ctx)
	_, n.sink, err = p2pKey(s, s.last())
	if err != nil {
		return nil, err
	}
	relayed := s.last() == 2
	switch {
	case s.isSink():
		n.h.SetStreamHandler(p2pProtocol, func(st network.Stream) { _ = serve(st, m) })
		if relayed {
			go n.reserve(ctx, s)
		}
	case s.isSource():
		_, next, err := p2pKey(s, 1)
		if err != nil {
			return nil, err
		}
		n.dial, err = multiaddr.NewMultiaddr(p2pAddr(s.Dial[1]) + "/p2p/" + next.String())
		if err == nil && relayed {
			n.dial, err = multiaddr.NewMultiaddr(n.dial.String() + "/p2p-circuit/p2p/" + n.sink.String())
		}
		if err != nil {
			return nil, err
		}
	default:
		if n.relay, err = relay.New(n.h, relay.WithInfiniteLimits()); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// reserve keeps a place at the relay.
func (n *p2pNode) reserve(ctx context.Context, s Spec) {
	_, id, err := p2pKey(s, 1)
	if err != nil {
		return
	}
	addr, err := multiaddr.NewMultiaddr(p2pAddr(s.Dial[1]))
	if err != nil {
		return
	}
	_ = retry(ctx, func(ctx context.Context) error {
		_, err := client.Reserve(ctx, n.h, peer.AddrInfo{ID: id, Addrs: []multiaddr.Multiaddr{addr}})
		return err
	})
}

func (n *p2pNode) Close() error {
	n.cancel()
	if n.relay != nil {
		n.relay.Close()
	}
	return n.h.Close()
}

func (n *p2pNode) Open(ctx context.Context, svc Service, size int) (Stream, error) {
	info, err := peer.AddrInfoFromP2pAddr(n.dial)
	if err != nil {
		return nil, err
	}
	ctx = network.WithAllowLimitedConn(ctx, "bench")
	if err := n.h.Connect(ctx, *info); err != nil {
		return nil, err
	}
	s, err := n.h.NewStream(ctx, n.sink, p2pProtocol)
	if err != nil {
		return nil, err
	}
	_, err = s.Write(appendHead(svc, size))
	return s, err
}

func (n *p2pNode) SendMessages(ctx context.Context, size int, p *Pacer) error {
	return sendFramed(ctx, n, size, p)
}
