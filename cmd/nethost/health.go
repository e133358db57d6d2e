package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"nethost/host/kernel"
	"nethost/sdk/client"
	v1 "nethost/sdk/client/nethostv1"
)

// Health tells how well each peer is reached.
func (c *control) Health() *v1.HealthResponse {
	r := &v1.HealthResponse{}
	for _, p := range c.h.Snapshot().Peers {
		r.Peers = append(r.Peers, healthOf(&p))
	}
	return r
}

func healthOf(p *kernel.PeerStatus) *v1.PeerHealth {
	h := &v1.PeerHealth{Node: p.Node.String(), JitterMs: ms(p.RTTVar)}
	if n := p.Mux.Sent; n > 0 {
		h.LossOut = proto.Float64(float64(p.Mux.Lost-min(p.Mux.Lost, p.Mux.Spurious)) / float64(n))
	}
	return h
}

// peersListing is `nethost peers`: what NodeService says of each, and its health.
type peersListing struct{ health map[string]*v1.PeerHealth }

func (l *peersListing) ask(ctx context.Context, c *client.Client) (proto.Message, error) {
	m, err := c.Peers(ctx)
	if err != nil {
		return nil, err
	}
	l.health = map[string]*v1.PeerHealth{}
	if r, err := c.Health(ctx); err == nil { // else an older node: it has no more to say
		for _, h := range r.Peers {
			l.health[h.Node] = h
		}
	}
	return m, nil
}

func (l *peersListing) show(w io.Writer, m proto.Message) {
	var rows [][]string
	for _, p := range m.(*v1.PeersResponse).Peers {
		h := l.health[p.Node]
		rows = append(rows, []string{short(p.Node), p.State, p.Addr, short(p.Via), milliseconds(p.RttMs), milliseconds(h.GetJitterMs()),
			share(h.GetLossIn(), h != nil && h.LossIn != nil), share(h.GetLossOut(), h != nil && h.LossOut != nil),
			size(p.RxBytes), size(p.TxBytes), fmt.Sprint(p.Mtu), fmt.Sprint(p.Streams), seconds(p.SessionAgeS), against(h)})
	}
	table(w, "NODE STATE ADDRESS VIA RTT JITTER LOSS-IN LOSS-OUT RECEIVED SENT MTU STREAMS KEYS WHY", rows)
	if l := m.(*v1.PeersResponse).Link; l.GetNote() != "" {
		fmt.Fprintf(w, "link: %s\n", linkText(l))
	}
}

// share writes a share of packets as per cent, "" when it is not known.
func share(x float64, known bool) string {
	if !known {
		return ""
	}
	return fmt.Sprintf("%.1f%%", 100*x)
}

// against says what stands against a peer.
func against(h *v1.PeerHealth) string {
	var s []string
	if h.GetWhy() != "" {
		s = append(s, fmt.Sprintf("%s for %.0fms", h.Why, h.SilentMs))
	}
	if h.GetBarred() {
		s = append(s, fmt.Sprintf("barred (%.1f demerits)", h.Demerits))
	}
	for _, hop := range h.GetGrey() {
		s = append(s, short(hop)+" does not deliver to it")
	}
	return strings.Join(s, ", ")
}

// json is the peers with the health of each inside.
func (l *peersListing) json(cmd *cobra.Command, m proto.Message) error {
	opts := protojson.MarshalOptions{EmitUnpopulated: true, UseProtoNames: true}
	b, err := opts.Marshal(m)
	if err != nil {
		return err
	}
	var doc struct {
		Peers []map[string]any `json:"peers"`
		Link  map[string]any   `json:"link"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return err
	}
	for _, p := range doc.Peers {
		node, _ := p["node"].(string)
		if h := l.health[node]; h != nil {
			if b, err = opts.Marshal(h); err != nil {
				return err
			}
			p["health"] = json.RawMessage(b)
		}
	}
	return printJSON(cmd.OutOrStdout(), doc)
}
