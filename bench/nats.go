package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// natsNode is a broker, a client, or both. In a line A and B are clients and each
// relay is a server, joined to the next one as a leaf node; with no relay the sink's
// process holds the one server there must be.
type natsNode struct {
	srv *server.Server
	nc  *nats.Conn
	url string
	tls *tls.Config
	m   *Meter
}

const (
	natsData = "data"
	natsEcho = "echo"
)

func startNATS(secure bool) func(context.Context, Spec, *Meter) (Node, error) {
	return func(ctx context.Context, s Spec, m *Meter) (Node, error) {
		n := &natsNode{m: m}
		if secure {
			conf, err := s.tlsFor()
			if err != nil {
				return nil, err
			}
			conf.NextProtos = nil
			n.tls = conf
		}
		direct := s.last() == 1
		if !s.isSource() && (!s.isSink() || direct) {
			if err := n.serve(s, !direct); err != nil {
				return nil, err
			}
		}
		switch {
		case s.isSource():
			n.url = "nats://" + s.Dial[1].String()
		case s.isSink() && direct:
			n.url = "nats://" + s.Listen[s.Index].String()
		case s.isSink():
			n.url = "nats://" + s.Dial[s.Index-1].String()
		}
		if s.isSink() {
			return n, n.listen(ctx)
		}
		return n, nil
	}
}

// serve runs the broker of a relay.
func (n *natsNode) serve(s Spec, leafs bool) error {
	at := s.Listen[s.Index]
	o := &server.Options{ServerName: fmt.Sprintf("node%d", s.Index), Host: at.Addr().String(), Port: int(at.Port()), NoLog: true, NoSigs: true,
		MaxPayload: 8 << 20, MaxPending: 256 << 20}
	if n.tls != nil {
		o.TLSConfig, o.TLS, o.TLSVerify, o.TLSTimeout = n.tls, true, true, 5
	}
	if leafs {
		alt := s.Alt[s.Index]
		o.LeafNode = server.LeafNodeOpts{Host: alt.Addr().String(), Port: int(alt.Port()), ReconnectInterval: 100 * time.Millisecond,
			TLSConfig: n.tls, TLSTimeout: 5, Compression: server.CompressionOpts{Mode: server.CompressionOff}}
		if s.Index+1 < s.last() {
			o.LeafNode.Remotes = []*server.RemoteLeafOpts{n.remote(s.Alt[s.Index+1])}
		}
	}
	srv, err := server.NewServer(o)
	if err != nil {
		return err
	}
	n.srv = srv
	go srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		return errors.New("nats-server did not come up")
	}
	return nil
}

func (n *natsNode) remote(at netip.AddrPort) *server.RemoteLeafOpts {
	r := &server.RemoteLeafOpts{URLs: []*url.URL{{Scheme: "nats-leaf", Host: at.String()}},
		Compression: server.CompressionOpts{Mode: server.CompressionOff}}
	if n.tls != nil {
		r.TLS, r.TLSConfig, r.TLSTimeout = true, n.tls, 5
	}
	return r
}

func (n *natsNode) connect(ctx context.Context) error {
	if n.nc != nil {
		return nil
	}
	opts := []nats.Option{nats.NoEcho()}
	if n.tls != nil {
		opts = append(opts, nats.Secure(n.tls))
	}
	return retry(ctx, func(context.Context) (err error) {
		n.nc, err = nats.Connect(n.url, opts...)
		return err
	})
}

// listen answers as the sink.
func (n *natsNode) listen(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := n.connect(ctx); err != nil {
		return err
	}
	data, err := n.nc.Subscribe(natsData, func(msg *nats.Msg) { n.m.Message(msg.Data) })
	if err != nil {
		return err
	}
	_ = data.SetPendingLimits(-1, -1)
	ping, err := n.nc.Subscribe(natsEcho, func(msg *nats.Msg) { _ = n.nc.Publish(msg.Reply, msg.Data) })
	if err != nil {
		return err
	}
	_ = ping.SetPendingLimits(-1, -1)
	return n.nc.Flush()
}

func (n *natsNode) Close() error {
	if n.nc != nil {
		n.nc.Close()
	}
	if n.srv != nil {
		n.srv.Shutdown()
	}
	return nil
}

func (n *natsNode) SendMessages(ctx context.Context, size int, p *Pacer) error {
	if err := n.connect(ctx); err != nil {
		return err
	}
	buf := make([]byte, size)
	for {
		k := p.Take(64)
		if k == 0 {
			return nil
		}
		for range k {
			p.Stamp(buf)
			if err := n.nc.Publish(natsData, buf); err != nil {
				return err
			}
		}
	}
}

// Open gives Echo only, as requests with one inbox for all answers: NATS has no
// streams and no back pressure.
func (n *natsNode) Open(ctx context.Context, svc Service, _ int) (Stream, error) {
	if svc != Echo {
		return nil, errors.ErrUnsupported
	}
	if err := n.connect(ctx); err != nil {
		return nil, err
	}
	s := &natsStream{nc: n.nc, inbox: nats.NewInbox()}
	var err error
	if s.sub, err = n.nc.SubscribeSync(s.inbox); err != nil {
		return nil, err
	}
	return s, s.sub.SetPendingLimits(-1, -1)
}

type natsStream struct {
	nc    *nats.Conn
	inbox string
	sub   *nats.Subscription
	rest  []byte
}

func (s *natsStream) Write(b []byte) (int, error) {
	return len(b), s.nc.PublishRequest(natsEcho, s.inbox, b)
}

func (s *natsStream) Read(b []byte) (int, error) {
	for len(s.rest) == 0 {
		msg, err := s.sub.NextMsg(time.Second)
		if err != nil {
			return 0, errors.Join(io.ErrUnexpectedEOF, err)
		}
		if msg.Header != nil { // nobody listens yet
			return 0, io.ErrUnexpectedEOF
		}
		s.rest = msg.Data
	}
	k := copy(b, s.rest)
	s.rest = s.rest[k:]
	return k, nil
}

func (s *natsStream) CloseWrite() error { return nil }
func (s *natsStream) Close() error      { return s.sub.Unsubscribe() }
