package sdktest

import (
	"errors"

	"nethost/sdk"
	"nethost/sdk/abi"
)

// Instance is one living module behind any carrier. Package host/module defines
// the same two methods; the contract is written there.
type Instance interface {
	// Deliver hands over one batch of events and returns the batch of
	// effects, nil or empty meaning none, valid until the next Deliver. After
	// an error the instance is dead.
	Deliver(batch []byte) (effects []byte, err error)
	// Close ends the instance. Calling it twice is harmless.
	Close() error
}

// ErrDead is what an InProcess instance answers after a failure or Close.
var ErrDead = errors.New("sdktest: the instance is dead")

// InProcess runs m in the calling goroutine. Work is done in place, after Flush,
// as in a wasm guest. A panic of the module is not caught: a test should show
// its stack.
func InProcess(m sdk.Module) Instance { return &inProcess{d: abi.NewDispatcher(m)} }

type inProcess struct {
	d    *abi.Dispatcher
	buf  []byte
	dead bool
}

// Deliver hands the module a copy of the batch and wipes it afterwards, so that a
// module which keeps a borrowed payload is found out.
func (p *inProcess) Deliver(batch []byte) ([]byte, error) {
	if p.dead {
		return nil, ErrDead
	}
	p.buf = append(p.buf[:0], batch...)
	err := p.d.Run(p.buf)
	for i := range p.buf {
		p.buf[i] = 0xDB
	}
	if err == nil {
		p.d.RunWork()
		var effects []byte
		if effects, err = p.d.Effects(); err == nil {
			return effects, nil
		}
	}
	p.dead = true
	return nil, err
}

func (p *inProcess) Close() error {
	p.dead = true
	return nil
}
