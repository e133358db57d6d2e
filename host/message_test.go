package host_test

import (
	"context"
	"crypto/sha256"
	"net/netip"
	"testing"
	"time"

	"nethost/host"
	"nethost/host/identity"
	"nethost/host/link"
	"nethost/host/module"
	"nethost/host/module/inproc"
	"nethost/sdk"
)

// volley sends a message of 64 KiB to the peer it meets, another one every 200 ms
// in case it was lost, and back what comes.
type volley struct {
	first bool
	peer  sdk.Peer
	at    chan bool // a message came: good or not
}

func (v *volley) Describe() sdk.Descriptor {
	one := sdk.Version{Major: 1}
	return sdk.Descriptor{Name: "volley", Subprotocols: []sdk.Subprotocol{{ID: 0x1501, Version: one, MinPeer: one}}}
}

func (v *volley) Handle(env *sdk.Env, ev *sdk.Event) {
	switch ev.Kind {
	case sdk.EvPeerUp, sdk.EvTimer:
		if !v.first {
			return
		}
		if ev.Kind == sdk.EvPeerUp {
			v.peer = ev.Peer
		}
		msg := make([]byte, sdk.MaxMessage)
		for i := range msg {
			msg[i] = byte(i * 7)
		}
		env.Send(v.peer, 0x1501, sdk.Bulk, msg)
		env.After(1, 200*time.Millisecond)
	case sdk.EvDrain:
		env.Drained()
	case sdk.EvMessage:
		good := len(ev.Payload) == sdk.MaxMessage
		for i, c := range ev.Payload {
			good = good && c == byte(i*7)
		}
		select {
		case v.at <- good:
			env.Send(ev.Peer, 0x1501, sdk.Bulk, ev.Payload)
		default: // enough
		}
	}
}

// TestLongMessagesOverUDP: messages of 64 KiB go to and fro between two hosts on
// real sockets.
func TestLongMessagesOverUDP(t *testing.T) {
	var peers []host.PeerAddr
	var seen [2]chan bool
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	for i := range seen {
		l, err := link.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"), link.UDPOptions{})
		if err != nil {
			t.Fatal(err)
		}
		seen[i] = make(chan bool, 100)
		m := &volley{first: i == 1, at: seen[i]}
		h, err := host.New(host.Config{Key: identity.NewKey(sha256.Sum256([]byte{byte(i)})), NetworkKey: sha256.Sum256([]byte("volley")), Incarnation: 1,
			Link: l, Peers: peers, Carriers: map[module.Kind]module.Carrier{module.Builtin: inproc.New(map[string]func() sdk.Module{"volley": func() sdk.Module { return m }})},
			Modules: []module.Spec{module.BuiltinSpec("volley", m.Describe(), module.Options{})}})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- h.Run(ctx) }()
		t.Cleanup(func() {
			cancel() // both at once, then wait
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		peers = append(peers, host.PeerAddr{Addr: l.LocalAddr(), Node: h.Self()})
	}
	began := time.Now()
	for n := range 50 {
		select {
		case good := <-seen[0]:
			if !good {
				t.Fatalf("message %d is not what was sent", n)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("after %d messages none came", n)
		}
	}
	t.Logf("50 messages of 64 KiB there and back in %v", time.Since(began))
}
