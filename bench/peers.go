package main

import "nethost/host/link"

// peers lists all contestants. What a row promises stands here and nowhere else.
func peers() []*Peer {
	const (
		nodes  = "both nodes by their keys (A pins the key of B), and both know the network key"
		mutual = "both ends of each connection, mutual TLS 1.3"
	)
	e2e := Traits{Secret: "nobody but A and B: sealed end to end, relays see ciphertext", Auth: nodes, Carrier: "UDP"}
	with := func(t Traits, reliable, ordered string) Traits {
		t.Reliable, t.Ordered = reliable, ordered
		return t
	}
	quicT := Traits{Secret: "nobody when direct; each relay of a chain is an application that decrypts everything", Auth: mutual, Carrier: "UDP"}
	return []*Peer{
		{Name: "nethost", Traits: with(e2e, "no", "no"), Relays: 3, Messages: true, UDP: true, Start: startNethost(link.GSOAuto, false)},
		{Name: "nethost, gso off", Traits: with(e2e, "no", "no"), Relays: 3, Messages: true, UDP: true, GSO: "off",
			Start: startNethost(link.GSOOff, false)},
		{Name: "nethost stream", Traits: with(e2e, "yes", "yes"), Relays: 3, Messages: true, Streams: true, UDP: true, Start: startNethost(link.GSOAuto, true)},
		{Name: "nethost stream, gso off", Traits: with(e2e, "yes", "yes"), Relays: 3, Streams: true, UDP: true, GSO: "off",
			Start: startNethost(link.GSOOff, true)},
		{Name: "quic-go datagram", Traits: with(quicT, "no", "no"), Relays: 3, Messages: true, UDP: true, Start: startQUIC(true)},
		{Name: "quic-go stream", Traits: with(quicT, "yes, hop by hop", "yes"), Relays: 3, Messages: true, Streams: true, UDP: true,
			Start: startQUIC(false)},
		{Name: "quic-go stream, gso off", Traits: with(quicT, "yes, hop by hop", "yes"), Relays: 3, Streams: true, UDP: true, GSO: "off",
			Env: []string{"QUIC_GO_DISABLE_GSO=true"}, Start: startQUIC(false)},
		{Name: "NATS plain", Traits: Traits{Secret: "everybody reads everything", Auth: "nobody", Reliable: "TCP on each hop; a broker drops slow consumers",
			Ordered: "yes", Carrier: "TCP"}, Relays: 3, Messages: true, Start: startNATS(false)},
		{Name: "NATS TLS", Traits: Traits{Secret: "the wire; brokers read everything", Auth: mutual, Reliable: "TCP on each hop; a broker drops slow consumers",
			Ordered: "yes", Carrier: "TCP"}, Relays: 3, Messages: true, Start: startNATS(true)},
		{Name: "libp2p", Traits: Traits{Secret: "nobody but A and B: Noise end to end, also through circuit v2", Auth: "both nodes, Noise XX", Reliable: "yes",
			Ordered: "yes", Carrier: "TCP, yamux"}, Relays: 1, Messages: true, Streams: true, Start: startLibp2p},
		{Name: "grpc-go TLS", Traits: Traits{Secret: "nobody: direct only", Auth: mutual, Reliable: "yes", Ordered: "yes", Carrier: "TCP, HTTP/2"},
			Messages: true, Streams: true, Unary: true, Start: startGRPC},
		{Name: "plain UDP", Traits: Traits{Secret: "everybody reads everything", Auth: "nobody", Reliable: "no", Ordered: "no", Carrier: "UDP, one datagram a call"},
			Relays: 3, Messages: true, UDP: true, Start: startUDP},
	}
}

func findPeer(name string) *Peer {
	for _, p := range peers() {
		if p.Name == name {
			return p
		}
	}
	return nil
}
