package plugin

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"syscall"

	"nethost/sdk"
	"nethost/sdk/abi"
	"nethost/sdk/plugin/frame"
)

// MaxWorkResult bounds what a function given to Env.Work may return, in bytes:
// it comes back as the payload of one event, in a batch with Flush.
const MaxWorkResult = sdk.MaxBatchBytes - abi.HeaderSize - 2*abi.RecordSize - 8

// loop drives one module. One goroutine calls step; workers share only out.
type loop struct {
	module  *abi.Dispatcher
	in      *frame.Reader
	out     *frame.Writer
	none    abi.Writer // the answer of a batch that had no effects
	workers workers
}

func newLoop(conn io.ReadWriter, m sdk.Module) *loop {
	l := &loop{module: abi.NewDispatcher(m), in: frame.NewReader(conn, sdk.MaxBatchBytes), out: frame.NewWriter(conn)}
	l.workers = workers{limit: max(4, 2*runtime.GOMAXPROCS(0)), done: l.posted}
	return l
}

// step takes one batch, runs it and answers. done means that the host ended the
// stream.
func (l *loop) step() (done bool, err error) {
	batch, err := l.in.Next()
	if err != nil {
		return ended(err)
	}
	h, _, err := abi.Parse(batch, sdk.MaxBatchBytes)
	if err == nil {
		err = l.module.Run(batch)
	}
	if err != nil {
		return false, fmt.Errorf("the host sent no valid batch: %w", err)
	}
	effects, err := l.module.Effects()
	if err != nil {
		return false, fmt.Errorf("the module wrote more than %d effects or %d bytes in one batch: spread the work over several batches, for example with Env.Post",
			sdk.MaxEffects, sdk.MaxEffectBytes)
	}
	if effects == nil {
		l.none.ResetEffects(h.Seq)
		effects = l.none.Bytes()
	}
	if err := l.out.Write(effects); err != nil {
		return ended(err)
	}
	// After the answer, so that no result overtakes the batch that asked.
	l.workers.add(l.module.TakeWork())
	return false, nil
}

// posted sends a result of Env.Work, on the worker's goroutine. When the stream
// is gone, step ends the program.
func (l *loop) posted(ref sdk.Ref, result []byte) {
	if len(result) > MaxWorkResult {
		panic(fmt.Sprintf("a function given to Env.Work returned %d bytes; at most %d fit one event", len(result), MaxWorkResult))
	}
	batch, _ := abi.AppendPost(nil, ref, result)
	_ = l.out.Write(batch)
}

// ended tells the end of the stream from a fault. A host that dies closes the
// socket, with a reset when it had not read everything.
func ended(err error) (bool, error) {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return true, nil
	}
	return false, fmt.Errorf("data socket: %w", err)
}

// workers runs functions on at most limit goroutines, which end when there is
// nothing left to do.
type workers struct {
	limit int
	done  func(sdk.Ref, []byte)

	mu      sync.Mutex
	queue   []sdk.Work
	running int
}

func (w *workers) add(list []sdk.Work) {
	if len(list) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(w.queue, list...)
	for range list {
		if w.running == w.limit {
			return
		}
		w.running++
		go w.run()
	}
}

func (w *workers) run() {
	for {
		w.mu.Lock()
		if len(w.queue) == 0 {
			w.running--
			w.mu.Unlock()
			return
		}
		job := w.queue[0]
		w.queue[0] = sdk.Work{}
		w.queue = w.queue[1:]
		w.mu.Unlock()
		w.done(job.Ref, job.Do())
	}
}
