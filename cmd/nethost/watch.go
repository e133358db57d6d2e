package main

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"nethost/sdk/client"
	v1 "nethost/sdk/client/nethostv1"
)

func watchCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "watch", Short: "what happens on this node, as it happens", Args: args(cobra.NoArgs),
		Long: `Prints events as they happen: peer-up, peer-down, suspect, alive, dead, route,
session, handshake, negotiated, refused, denied, unsupported, mtu, grey, barred,
repaired, twin, module, policy and keys. A reader that is too slow misses some rather than slow the node.`}
	asJSON := cmd.Flags().Bool("json", false, "print one JSON object a line")
	kinds := cmd.Flags().StringSlice("kind", nil, "only events of these kinds, such as suspect,dead,denied,module,route")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		enc := json.NewEncoder(cmd.OutOrStdout())
		return client.New(cfg.Socket).Watch(cmd.Context(), func(e *v1.Event) error {
			if e.Kind == "" { // says only that we watch
				return nil
			}
			if len(*kinds) > 0 && !slices.Contains(*kinds, e.Kind) {
				return nil
			}
			if *asJSON {
				return enc.Encode(map[string]any{"at_s": e.AtS, "kind": e.Kind, "node": e.Node, "addr": e.Addr, "text": e.Text})
			}
			who := short(e.Node)
			if who == "" {
				who = e.Addr
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%10.3fs  %-11s %-22s %s\n", e.AtS, e.Kind, who, e.Text)
			return err
		})
	}
	return cmd
}
