package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// SocketBuffer is what a UDP link asks the kernel for in each direction, in
// bytes: at 1 Gbit/s and 1200-byte datagrams it rides out 33 ms in which nobody
// reads.
const SocketBuffer = 4 << 20

// maxPending bounds the rejections waiting for the reader. More are dropped: a
// rejection is a hint, and silence says the same a little later.
const maxPending = 64

// maxStrikes is how many reads in a row may fail for an unknown reason, a
// millisecond apart, before the link gives up.
const maxStrikes = 1000

// maxRetries bounds how often one Write runs into errors left by datagrams to
// other destinations.
const maxRetries = 3

// UDP is a Link over one UDP socket.
type UDP struct {
	conn     *net.UDPConn
	local    netip.AddrPort
	onReject func(Rejection)

	plain  []byte // receives one datagram a call, where batch is nil
	batch  batch
	counts counts

	interrupted atomic.Bool

	mu      sync.Mutex // guards the error queue and pending
	pending []Rejection
	scratch []byte // receives quotes; nil where the system has no error queue
	// tooBig counts the refusals of our own system, for their size, that the error
	// queue told of: an error of a write alone may be somebody's forged ICMP.
	tooBig atomic.Uint64
}

var (
	_ Link        = (*UDP)(nil)
	_ ErrorSource = (*UDP)(nil)
	_ StatsSource = (*UDP)(nil)

	_ Backpressure = (*UDP)(nil)
	_ Interrupter  = (*UDP)(nil)
)

// counts are the numbers behind Stats.
type counts struct{ overflows, readCalls, writeCalls, in, out atomic.Uint64 }

// batch is many datagrams a system call. It is nil where the system has none.
type batch interface {
	// read and write are those of Link; the errors are the system's, and may
	// belong to an earlier datagram.
	read(trains []Train) (int, error)
	write(trains []Train) error
	tryWrite(trains, unsent []Train) ([]Train, error)
	mode() (mode, note string)
}

// GSO chooses whether trains pass the system in one piece.
type GSO string

// The choices.
const (
	GSOAuto GSO = "auto" // where the system can
	GSOOn   GSO = "on"   // or fail to listen
	GSOOff  GSO = "off"
	gsoNone GSO = "none" // one datagram a call, as where there is nothing better
)

// UDPOptions are how a UDP link works. The zero value is what most want.
type UDPOptions struct {
	GSO GSO // default GSOAuto
}

// ListenUDP binds a UDP socket. An unspecified address ("[::]:4242") takes IPv4
// and IPv6 alike; port 0 lets the system choose.
func ListenUDP(addr netip.AddrPort, opts UDPOptions) (*UDP, error) {
	network := "udp4"
	if addr.Addr().Is6() && !addr.Addr().Is4In6() {
		network = "udp6"
		if addr.Addr().IsUnspecified() {
			network = "udp"
		}
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, fmt.Errorf("link: cannot listen on udp %s: %w (is another nethost running? choose a different listen address)", addr, err)
	}
	u := &UDP{conn: conn, local: unmap(conn.LocalAddr().(*net.UDPAddr).AddrPort())}
	if err := u.setup(opts.GSO); err != nil {
		conn.Close()
		return nil, fmt.Errorf("link: cannot prepare udp socket %s: %w", addr, err)
	}
	if u.batch == nil {
		u.plain = make([]byte, 64<<10)
	}
	return u, nil
}

// OnRejection implements ErrorSource. Systems without an error queue never call f.
func (u *UDP) OnRejection(f func(Rejection)) { u.onReject = f }

// LocalAddr implements Link.
func (u *UDP) LocalAddr() netip.AddrPort { return u.local }

