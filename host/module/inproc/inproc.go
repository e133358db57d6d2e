// Package inproc is the carrier of builtin modules: a Go value in this process.
//
// A panic of the module is caught and ends the instance; a fatal error of the Go
// runtime takes the host with it, which is what the other carriers are for. Work
// runs on a bounded pool.
package inproc

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"nethost/host/module"
	"nethost/sdk"
	"nethost/sdk/abi"
)

// workers bounds the Work that one module has running at once.
const workers = 4

// Carrier opens builtin modules by name.
type Carrier struct{ factories map[string]func() sdk.Module }

var _ module.Carrier = (*Carrier)(nil)

// New returns the carrier of the given modules. Each restart calls the factory
// anew, so that nothing of a crashed instance lives on.
func New(factories map[string]func() sdk.Module) *Carrier { return &Carrier{factories} }

// Open makes an instance.
func (c *Carrier) Open(_ context.Context, s module.Spec) (module.Instance, error) {
	factory := c.factories[s.Name]
	if factory == nil {
		return nil, fmt.Errorf("no module %q is compiled in: set carrier to that of its package, or use a build that has it", s.Name)
	}
	return &instance{d: abi.NewDispatcher(factory()), post: s.Post, log: s.Log, slots: make(chan struct{}, workers)}, nil
}

// instance is one living module.
type instance struct {
	d     *abi.Dispatcher
	post  func([]byte)
	log   func(sdk.LogLevel, string)
	slots chan struct{} // one token a running Work
	wg    sync.WaitGroup
	dead  atomic.Bool
}

// Deliver runs a batch on the caller's goroutine.
func (i *instance) Deliver(batch []byte) (effects []byte, err error) {
	if i.dead.Load() {
		return nil, module.ErrGone
	}
	defer func() {
		if r := recover(); r != nil {
			i.dead.Store(true)
			effects, err = nil, fmt.Errorf("%w: panic: %v", module.ErrTrap, r)
			if i.log != nil {
				i.log(sdk.LogError, fmt.Sprintf("panic: %v\n%s", r, debug.Stack()))
			}
		}
	}()
	if err := i.d.Run(batch); err != nil {
		i.dead.Store(true)
		return nil, fmt.Errorf("%w: %w", module.ErrProtocol, err)
	}
	for _, w := range i.d.TakeWork() {
		i.wg.Go(func() { i.work(w) })
	}
	if effects, err = i.d.Effects(); err != nil {
		i.dead.Store(true)
		return nil, fmt.Errorf("%w: %w", module.ErrProtocol, err)
	}
	return effects, nil
}

// work runs one slow function and posts what it returns. What an instance had not
// begun when it ended is not begun any more. A panic ends the instance, like one
// in Handle: the malformed batch makes the supervisor see to it at once.
func (i *instance) work(w sdk.Work) {
	i.slots <- struct{}{}
	defer func() {
		<-i.slots
		if r := recover(); r != nil {
			i.dead.Store(true)
			if i.log != nil {
				i.log(sdk.LogError, fmt.Sprintf("panic in work: %v\n%s", r, debug.Stack()))
			}
			if i.post != nil {
				i.post(nil)
			}
		}
	}()
	if i.dead.Load() {
		return
	}
	if b, ok := abi.AppendPost(nil, w.Ref, w.Do()); ok && i.post != nil {
		i.post(b)
	}
}

// Close ends the instance. A batch or a Work that runs cannot be interrupted: it
// finishes, and the supervisor drops what comes of it.
func (i *instance) Close() error {
	i.dead.Store(true)
	return nil
}
