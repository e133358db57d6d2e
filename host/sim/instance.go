package sim

import (
	"errors"

	"nethost/sdk"
	"nethost/sdk/abi"
)

// Instance is a module as the simulator runs it: through the codec that every
// carrier uses, in place, Work included. It passes the conformance suite of the
// carriers.
type Instance struct {
	d    *abi.Dispatcher
	dead bool
}

// NewInstance makes an instance of m.
func NewInstance(m sdk.Module) *Instance { return &Instance{d: abi.NewDispatcher(m)} }

var errEnded = errors.New("sim: the instance has ended")

// Deliver runs one batch of events and gives its effects, valid until the next
// call. An error ends the instance. A panic of the module is not caught: in a
// simulation it is a fault of the test.
func (i *Instance) Deliver(batch []byte) ([]byte, error) {
	if i.dead {
		return nil, errEnded
	}
	err := i.d.Run(batch)
	if err == nil {
		i.d.RunWork()
		var out []byte
		if out, err = i.d.Effects(); err == nil {
			return out, nil
		}
	}
	i.dead = true
	return nil, err
}

// Close ends the instance.
func (i *Instance) Close() error {
	i.dead = true
	return nil
}
