package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// process is a node process as the parent sees it.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// line is what stands for a cell: the processes that hold the nodes of one line.
type line struct {
	procs    []*process // in P one, in X one a node
	specs    []Spec
	counters *Counters
	dir      string
}

// placement says where nodes run.
type placement string

// The placements.
const (
	together placement = "P" // all nodes in one process
	apart    placement = "X" // one process a node
)

// wire says which wire the nodes use.
type wire struct {
	name  string
	addrs [2]netip.Addr // of even and odd nodes
	names [2]string     // of the network namespaces; "" is the one we are in
}

func loopbackNet() wire {
	lo := netip.MustParseAddr("127.0.0.1")
	return wire{name: "loopback", addrs: [2]netip.Addr{lo, lo}}
}

// freePorts asks the system for ports that nobody uses. In another namespace the
// same numbers are as free as in a new one.
func freePorts(n int) ([]uint16, error) {
	var ports []uint16
	var open []io.Closer
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for len(ports) < n {
		t, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		open = append(open, t)
		port := t.Addr().(*net.TCPAddr).Port
		u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			continue
		}
		open = append(open, u)
		ports = append(ports, uint16(port))
	}
	return ports, nil
}

// newLine starts the nodes of a line with so many relays. via stands between the
// source and the next node when it is valid.
func newLine(ctx context.Context, p *Peer, relays int, place placement, nw wire, via func(target netip.AddrPort) (netip.AddrPort, error)) (l *line, err error) {
	n := relays + 2
	ports, err := freePorts(2 * n)
	if err != nil {
		return nil, err
	}
	base := Spec{Peer: p.Name}
	rand.Read(base.Seed[:])
	for i := range n {
		at := nw.addrs[i%2]
		base.Listen = append(base.Listen, netip.AddrPortFrom(at, ports[2*i]))
		base.Alt = append(base.Alt, netip.AddrPortFrom(at, ports[2*i+1]))
	}
	base.Dial = append(base.Dial, base.Listen...)
	if via != nil {
		if base.Dial[1], err = via(base.Listen[1]); err != nil {
			return nil, err
		}
	}
	l = &line{}
	for i := range n {
		s := base
		s.Index = i
		l.specs = append(l.specs, s)
	}
	if err = l.start(ctx, p, place, nw); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *line) start(ctx context.Context, p *Peer, place placement, nw wire) error {
	var err error
	shm := ""
	if _, err := os.Stat("/dev/shm"); err == nil {
		shm = "/dev/shm"
	}
	if l.dir, err = os.MkdirTemp(shm, "nhbench"); err != nil {
		return err
	}
	file := filepath.Join(l.dir, "counters")
	if l.counters, err = mapCounters(file); err != nil {
		return err
	}
	if place == together {
		pr, err := spawn(ctx, p, nw.names[0])
		if err != nil {
			return err
		}
		l.procs = []*process{pr}
		reversed := make([]Spec, 0, len(l.specs))
		for i := range l.specs {
			reversed = append(reversed, l.specs[len(l.specs)-1-i])
		}
		if len(reversed) > 2 { // the sink last but one: relays first, for stacks whose sink needs them
			reversed = append(reversed[1:len(reversed)-1:len(reversed)-1], reversed[0], reversed[len(reversed)-1])
		}
		if _, err := pr.do(order{Op: "open", Specs: reversed, Counters: file}, 40*time.Second); err != nil {
			return err
		}
	} else {
		l.procs = make([]*process, len(l.specs))
		for k := range l.specs {
			i := (k + 1) % len(l.specs) // relays, sink, source
			pr, err := spawn(ctx, p, nw.names[i%2])
			if err != nil {
				return err
			}
			l.procs[i] = pr
			if _, err := pr.do(order{Op: "open", Specs: l.specs[i : i+1], Counters: file}, 40*time.Second); err != nil {
				return err
			}
		}
	}
	_, err = l.source().do(order{Op: "ready"}, 30*time.Second)
	return err
}

func (l *line) source() *process { return l.procs[0] }

func (l *line) sink() *process { return l.procs[len(l.procs)-1] }

// close ends all processes.
func (l *line) close() {
	for _, p := range l.procs {
		if p != nil {
			p.end()
		}
	}
	if l.dir != "" {
		os.RemoveAll(l.dir)
	}
}

