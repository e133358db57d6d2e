package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"time"
)

// Traits are what a peer promises, as the tables show it.
type Traits struct {
	Secret   string // what somebody on the path, relays included, can read
	Auth     string // who is authenticated to whom
	Reliable string
	Ordered  string
	Carrier  string // what it runs on
}

// Peer is one contestant: a stack in one mode of use.
type Peer struct {
	Name   string
	Traits Traits
	// Relays is how many relays of its own the peer can put in a row: 0 none.
	Relays int
	// Messages, Streams, Unary: what it offers.
	Messages, Streams, Unary bool
	// UDP says that it runs on UDP, so that a datagram proxy can stand in between.
	UDP bool
	// Env is what its processes get in their environment.
	Env []string
	// GSO is "off" for a variant without segmentation offload.
	GSO string
	// Start brings one node up and returns without waiting for others.
	Start func(ctx context.Context, s Spec, m *Meter) (Node, error)
}

// Spec is one node of a line: node 0 is the source A, the last one the sink B, what
// is between are relays. Everybody knows all addresses and the seed from which all
// keys come, so that nodes may start in any order.
type Spec struct {
	Peer  string
	Index int
	Seed  [32]byte
	// Salt gives the source another identity, where a stack lets anybody in: for
	// many sessions from one process.
	Salt int
	// Listen are the addresses that the nodes bind, Dial those at which they are
	// reached; they differ when a proxy stands between. Alt is a second port of
	// each node, for stacks that need one.
	Listen, Dial, Alt []netip.AddrPort
}

func (s Spec) last() int      { return len(s.Listen) - 1 }
func (s Spec) isSource() bool { return s.Index == 0 }
func (s Spec) isSink() bool   { return s.Index == s.last() }

// key derives the secret of a node.
func (s Spec) key(node int) [32]byte {
	return sha256.Sum256(binary.LittleEndian.AppendUint32(append([]byte("bench node"), s.Seed[:]...), uint32(node)))
}

// Node is a running node. Optional interfaces below say what it can do.
type Node interface{ Close() error }

// Service is what a stream to the sink does there.
type Service byte

// The services of the sink.
const (
	Echo    Service = 'e' // gives back what it gets
	Discard Service = 'd' // counts bytes and answers with their number at the end
	Framed  Service = 'm' // counts messages of one size
)

// Dialer opens streams from the source to the sink. size is that of the messages
// of Framed.
type Dialer interface {
	Open(ctx context.Context, svc Service, size int) (Stream, error)
}

// Stream is one open stream.
type Stream interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Sender sends messages one way until the pacer ends it.
type Sender interface {
	SendMessages(ctx context.Context, size int, p *Pacer) error
}

// Caller makes unary calls.
type Caller interface {
	Call(ctx context.Context, b []byte) ([]byte, error)
}

// openHead is what a Dialer over plain streams writes first: service and size.
const openHead = 5

func appendHead(svc Service, size int) []byte {
	return binary.LittleEndian.AppendUint32([]byte{byte(svc)}, uint32(size))
}

// closeWriter is what the servers below need of a stream.
type closeWriter interface {
	io.ReadWriter
	CloseWrite() error
}

// serve answers one stream of a Dialer at the sink.
func serve(s closeWriter, m *Meter) error {
	var head [openHead]byte
	if _, err := io.ReadFull(s, head[:]); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	f := framer{size: int(binary.LittleEndian.Uint32(head[1:]))}
	var total uint64
	for {
		n, err := s.Read(buf)
		switch Service(head[0]) {
		case Echo:
			if _, werr := s.Write(buf[:n]); werr != nil {
				return werr
			}
		case Discard:
			total += uint64(n)
			m.Bytes.Add(uint64(n))
		case Framed:
			f.feed(m, buf[:n])
		}
		if errors.Is(err, io.EOF) {
			if Service(head[0]) == Discard {
				_, err = s.Write(binary.LittleEndian.AppendUint64(nil, total))
			}
			return errors.Join(ignoreEOF(err), s.CloseWrite())
		}
		if err != nil {
			return err
		}
	}
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// sendFramed is SendMessages over a stream. What is due at once is coalesced into
// one write of at most 64 KiB: it favours the stacks that do not do that themselves.
func sendFramed(ctx context.Context, d Dialer, size int, p *Pacer) error {
	s, err := d.Open(ctx, Framed, size)
	if err != nil {
		return err
	}
	defer s.Close()
	burst := max(1, min(64, 64<<10/size))
	buf := make([]byte, burst*size)
	for {
		n := p.Take(burst)
		if n == 0 {
			if err := s.CloseWrite(); err != nil {
				return err
			}
			// The sink ends its side once it has everything; closing earlier
			// would throw away what is on the way and count it as lost.
			late := time.AfterFunc(2*time.Second, func() { s.Close() })
			defer late.Stop()
			_, _ = io.Copy(io.Discard, s)
			return nil
		}
		for i := range n {
			p.Stamp(buf[i*size:])
		}
		if _, err := s.Write(buf[:n*size]); err != nil {
			return err
		}
	}
}

// retry runs try until it works or ctx ends; nodes start in any order.
func retry(ctx context.Context, try func(context.Context) error) error {
	for {
		one, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := try(one)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// tlsFor gives TLS for a node: everybody proves who he is, with Ed25519
// certificates pinned by being the only root the other side accepts.
func (s Spec) tlsFor() (*tls.Config, error) {
	pool := x509.NewCertPool()
	var own tls.Certificate
	for i := range s.Listen {
		seed := s.key(i)
		key := ed25519.NewKeyFromSeed(seed[:])
		t := &x509.Certificate{SerialNumber: big.NewInt(int64(i) + 1), Subject: pkix.Name{CommonName: "bench"},
			NotBefore: time.Unix(1.7e9, 0), NotAfter: time.Unix(4e9, 0), DNSNames: []string{"bench"},
			KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
		der, err := x509.CreateCertificate(zeroReader{}, t, t, key.Public(), key)
		if err != nil {
			return nil, err
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		pool.AddCert(cert)
		if i == s.Index {
			own = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: cert}
		}
	}
	return &tls.Config{Certificates: []tls.Certificate{own}, RootCAs: pool, ClientCAs: pool, ServerName: "bench",
		ClientAuth: tls.RequireAndVerifyClientCert, NextProtos: []string{"bench"}, MinVersion: tls.VersionTLS13}, nil
}

// zeroReader is entropy for signatures that need none.
type zeroReader struct{}

func (zeroReader) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// socketBuffer is what every UDP socket of every peer asks the kernel for.
const socketBuffer = 4 << 20

// listenUDP binds a plain socket with large buffers.
func listenUDP(addr netip.AddrPort) (*net.UDPConn, error) {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err
	}
	_ = c.SetReadBuffer(socketBuffer)
	_ = c.SetWriteBuffer(socketBuffer)
	return c, nil
}
