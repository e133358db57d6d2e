package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"nethost/host/identity"
	"nethost/sdk/client"
	v1 "nethost/sdk/client/nethostv1"
)

// nextSuffix is added to the name of the network key for that of the second one,
// while the network changes its key.
const nextSuffix = ".next"

// networkKeys reads the one or two current keys.
func networkKeys(c *Config) (first, second identity.NetworkKey, err error) {
	if c.Open {
		first = identity.OpenNetworkKey()
	} else if first, err = readNetworkKey(c.NetworkKeyFile); err != nil {
		return first, second, err
	}
	path := c.SecondKeyFile
	if path == "" && !c.Open {
		if _, err := os.Lstat(c.NetworkKeyFile + nextSuffix); err == nil {
			path = c.NetworkKeyFile + nextSuffix
		}
	}
	if path != "" {
		second, err = readNetworkKey(path)
	}
	return first, second, err
}

// rotateKeys does one step of the change of the network key in the files.
func rotateKeys(c *Config, action, text string) error {
	next := c.NetworkKeyFile + nextSuffix
	_, err := os.Lstat(next)
	begun := err == nil
	switch {
	case c.Open:
		return errors.New("this node is on the open network, whose key is published: it cannot be changed")
	case c.SecondKeyFile != "":
		return errors.New("second_network_key_file is set: the keys are changed by hand, in the files; remove it and `nethost reload` to use rotate")
	case action == "begin" && begun:
		return fmt.Errorf("a change is under way: %s holds the second key: `nethost network rotate finish`, or abort", next)
	case action != "begin" && !begun:
		return errors.New("no change is under way: `nethost network rotate begin` starts one")
	}
	first, err := readNetworkKey(c.NetworkKeyFile)
	if err != nil {
		return err
	}
	switch action {
	case "begin":
		key, err := identity.ParseNetworkKey(text)
		if err != nil {
			return fmt.Errorf("second network key: %w", err)
		}
		if key == first {
			return errors.New("the second network key is the one that is in use: give another")
		}
		return writeAtomic(next, key.Text()+"\n", 0o600)
	case "finish":
		if _, err := readNetworkKey(next); err != nil {
			return err
		}
		if err := os.Rename(next, c.NetworkKeyFile); err != nil {
			return err
		}
		return syncDir(filepath.Dir(next))
	case "abort":
		if err := os.Remove(next); err != nil {
			return err
		}
		return syncDir(filepath.Dir(next))
	}
	return fmt.Errorf("no action %q: want begin, finish or abort", action)
}

// fingerprint tells keys apart and says nothing else of them.
func fingerprint(k identity.NetworkKey) string {
	if k == (identity.NetworkKey{}) {
		return ""
	}
	sum := sha256.Sum256(append([]byte("nethost network key fingerprint v1"), k[:]...))
	return hex.EncodeToString(sum[:6])
}

func networkCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "network", Short: "the network key", RunE: group, Args: cobra.ArbitraryArgs}
	rotate := &cobra.Command{Use: "rotate", RunE: group, Args: cobra.ArbitraryArgs,
		Short: "change the network key: two are current, then one",
		Long: `Changes the key of the network under nodes that run on:

  1. On one node: nethost network rotate begin. It makes a second key beside the
     first, in network.key.next.
  2. Copy that file to every node that shall stay, and on each:
     nethost network rotate begin --key FILE. Both keys admit now, and sessions stay.
  3. When all have it, on each: nethost network rotate finish. The second key is the
     only one. Who has only the old one loses its sessions within 30 s, and is
     refused from then on.

A node that does not run takes the keys when it starts.`}
	begin, key := rotateVerb("begin", "a second network key is current too"), ""
	begin.Flags().StringVar(&key, "key", "", "take the second key from this file instead of making one")
	run := begin.RunE
	begin.RunE = func(cmd *cobra.Command, a []string) error {
		var k identity.NetworkKey
		var err error
		if key != "" {
			k, err = readNetworkKey(key)
		} else {
			_, err = io.ReadFull(rand.Reader, k[:])
		}
		if err != nil {
			return err
		}
		cmd.SetContext(context.WithValue(cmd.Context(), secondKey{}, k.Text()))
		return run(cmd, a)
	}
	rotate.AddCommand(begin, rotateVerb("finish", "the second network key is the only one"),
		rotateVerb("abort", "forget the second network key"), rotateVerb("status", "which keys are current, and how many sessions use each"))
	cmd.AddCommand(rotate)
	return cmd
}

// secondKey is where begin leaves the key for the request.
type secondKey struct{}

func rotateVerb(action, short string) *cobra.Command {
	cmd := &cobra.Command{Use: action, Short: short, Args: args(cobra.NoArgs)}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		ask := action
		if ask == "status" {
			ask = ""
		}
		text, _ := cmd.Context().Value(secondKey{}).(string)
		r, err := client.New(c.Socket).NetworkKeys(cmd.Context(), ask, text)
		if errors.Is(err, client.ErrNotRunning) {
			if ask != "" {
				err = rotateKeys(c, ask, text)
			} else {
				err = nil
			}
			if err == nil {
				r, err = keysOf(c)
			}
			if err == nil {
				fmt.Fprintln(cmd.ErrOrStderr(), "nethost: no node runs here: it takes these keys when it starts")
			}
		}
		if err != nil {
			return err
		}
		if *asJSON {
			return printProto(cmd, r)
		}
		w := cmd.OutOrStdout()
		table(w, "KEY FINGERPRINT SESSIONS", keyRows(r))
		if made, _ := cmd.Context().Value(secondKey{}).(string); made != "" && (cmd.Flag("key") == nil || !cmd.Flag("key").Changed) {
			fmt.Fprintf(cmd.ErrOrStderr(), "nethost: copy %s to the other nodes, and there: nethost network rotate begin --key FILE\n", r.SecondFile)
		}
		return nil
	}
	return cmd
}

func keyRows(r *v1.NetworkKeysResponse) [][]string {
	rows := [][]string{{"first", r.First, fmt.Sprint(r.SessionsFirst)}}
	if r.Second != "" {
		rows = append(rows, []string{"second", r.Second, fmt.Sprint(r.SessionsSecond)})
	}
	if r.SessionsGone > 0 {
		rows = append(rows, []string{"gone", "", fmt.Sprint(r.SessionsGone)})
	}
	return rows
}

// keysOf tells about the keys in the files.
func keysOf(c *Config) (*v1.NetworkKeysResponse, error) {
	first, second, err := networkKeys(c)
	if err != nil {
		return nil, err
	}
	r := &v1.NetworkKeysResponse{First: fingerprint(first), Second: fingerprint(second)}
	if r.Second != "" {
		r.SecondFile = c.NetworkKeyFile + nextSuffix
		if c.SecondKeyFile != "" {
			r.SecondFile = c.SecondKeyFile
		}
	}
	return r, nil
}
