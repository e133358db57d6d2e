package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "check or show the configuration", RunE: group, Args: cobra.ArbitraryArgs}
	check := &cobra.Command{Use: "check", Short: "look for faults: all of them at once", Args: args(cobra.NoArgs)}
	checkJSON := check.Flags().Bool("json", false, "print JSON")
	check.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := loadConfig(cmd)
		if err == nil {
			_, err = readRules(c.Data)
		}
		if err != nil {
			return usageError{err}
		}
		if *checkJSON {
			return printJSON(cmd.OutOrStdout(), map[string]any{"file": c.file, "ok": true})
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: no faults\n", c.file)
		return nil
	}
	show := &cobra.Command{Use: "show", Short: "every key with its value, and where it was set", Args: args(cobra.NoArgs)}
	showJSON := show.Flags().Bool("json", false, "print JSON")
	show.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		if *showJSON {
			return printJSON(cmd.OutOrStdout(), c.keys)
		}
		var rows [][]string
		for _, key := range slices.Sorted(maps.Keys(c.keys)) {
			from := c.from[key]
			if from == "" {
				from = "default"
			}
			rows = append(rows, []string{key, fmt.Sprint(c.keys[key]), from})
		}
		table(cmd.OutOrStdout(), "KEY VALUE FROM", rows)
		return nil
	}
	cmd.AddCommand(check, show)
	return cmd
}

// reloadSocket finds the node even when its configuration is faulty: that is for the
// node to say.
func reloadSocket(cmd *cobra.Command) (string, error) {
	c, err := loadConfig(cmd)
	if err == nil {
		return c.Socket, nil
	}
	if s, _ := cmd.Flags().GetString("socket"); s != "" {
		return s, nil
	}
	if data, _ := cmd.Flags().GetString("data"); data != "" {
		return filepath.Join(data, "api.sock"), nil
	}
	return "", err
}
