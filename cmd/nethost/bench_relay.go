package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"nethost/host"
	"nethost/host/identity"
	"nethost/host/link"
	"nethost/host/session"
	"nethost/host/wire"
)

const (
	relayPacket = 1100            // a message of 1 KiB and what is around it, in bytes
	relayFor    = 2 * time.Second // one measurement
	relayWindow = 3000            // packets on the way, so that no socket overflows
)

// benchRelay measures what a relay costs: packets for each second of processor time
// of its process. Feeder and sink are in this process, the relay in one of its own.
// The baseline is a process that reads trains and sends them on as they are.
func benchRelay(ctx context.Context, env *benchEnv) error {
	rates := map[string][]float64{}
	for range 3 {
		for _, mode := range []string{"reflector", "auto", "off"} {
			rate, err := relayRate(ctx, env, mode)
			if err != nil {
				return fmt.Errorf("relay with gso %s: %w", mode, err)
			}
			rates[mode] = append(rates[mode], rate)
		}
	}
	ours := median(rates["auto"]) / 1e3
	env.reaches("relay, 1 KiB, one next hop", ours, "k packets a CPU second", "bare GSO reflector", median(rates["reflector"])/1e3, 0.70)
	env.reaches("relay, 1 KiB, one next hop", ours, "k packets a CPU second", "the same, link.gso = off", median(rates["off"])/1e3, 6)
	return nil
}

// relayRate runs one relay, or the reflector, under full load.
func relayRate(ctx context.Context, env *benchEnv, mode string) (perCPUSecond float64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if mode != "reflector" {
		f, far, err := relayNode(ctx, env, "NETHOST_LINK__GSO="+mode)
		if err != nil {
			return 0, err
		}
		defer far.stop()
		defer f.link.Close()
		return f.run(far.pid)
	}
	f, err := newFeeder()
	if err != nil {
		return 0, err
	}
	defer f.link.Close()
	defer f.sink.Close()
	go drain(f.sink)
	addr, peer, err := startPeer(ctx, env, "reflect", f.sink.LocalAddr().String())
	if err != nil {
		return 0, err
	}
	defer peer.Wait()
	defer peer.Process.Kill()
	f.to = addr
	return f.run(peer.Process.Pid)
}

func newFeeder() (*feeder, error) {
	feed, err := link.ListenUDP(loopback, link.UDPOptions{})
	if err != nil {
		return nil, err
	}
	udp, err := link.ListenUDP(loopback, link.UDPOptions{})
	if err != nil {
		feed.Close()
		return nil, err
	}
	return &feeder{link: feed, sink: &sinkLink{UDP: udp}}, nil
}

// relayNode starts a node, and makes a feeder and a sink its neighbours. The sink's
// socket is closed when ctx ends.
func relayNode(ctx context.Context, env *benchEnv, vars ...string) (*feeder, child, error) {
	network, err := randomNetworkKey()
	if err != nil {
		return nil, child{}, err
	}
	far, err := startChild(ctx, env, network, vars...)
	if err != nil {
		return nil, far, err
	}
	f, err := newFeeder()
	if err != nil {
		far.stop()
		return nil, far, err
	}
	end, err := embedOn(ctx, f.sink, network, []host.PeerAddr{far.peer})
	if err == nil {
		f.to, f.dest = far.peer.Addr, identity.RIDOf(end.Self())
		f.sess, err = handshake(f.link, network, far.peer)
	}
	if err != nil {
		f.link.Close()
		far.stop()
	}
	return f, far, err
}

// sinkLink counts and drops what a relay forwards: opening it is not what is
// measured. A node behind it sees the rest.
type sinkLink struct {
	*link.UDP
	got atomic.Uint64
}

// Read implements link.Link.
func (s *sinkLink) Read(trains []link.Train) (int, error) {
	for {
		n, err := s.UDP.Read(trains)
		if err != nil {
			return 0, err
		}
		kept := 0
		for _, t := range trains[:n] {
			if len(t.Bytes) > 0 && t.Bytes[0] == forwardByte {
				s.got.Add(uint64(t.Count()))
				continue
			}
			trains[kept] = t
			kept++
		}
		if kept > 0 {
			return kept, nil
		}
	}
}

// forwardByte begins every packet of the feeder.
const forwardByte = wire.Version<<6 | wire.TypeForward<<3

func drain(l link.Link) {
	trains := make([]link.Train, 8)
	for {
		if _, err := l.Read(trains); err != nil {
			return
		}
	}
}

// feeder sends trains to a relay as fast as the sink gets them.
type feeder struct {
	link *link.UDP
	sink *sinkLink
	to   netip.AddrPort
	dest wire.RID
	sess *session.Session // nil: the packets need no tag

	trains []link.Train
	sent   uint64
}

// push sends four trains.
func (f *feeder) push() error {
	const train = wire.MaxTrain / relayPacket
	if f.trains == nil {
		f.trains = make([]link.Train, 4)
		for i := range f.trains {
			f.trains[i] = link.Train{Addr: f.to, Bytes: make([]byte, train*relayPacket), Segment: relayPacket}
		}
	}
	for _, t := range f.trains {
		for more := true; more; f.sent++ {
			var pkt []byte
			pkt, more = t.Cut()
			wire.AppendHop(pkt[:0], wire.Hop{Version: wire.Version, Type: wire.TypeForward, TTL: 9, Dest: f.dest})
			if f.sess != nil {
				f.sess.SignHop(pkt)
			}
		}
	}
	return f.link.Write(f.trains)
}