// Close implements Link.
func (u *UDP) Close() error {
	if err := u.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Interrupt implements Interrupter.
func (u *UDP) Interrupt() {
	u.interrupted.Store(true)
	u.conn.SetReadDeadline(time.Unix(1, 0))
}

// Stats implements StatsSource.
func (u *UDP) Stats() Stats {
	s := Stats{Mode: "plain", Overflows: u.counts.overflows.Load(), ReadCalls: u.counts.readCalls.Load(),
		WriteCalls: u.counts.writeCalls.Load(), DatagramsIn: u.counts.in.Load(), DatagramsOut: u.counts.out.Load()}
	if u.batch != nil {
		s.Mode, s.Note = u.batch.mode()
	}
	return s
}

// Read implements Link. The kernel reports a rejected datagram as a failure of
// whatever the socket does next; that is not the end of the link, so Read takes
// the rejection from the error queue and waits on.
func (u *UDP) Read(trains []Train) (int, error) {
	for strikes := 0; ; {
		n, err := u.read(trains)
		if err == nil {
			return n, nil
		}
		switch {
		case errors.Is(err, net.ErrClosed):
			return 0, net.ErrClosed
		case errors.Is(err, os.ErrDeadlineExceeded):
			// A writer woke us. The deadline goes first: what a writer adds
			// after this line wakes us again.
			u.conn.SetReadDeadline(time.Time{})
			if u.interrupted.Swap(false) {
				u.drain()
				u.deliver()
				return 0, nil
			}
		case !isPending(err):
			if strikes++; strikes > maxStrikes {
				return 0, fmt.Errorf("link: reading udp %s: %w", u.local, err)
			}
			time.Sleep(time.Millisecond)
		}
		u.drain()
		u.deliver()
	}
}

func (u *UDP) read(trains []Train) (int, error) {
	if u.batch != nil {
		return u.batch.read(trains)
	}
	n, from, err := u.conn.ReadFromUDPAddrPort(u.plain)
	if err != nil {
		return 0, err
	}
	u.counts.readCalls.Add(1)
	u.counts.in.Add(1)
	trains[0] = Train{Addr: unmap(from), Bytes: u.plain[:n]}
	return 1, nil
}

// Write implements Link.
func (u *UDP) Write(trains []Train) error {
	if u.batch != nil {
		return u.batch.write(trains)
	}
	var failed error
	for i := range trains {
		if err := u.writeEach(trains[i]); err != nil {
			failed = err
		}
	}
	return failed
}

// TryWrite implements Backpressure. Without batches it waits all the same.
func (u *UDP) TryWrite(trains, unsent []Train) ([]Train, error) {
	if u.batch != nil {
		return u.batch.tryWrite(trains, unsent)
	}
	return unsent, u.Write(trains)
}

// writeEach sends a train datagram by datagram.
func (u *UDP) writeEach(t Train) (failed error) {
	for more := true; more; {
		var b []byte
		b, more = t.Cut()
		if err := u.writeOne(b, t.Addr); err != nil {
			failed = err
		}
	}
	return failed
}

// writeOne sends one datagram. A failure may be the rejection of an earlier one
// to somebody else: the error queue is emptied and the send is repeated, so that a
// dead peer never costs a healthy one a packet.
func (u *UDP) writeOne(b []byte, to netip.AddrPort) error {
	tooBig := u.tooBig.Load()
	_, err := u.conn.WriteToUDPAddrPort(b, to)
	u.counts.writeCalls.Add(1)
	u.counts.out.Add(1)
	for range maxRetries {
		if err == nil {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return net.ErrClosed
		}
		if !isPending(err) {
			break
		}
		u.wakeReader()
		_, err = u.conn.WriteToUDPAddrPort(b, to)
	}
	if err == nil {
		return nil
	}
	u.refused(to, len(b), tooBig)
	return fmt.Errorf("link: sending to %s: %w", to, err)
}

// refused tells that our own system did not send a datagram, if that is so: the error
// queue has said so since before.
func (u *UDP) refused(to netip.AddrPort, size int, before uint64) {
	if u.tooBig.Load() == before {
		return
	}
	u.mu.Lock()
	if len(u.pending) < maxPending {
		u.pending = append(u.pending, Rejection{To: to, Err: tooBigError, Local: true, Size: size})
	}
	u.mu.Unlock()
	u.conn.SetReadDeadline(time.Unix(1, 0))
}

// wakeReader empties the error queue. Rejections are told on the reader's
// goroutine, because ours may hold the lock the handler wants: a deadline in the
// past wakes it.
func (u *UDP) wakeReader() {
	if u.drain() {
		u.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// deliver tells the pending rejections. Only Read calls it.
func (u *UDP) deliver() {
	u.mu.Lock()
	list := u.pending
	u.pending = nil
	u.mu.Unlock()
	if u.onReject == nil {
		return
	}
	for _, r := range list {
		u.onReject(r)
	}
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
