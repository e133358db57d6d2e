package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"nethost/sdk/client"
	v1 "nethost/sdk/client/nethostv1"
)

// Packages implements localapi.PackageBackend.
func (b *backend) Packages() *v1.PackagesResponse {
	r := &v1.PackagesResponse{}
	for _, m := range b.h.Modules().Specs() {
		s := &m
		p := &v1.Package{Name: s.Name, Publisher: s.Publisher, Label: s.Standing.Label, Signature: string(s.Standing.Voucher),
			Lock: s.Standing.Lock, Grants: s.Grants.List(), Missing: s.Standing.Missing, Notes: s.Standing.Notes}
		if s.Artifact != "" {
			p.Digest = hex.EncodeToString(s.Digest[:])
		}
		r.Packages = append(r.Packages, p)
	}
	for _, j := range b.plugins.refused() {
		if j.Waits != nil {
			r.NeedsApproval = append(r.NeedsApproval, j.Waits.Name)
		}
	}
	return r
}

// shortPublisher is enough of a key to tell publishers apart in a table.
func shortPublisher(s string) string { return s[:min(16, len(s))] }

func packagesCommand() *cobra.Command {
	return listing{use: "status", short: "whose modules the node runs: publisher, signature, lock and grants", wait: "the node answers",
		ask: func(ctx context.Context, c *client.Client) (proto.Message, error) { return c.Packages(ctx) },
		show: func(w io.Writer, m proto.Message) {
			r := m.(*v1.PackagesResponse)
			var rows [][]string
			for _, p := range r.Packages {
				by := p.Label
				if by == "" {
					by = shortPublisher(p.Publisher)
				}
				rows = append(rows, []string{p.Name, by, strings.ReplaceAll(p.Signature, " ", "-"), p.Lock, p.Digest[:min(16, len(p.Digest))],
					strings.Join(p.Grants, ","), strings.Join(p.Missing, ",")})
			}
			table(w, "NAME PUBLISHER SIGNATURE LOCK BLAKE3 GRANTS MISSING", rows)
			for _, name := range r.NeedsApproval {
				fmt.Fprintf(w, "%s waits: `nethost module approve %s` says yes\n", name, name)
			}
			for _, p := range r.Packages {
				for _, note := range p.Notes {
					fmt.Fprintf(w, "note: %s\n", note)
				}
			}
		}}.command()
}