// feed sends as fast as packets arrive, with so many on the way, and gives how many
// arrived.
func (f *feeder) feed(span time.Duration, window uint64) (uint64, error) {
	from, end, moved := f.sink.got.Load(), time.Now().Add(span), time.Now()
	for time.Now().Before(end) {
		if got := f.sink.got.Load(); f.sent-got > window {
			if time.Since(moved) > 20*time.Millisecond {
				f.sent = got // what is missing was lost
			}
			runtime.Gosched()
			continue
		}
		moved = time.Now()
		if err := f.push(); err != nil {
			return 0, err
		}
	}
	return f.sink.got.Load() - from, nil
}

// warm feeds until packets come through.
func (f *feeder) warm() error {
	for began := time.Now(); ; {
		if got, err := f.feed(relayFor/10, relayWindow); err != nil || got > 10000 {
			return err
		} else if time.Since(began) > 10*time.Second {
			return errors.New("nothing came through within ten seconds")
		}
	}
}

// run feeds until the time is over, and gives what a second of the process's time
// on the processor is good for.
func (f *feeder) run(pid int) (perCPUSecond float64, err error) {
	if err := f.warm(); err != nil {
		return 0, err
	}
	before, err := cpuTime(pid)
	if err != nil {
		return 0, err
	}
	got, err := f.feed(relayFor, relayWindow)
	if err != nil {
		return 0, err
	}
	after, err := cpuTime(pid)
	if err != nil {
		return 0, err
	}
	return float64(got) / (after - before).Seconds(), nil
}

// cpuTime is what a process has used of the processors, system calls included.
func cpuTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("processor time of the relay: %w", err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("processor time of the relay: /proc/PID/stat is too short")
	}
	ticks := 0
	for _, f := range fields[11:13] { // utime and stime, in hundredths of a second
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// handshake makes a neighbour of a node, without a node behind it.
func handshake(l *link.UDP, network identity.NetworkKey, peer host.PeerAddr) (*session.Session, error) {
	var seeds [2][32]byte
	for i := range seeds {
		if _, err := io.ReadFull(rand.Reader, seeds[i][:]); err != nil {
			return nil, err
		}
	}
	key := identity.NewKey(seeds[0])
	local, err := session.NewLocal(session.LocalConfig{Key: key, Static: identity.NewStatic(key, seeds[1], 1), PSK: network[:]})
	if err != nil {
		return nil, err
	}
	const index = 1
	hs, m1, err := local.Initiate(rand.Reader, index, peer.Node, identity.RIDOf(peer.Node))
	if err != nil {
		return nil, err
	}
	send := func(env []byte) error {
		b := wire.AppendHop(nil, wire.Hop{Version: wire.Version, Type: wire.TypeLocal})
		return l.Write([]link.Train{{Addr: peer.Addr, Bytes: append(b, env...)}})
	}
	if err := send(m1); err != nil {
		return nil, err
	}
	watchdog := time.AfterFunc(5*time.Second, func() { l.Close() })
	defer watchdog.Stop()
	var in [1]link.Train
	if _, err := l.Read(in[:]); err != nil {
		return nil, fmt.Errorf("no answer to the handshake: %w", err)
	}
	_, env, ok := wire.ParseHop(in[0].Bytes)
	if !ok {
		return nil, errors.New("the answer to the handshake is none")
	}
	m3, s, err := hs.ReceiveM2(env, 0)
	if err != nil {
		return nil, err
	}
	return s, send(m3)
}

// startPeer starts this program as the far end of a measurement, which says on its
// first line where it listens.
func startPeer(ctx context.Context, env *benchEnv, kind, arg string) (netip.AddrPort, *exec.Cmd, error) {
	child := exec.CommandContext(ctx, env.exe, "bench", "peer", kind, arg)
	child.SysProcAttr = dieWithParent()
	out, err := child.StdoutPipe()
	if err != nil {
		return netip.AddrPort{}, nil, err
	}
	if err := child.Start(); err != nil {
		return netip.AddrPort{}, nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		child.Process.Kill()
		child.Wait()
		return netip.AddrPort{}, nil, err
	}
	addr, err := netip.ParseAddrPort(strings.TrimSpace(line))
	return addr, child, err
}

// reflectTrains is the body of the bare reflector: what comes goes on, untouched.
func reflectTrains(to string) error {
	addr, err := netip.ParseAddrPort(to)
	if err != nil {
		return err
	}
	l, err := link.ListenUDP(loopback, link.UDPOptions{})
	if err != nil {
		return err
	}
	fmt.Println(l.LocalAddr())
	trains := make([]link.Train, 8)
	for {
		n, err := l.Read(trains)
		if err != nil {
			return err
		}
		for i := range n {
			trains[i].Addr = addr
		}
		_ = l.Write(trains[:n])
	}
}
