package main

import (
	"fmt"
	"math"
	"strconv"

	"nethost/sdk"
)

// ID is counter's subprotocol id.
const ID sdk.ID = 0x1001

// maxArgument bounds the data of one call, in bytes: a signed 64-bit number has
// at most 20 characters, and people put a newline behind it.
const maxArgument = 32

// Counter is the module.
type Counter struct {
	value, messages int64
	changed         bool // since the last Put
	kept            bool // the grant state is held
	calls           map[sdk.Ref]*call
}

type call struct {
	method string
	data   []byte
}

// New returns a counter at zero.
func New() sdk.Module { return &Counter{calls: make(map[sdk.Ref]*call)} }

// Describe implements sdk.Module.
func (c *Counter) Describe() sdk.Descriptor {
	v := sdk.Version{Major: 1, Minor: 0}
	return sdk.Descriptor{Name: "counter", Release: "1.0.0", Methods: []string{"get", "add", "messages"},
		Subprotocols: []sdk.Subprotocol{{ID: ID, Version: v, MinPeer: v}}}
}

// Handle implements sdk.Module.
func (c *Counter) Handle(env *sdk.Env, ev *sdk.Event) {
	switch ev.Kind {
	case sdk.EvState:
		c.restore(env, ev.Payload)
	case sdk.EvStart:
		s, err := sdk.ParseStart(ev.Payload)
		c.kept = err == nil && s.StateLimit > 0
	case sdk.EvMessage:
		c.messages++
		c.changed = true
		env.Count("messages", 1)
	case sdk.EvStreamOpen:
		c.open(env, ev)
	case sdk.EvStreamData:
		c.data(env, ev)
	case sdk.EvStreamReset:
		delete(c.calls, ev.Ref)
	case sdk.EvDrain:
		env.Drained()
	case sdk.EvFlush:
		if c.kept && c.changed {
			env.Put([]byte("value"), strconv.AppendInt(nil, c.value, 10))
			env.Put([]byte("messages"), strconv.AppendInt(nil, c.messages, 10))
		}
		c.changed = false
	}
}

func (c *Counter) restore(env *sdk.Env, entry []byte) {
	key, val, err := sdk.ParseStateEntry(entry)
	n, numErr := strconv.ParseInt(string(val), 10, 64)
	switch {
	case err != nil || numErr != nil:
		env.Log(sdk.LogWarn, fmt.Sprintf("state entry %q is not a number: starting it from 0", key))
	case string(key) == "value":
		c.value = n
	case string(key) == "messages":
		c.messages = n
	}
}

func (c *Counter) open(env *sdk.Env, ev *sdk.Event) {
	o, err := sdk.ParseOpen(ev.Payload)
	if err != nil {
		env.Reset(ev.Ref, sdk.InvalidArgument, "malformed open")
		return
	}
	switch o.Method {
	case "":
		o.Method = "get"
	case "get", "add", "messages":
	default:
		env.Reset(ev.Ref, sdk.Unimplemented, "counter has the methods get, add and messages")
		return
	}
	c.calls[ev.Ref] = &call{method: o.Method}
}

func (c *Counter) data(env *sdk.Env, ev *sdk.Event) {
	k := c.calls[ev.Ref]
	if k == nil {
		return
	}
	if len(k.data)+len(ev.Payload) > maxArgument {
		c.refuse(env, ev.Ref, fmt.Sprintf("more than %d bytes of data: want one decimal number", maxArgument))
		return
	}
	k.data = append(k.data, ev.Payload...)
	if !ev.FIN() {
		return
	}
	answer := c.value
	switch k.method {
	case "messages":
		answer = c.messages
	case "add":
		n, err := strconv.ParseInt(trim(string(k.data)), 10, 64)
		if err != nil {
			c.refuse(env, ev.Ref, fmt.Sprintf("%q is not a decimal number of 64 bits", k.data))
			return
		}
		if (n > 0 && c.value > math.MaxInt64-n) || (n < 0 && c.value < math.MinInt64-n) {
			c.refuse(env, ev.Ref, fmt.Sprintf("%d + %d does not fit 64 bits", c.value, n))
			return
		}
		c.value += n
		c.changed = true
		answer = c.value
	}
	delete(c.calls, ev.Ref)
	env.Write(ev.Ref, strconv.AppendInt(nil, answer, 10), true)
}

func (c *Counter) refuse(env *sdk.Env, ref sdk.Ref, why string) {
	delete(c.calls, ref)
	env.Reset(ref, sdk.InvalidArgument, why)
}

// trim drops the newline that a shell's echo leaves behind a number.
func trim(s string) string {
	for len(s) > 0 && (s[len(s)-1] == '\n' || s[len(s)-1] == '\r') {
		s = s[:len(s)-1]
	}
	return s
}