// spawn starts a node process, in a network namespace when one is named.
func spawn(ctx context.Context, p *Peer, ns string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{self, "node"}
	if ns != "" {
		ip, err := ipCommand()
		if err != nil {
			return nil, err
		}
		args = append([]string{ip, "netns", "exec", ns}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Env = append(os.Environ(), "QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING=true")
	if p != nil {
		cmd.Env = append(cmd.Env, p.Env...)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &process{cmd, in, bufio.NewReaderSize(out, 1<<16)}, nil
}

// do gives an order and waits for the answer.
func (p *process) do(o order, limit time.Duration) (reply, error) {
	var r reply
	b, err := json.Marshal(o)
	if err != nil {
		return r, err
	}
	if _, err := p.in.Write(append(b, '\n')); err != nil {
		return r, fmt.Errorf("node process is gone: %w", err)
	}
	type answer struct {
		line []byte
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		line, err := p.out.ReadBytes('\n')
		got <- answer{line, err}
	}()
	select {
	case a := <-got:
		if a.err != nil {
			return r, fmt.Errorf("%s: node process is gone: %w", o.Op, a.err)
		}
		if err := json.Unmarshal(a.line, &r); err != nil {
			return r, fmt.Errorf("%s: %w: %q", o.Op, err, a.line)
		}
		if r.Error != "" {
			return r, fmt.Errorf("%s: %s", o.Op, r.Error)
		}
		return r, nil
	case <-time.After(limit):
		_ = p.cmd.Process.Kill()
		return r, fmt.Errorf("%s: no answer within %v", o.Op, limit)
	}
}

// end kills the process: what it still had to say is of no interest.
func (p *process) end() {
	_ = p.in.Close()
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// all gives an order to every process.
func (l *line) all(o order) error {
	var faults []error
	for _, p := range l.procs {
		_, err := p.do(o, 20*time.Second)
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// snapshot is everything that is counted, at one moment.
type snapshot struct {
	at                           time.Time
	sent, received, bytes, trips float64
	cpu, rss, peak               []float64 // of each process
}

func (l *line) snap() (snapshot, error) {
	s := snapshot{at: time.Now(), sent: float64(l.counters.Sent.Load()), received: float64(l.counters.Received.Load()),
		bytes: float64(l.counters.Bytes.Load()), trips: float64(l.counters.Trips.Load())}
	for _, p := range l.procs {
		r, err := p.do(order{Op: "usage"}, 10*time.Second)
		if err != nil {
			return s, err
		}
		s.cpu, s.rss, s.peak = append(s.cpu, r.CPU), append(s.rss, r.RSS), append(s.peak, r.Peak)
	}
	return s, nil
}

// window is what happened between two snapshots, a second.
type window struct {
	seconds                      float64
	sent, received, bytes, trips float64 // a second
	cpu                          float64 // microseconds a second, summed over the processes
	cpuOf                        []float64
	peak                         float64 // KiB, summed
}

func (a snapshot) until(b snapshot) window {
	sec := b.at.Sub(a.at).Seconds()
	w := window{seconds: sec, sent: (b.sent - a.sent) / sec, received: (b.received - a.received) / sec,
		bytes: (b.bytes - a.bytes) / sec, trips: (b.trips - a.trips) / sec}
	for i := range b.cpu {
		c := (b.cpu[i] - a.cpu[i]) / sec
		w.cpuOf = append(w.cpuOf, c)
		w.cpu += c
		w.peak += b.peak[i]
	}
	return w
}

// during measures while a job runs: warm-up, then the time.
func (l *line) during(job order, warm, length time.Duration) (w window, lat Latency, err error) {
	if _, err = l.source().do(job, 20*time.Second); err != nil {
		return w, lat, err
	}
	time.Sleep(warm)
	if err = l.all(order{Op: "mark"}); err != nil {
		return w, lat, err
	}
	before, err := l.snap()
	if err != nil {
		return w, lat, err
	}
	time.Sleep(length)
	after, err := l.snap()
	if err != nil {
		return w, lat, err
	}
	for _, p := range l.procs {
		r, err := p.do(order{Op: "latency"}, 20*time.Second)
		if err != nil {
			return w, lat, err
		}
		if r.Latency.N > lat.N {
			lat = r.Latency
		}
	}
	_, err = l.source().do(order{Op: "halt"}, 20*time.Second)
	return before.until(after), lat, err
}
