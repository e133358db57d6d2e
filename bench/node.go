package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// order is one line from the parent to a node process.
type order struct {
	Op       string
	Specs    []Spec  `json:",omitempty"` // open
	Counters string  `json:",omitempty"` // open: file of the counters
	Size     int     `json:",omitempty"`
	Window   uint64  `json:",omitempty"`
	Rate     float64 `json:",omitempty"`
	N        int     `json:",omitempty"`
	To       string  `json:",omitempty"`
	Template []byte  `json:",omitempty"`
	Vary     bool    `json:",omitempty"`
}

// reply is the answer.
type reply struct {
	Error string `json:",omitempty"`
	// CPU is user and system time of the process so far, in microseconds.
	CPU float64
	// RSS and Peak of the process in KiB; Heap is what is live after a collection.
	RSS, Peak float64
	Latency   Latency
	Seconds   float64 // what a bounded job took
	Template  []byte
	Sessions  int
}

// worker is a node process: the nodes it holds, and what it is doing.
type worker struct {
	ctx    context.Context
	peer   *Peer
	specs  []Spec
	nodes  []Node
	source Node
	meter  *Meter

	mu     sync.Mutex
	stop   func() // ends the job
	ended  chan error
	idlers []io.Closer
}

// runWorker answers orders until standard input ends.
func runWorker() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w := &worker{ctx: ctx, meter: &Meter{}}
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return nil // the parent is gone, and so are we
		}
		var o order
		var r reply
		if err = json.Unmarshal(line, &o); err == nil {
			err = w.do(&o, &r)
		}
		if err != nil {
			r.Error = err.Error()
		}
		if err := out.Encode(r); err != nil {
			return err
		}
	}
}

func (w *worker) do(o *order, r *reply) error {
	switch o.Op {
	case "open":
		return w.open(o)
	case "ready":
		return w.ready()
	case "messages":
		return w.messages(o)
	case "stream":
		return w.stream(o)
	case "echo":
		return w.echo(o)
	case "unary":
		return w.unary(o)
	case "dial":
		return w.dial(o)
	case "flood":
		return w.flood(o)
	case "capture":
		var err error
		r.Template, err = captureFirst(w.ctx, w.peer, w.specs[0])
		return err
	case "transfer":
		var err error
		r.Seconds, err = w.transfer(o.N)
		return err
	case "idle":
		return w.idle(o.N, r)
	case "mark":
		w.meter.Reset()
		return nil
	case "timing":
		w.meter.timing.Store(o.N != 0)
		return nil
	case "latency":
		r.Latency = w.meter.Latency()
		return nil
	case "usage":
		return w.usage(r)
	case "trim":
		runtime.GC()
		debug.FreeOSMemory()
		return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // Peak begins anew
	case "halt":
		return w.halt()
	}
	return fmt.Errorf("no order %q", o.Op)
}

func (w *worker) open(o *order) error {
	c, err := mapCounters(o.Counters)
	if err != nil {
		return err
	}
	w.meter.Counters, w.specs = c, o.Specs
	for _, s := range o.Specs {
		if w.peer = findPeer(s.Peer); w.peer == nil {
			return fmt.Errorf("no peer %q", s.Peer)
		}
		n, err := w.peer.Start(w.ctx, s, w.meter)
		if err != nil {
			return fmt.Errorf("%s, node %d of %d: %w", s.Peer, s.Index, len(s.Listen), err)
		}
		w.nodes = append(w.nodes, n)
		if s.isSource() {
			w.source = n
		}
	}
	return nil
}

// ready waits until an echo from the source through all relays comes back.
func (w *worker) ready() error {
	if w.source == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(w.ctx, readyLimit)
	defer cancel()
	return echoOnce(ctx, w.source)
}

// readyLimit is how long a line may take to come up.
const readyLimit = 8 * time.Second

// echoOnce waits until 64 bytes come back from the sink.
func echoOnce(ctx context.Context, n Node) error {
	d, ok := n.(Dialer)
	if !ok {
		return errors.New("the source cannot open streams")
	}
	return retry(ctx, func(ctx context.Context) error {
		s, err := d.Open(ctx, Echo, 0)
		if err != nil {
			return err
		}
		defer s.Close()
		b := make([]byte, 64)
		if _, err := s.Write(b); err != nil {
			return err
		}
		done := make(chan error, 1)
		go func() { _, err := io.ReadFull(s, b); done <- err }()
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// begin runs a job beside the orders until halt.
func (w *worker) begin(stop func(), job func() error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended != nil {
		return errors.New("a job runs already")
	}
	ended := make(chan error, 1)
	w.stop, w.ended = stop, ended
	go func() { ended <- job() }()
	return nil
}

func (w *worker) halt() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended == nil {
		return nil
	}
	defer func() { w.ended = nil }()
	w.stop()
	select {
	case err := <-w.ended:
		return err
	case <-time.After(5 * time.Second):
		return errors.New("the job did not end")
	}
}

func (w *worker) messages(o *order) error {
	s, ok := w.source.(Sender)
	if !ok {
		return errors.ErrUnsupported
	}
	p, err := newPacer(w.meter.Counters, o.Window, o.Rate)
	if err != nil {
		return err
	}
	if w.peer.Traits.Reliable == "no" && o.Rate == 0 {
		p.care = &caution{size: min(64, float64(o.Window))}
	}
	return w.begin(p.Stop, func() error { return s.SendMessages(w.ctx, o.Size, p) })
}

// stream writes to Discard as fast as it takes.
func (w *worker) stream(o *order) error {
	d := w.source.(Dialer)
	s, err := d.Open(w.ctx, Discard, 0)
	if err != nil {
		return err
	}
	return w.begin(func() { s.Close() }, func() error {
		b := make([]byte, o.Size)
		for {
			if _, err := s.Write(b); err != nil {
				return nil // closed by halt; that bytes arrived is what the parent checks
			}
		}
	})
}

// transferLimit is how long one transfer may take.
const transferLimit = 6 * time.Second

// transfer sends n bytes and waits for the sink's word that it has them all.
func (w *worker) transfer(n int) (float64, error) {
	ctx, cancel := context.WithTimeout(w.ctx, transferLimit)
	defer cancel()
	began := time.Now()
	s, err := w.source.(Dialer).Open(ctx, Discard, 0)
	if err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	_, err = s.Write(make([]byte, n))
	if err == nil {
		err = s.CloseWrite()
	}
	var answer [8]byte
	if err == nil {
		_, err = io.ReadFull(s, answer[:])
	}
	if err != nil {
		return 0, fmt.Errorf("not complete within %v: %w", transferLimit, err)
	}
	took := time.Since(began).Seconds()
	return took, s.Close()
}

func (w *worker) usage(r *reply) error {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return err
	}
	r.CPU = float64(u.Utime.Nano()+u.Stime.Nano()) / 1e3
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.ParseFloat(f[1], 64)
		switch f[0] {
		case "VmRSS:":
			r.RSS = n
		case "VmHWM:":
			r.Peak = n
		}
	}
	return nil
}
