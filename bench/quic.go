package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// quicNode is quic-go. A relay of a line is an application that accepts one
// connection and opens the next: QUIC itself has no relays, and such a one reads
// everything.
type quicNode struct {
	datagrams bool // messages as DATAGRAM frames, else on a stream
	m         *Meter
	tr        *quic.Transport
	tls       *tls.Config
	next      netip.AddrPort
	cancel    context.CancelFunc

	mu   sync.Mutex
	conn *quic.Conn // to the next node
}

// narrowEnv asks for the smallest first packets that QUIC allows, for paths on which
// the default of 1280 bytes would not even begin.
const narrowEnv = "BENCH_NARROW=1"

func quicConfig() *quic.Config {
	c := &quic.Config{EnableDatagrams: true, MaxIncomingStreams: 10000, MaxIdleTimeout: time.Minute,
		HandshakeIdleTimeout: 5 * time.Second}
	if slices.Contains(os.Environ(), narrowEnv) {
		c.InitialPacketSize = 1200
	}
	return c
}

func startQUIC(datagrams bool) func(context.Context, Spec, *Meter) (Node, error) {
	return func(ctx context.Context, s Spec, m *Meter) (Node, error) {
		conf, err := s.tlsFor()
		if err != nil {
			return nil, err
		}
		c, err := listenUDP(s.Listen[s.Index])
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithCancel(ctx)
		n := &quicNode{datagrams: datagrams, m: m, tr: &quic.Transport{Conn: c}, tls: conf, cancel: cancel}
		if !s.isSink() {
			n.next = s.Dial[s.Index+1]
		}
		if !s.isSource() {
			l, err := n.tr.Listen(conf, quicConfig())
			if err != nil {
				return nil, err
			}
			go n.accept(ctx, l, s.isSink())
		}
		return n, nil
	}
}

func (n *quicNode) Close() error {
	n.cancel()
	return errors.Join(n.tr.Close(), n.tr.Conn.Close())
}

// upstream is the connection to the next node.
func (n *quicNode) upstream(ctx context.Context) (*quic.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conn != nil && n.conn.Context().Err() == nil {
		return n.conn, nil
	}
	conn, err := n.tr.Dial(ctx, net.UDPAddrFromAddrPort(n.next), n.tls, quicConfig())
	if err != nil {
		return nil, err
	}
	n.conn = conn
	return conn, nil
}

func (n *quicNode) accept(ctx context.Context, l *quic.Listener, sink bool) {
	for {
		conn, err := l.Accept(ctx)
		if err != nil {
			return
		}
		if sink {
			go n.sinkDatagrams(ctx, conn)
		} else if n.datagrams {
			go n.relayDatagrams(ctx, conn)
		}
		go func() {
			for {
				s, err := conn.AcceptStream(ctx)
				if err != nil {
					return
				}
				if sink {
					go serve(quicStream{s}, n.m)
				} else {
					go n.relayStream(ctx, s)
				}
			}
		}()
	}
}

func (n *quicNode) sinkDatagrams(ctx context.Context, conn *quic.Conn) {
	for {
		b, err := conn.ReceiveDatagram(ctx)
		if err != nil {
			return
		}
		n.m.Message(b)
	}
}

func (n *quicNode) relayDatagrams(ctx context.Context, conn *quic.Conn) {
	var next *quic.Conn
	if retry(ctx, func(ctx context.Context) (err error) { next, err = n.upstream(ctx); return err }) != nil {
		return
	}
	for {
		b, err := conn.ReceiveDatagram(ctx)
		if err != nil || next.SendDatagram(b) != nil {
			return
		}
	}
}

func (n *quicNode) relayStream(ctx context.Context, in *quic.Stream) {
	dial, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	next, err := n.upstream(dial)
	if err != nil {
		in.CancelRead(1)
		in.CancelWrite(1)
		return
	}
	out, err := next.OpenStreamSync(dial)
	if err != nil {
		return
	}
	go pipe(quicStream{in}, quicStream{out})
	pipe(quicStream{out}, quicStream{in})
}

// pipe copies one direction until its end.
func pipe(dst, src closeWriter) {
	_, _ = io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, make([]byte, 64<<10))
	_ = dst.CloseWrite()
}

// quicStream closes like the others.
type quicStream struct{ *quic.Stream }

func (s quicStream) CloseWrite() error { return s.Stream.Close() }
func (s quicStream) Close() error {
	s.CancelRead(0)
	s.CancelWrite(0) // Close would not end a Write that waits
	return nil
}

func (n *quicNode) Open(ctx context.Context, svc Service, size int) (Stream, error) {
	conn, err := n.upstream(ctx)
	if err != nil {
		return nil, err
	}
	s, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	_, err = s.Write(appendHead(svc, size))
	return quicStream{s}, err
}

func (n *quicNode) SendMessages(ctx context.Context, size int, p *Pacer) error {
	if !n.datagrams {
		return sendFramed(ctx, n, size, p)
	}
	conn, err := n.upstream(ctx)
	if err != nil {
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
			if err := conn.SendDatagram(buf); err != nil { // blocks while its queue is full
				return err
			}
		}
	}
}
