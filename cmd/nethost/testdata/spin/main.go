// Command spin is a guest that echoes, spins for ever on "spin" and traps on
// "trap": what a host must survive.
package main

import (
	"nethost/sdk"
	"nethost/sdk/guest"
)

type spin struct{}

func (spin) Describe() sdk.Descriptor {
	v := sdk.Version{Major: 1}
	return sdk.Descriptor{Name: "spin", Release: "1.0.0", Subprotocols: []sdk.Subprotocol{{ID: 0x1600, Version: v, MinPeer: v}}}
}

func (spin) Handle(env *sdk.Env, ev *sdk.Event) {
	switch {
	case ev.Kind == sdk.EvDrain:
		env.Drained()
	case ev.Kind != sdk.EvStreamData:
	case string(ev.Payload) == "spin":
		for i := 0; ; i++ {
			if i < 0 {
				return
			}
		}
	case string(ev.Payload) == "trap":
		panic("as asked")
	default:
		env.Write(ev.Ref, ev.Payload, ev.FIN())
	}
}

func init() { guest.Serve(spin{}) }

func main() {}
