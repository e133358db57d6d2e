package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"nethost/host/wire"
	"nethost/sdk/abi"
)

// release is the version of nethost. CHANGELOG.md tells what is in it.
const release = "0.1.0"

func versionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "the version of nethost, its wire and its ABI", Args: args(cobra.NoArgs)}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		commit := "unknown"
		if info, ok := debug.ReadBuildInfo(); ok {
			for _, s := range info.Settings {
				if s.Key == "vcs.revision" {
					commit = s.Value
				}
			}
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), map[string]any{"version": release, "commit": commit, "wire": wire.Version,
				"abi": fmt.Sprintf("1.%d", abi.Minor), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
		}
		fmt.Fprintf(cmd.OutOrStdout(), "nethost %s (commit %s, wire %d, abi 1.%d, %s %s/%s)\n", release, commit, wire.Version,
			abi.Minor, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return nil
	}
	return cmd
}
