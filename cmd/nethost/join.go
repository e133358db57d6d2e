package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nethost/host/identity"
	"nethost/host/invite"
	"nethost/host/store"
)

func joinCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "join STRING",
		Short: "join a network with an invite",
		Long: `Joins the network of whoever made the invite (nethost invite): makes an identity if
there is none, fetches the network key, and writes it and the inviter's address into
the data directory. "-" reads the invite from standard input, which keeps it out of
the shell's history.`,
		Args: args(cobra.ExactArgs(1)),
	}
	addRunFlags(cmd.Flags())
	start := cmd.Flags().Bool("run", false, "run the node at once")
	within := cmd.Flags().Duration("within", 10*time.Second, "how long to wait for the inviter")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		c, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		text := a[0]
		if text == "-" {
			b := make([]byte, 8192)
			n, _ := cmd.InOrStdin().Read(b)
			text = string(b[:n])
		}
		inv, err := identity.ParseInvite(text)
		if err != nil {
			return usageError{err}
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), *within)
		defer cancel()
		j, err := join(ctx, c, inv)
		if err != nil {
			return err
		}
		if *asJSON {
			err = printJSON(cmd.OutOrStdout(), j)
		} else {
			_, err = fmt.Fprintln(cmd.OutOrStdout(), j.Node)
		}
		if err != nil || !*start {
			fmt.Fprintf(cmd.ErrOrStderr(), "nethost: node %s joined the network of %s: start it with `nethost run --data %s`\n", j.Node[:8], inv.Node.Short(), c.Data)
			return err
		}
		if c, err = loadConfig(cmd); err != nil { // join wrote to it
			return err
		}
		c.reread = func() (*Config, error) { return loadConfig(cmd) }
		return runNode(cmd.Context(), c, cmd.ErrOrStderr())
	}
	return cmd
}

// joined is what `join --json` prints.
type joined struct {
	Node    string `json:"node"`
	Data    string `json:"data"`
	Inviter string `json:"inviter"`
	Peer    string `json:"peer"`
	Network string `json:"network"` // the key's fingerprint
}

// join redeems an invite for the node in c.Data. Nothing but the identity is written
// before the key is here; a node of another network is refused before it asks.
func join(ctx context.Context, c *Config, inv identity.Invite) (*joined, error) {
	if c.Open {
		return nil, usageError{errors.New("open = true: this node uses the published network key; remove that from its configuration to join another network")}
	}
	have, err := readNetworkKey(c.NetworkKeyFile)
	if _, statErr := os.Lstat(c.NetworkKeyFile); errors.Is(statErr, fs.ErrNotExist) {
		have, err = identity.NetworkKey{}, nil
	}
	if err != nil {
		return nil, err
	}
	if have != (identity.NetworkKey{}) && have.Fingerprint() != inv.Network {
		return nil, fmt.Errorf("%s is the key of another network (%s; the invite is into %s), and a node is in one: choose another directory with --data, or move that file away",
			c.NetworkKeyFile, have.Fingerprint(), inv.Network)
	}
	key, err := joinIdentity(c.Data)
	if err != nil {
		return nil, err
	}
	if key.ID() == inv.Node {
		return nil, usageError{errors.New("this invite was made by this very node: type it on another machine, or choose another directory with --data")}
	}
	incarnation, err := store.Incarnation(c.Data)
	if err != nil {
		return nil, err
	}
	network, addr, err := invite.Redeem(ctx, inv, key, incarnation)
	if err != nil {
		return nil, err
	}
	if have == (identity.NetworkKey{}) {
		if err := writeNew(c.NetworkKeyFile, network.Text()+"\n", 0o600); err != nil {
			return nil, err
		}
	} else if have != network {
		return nil, fmt.Errorf("%s gave another key than that in %s: it changes its network key just now; try again later", inv.Node.Short(), c.NetworkKeyFile)
	}
	j := &joined{Node: key.ID().String(), Data: c.Data, Inviter: inv.Node.String(), Peer: inv.Node.String() + "@" + addr, Network: network.Fingerprint()}
	if err := addPeer(c.Data, c.Peers, j.Peer); err != nil {
		return nil, fmt.Errorf("joined, and the network key is here, but %s was not changed (%w): add peers = [%q] to it, or start with --peers %s",
			filepath.Join(c.Data, configFile), err, j.Peer, j.Peer)
	}
	return j, nil
}

// joinIdentity reads the node's key, or makes one.
func joinIdentity(data string) (*identity.Key, error) {
	if _, err := os.Lstat(filepath.Join(data, keyFile)); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(data, 0o700); err != nil {
			return nil, err
		}
		if _, err := writeNode(data, identity.NetworkKey{}); err != nil {
			return nil, err
		}
	}
	return readNodeKey(data)
}

// addPeer puts a peer into the configuration in data, which is made when there is
// none. It is a change of one line: whatever else somebody wrote stays.
func addPeer(data string, have []string, peer string) error {
	for _, p := range have {
		if p == peer {
			return nil
		}
	}
	path := filepath.Join(data, configFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		b, err = []byte(configTemplate), nil
	}
	if err != nil {
		return err
	}
	lines := strings.SplitAfter(string(b), "\n")
	at := -1
	for i, l := range lines {
		s := strings.TrimSpace(l)
		if strings.HasPrefix(s, "[") {
			break // keys of tables follow
		}
		switch {
		case at < 0 && strings.HasPrefix(s, "# peers ="):
			at = i
		case strings.HasPrefix(s, "peers ") || strings.HasPrefix(s, "peers="):
			if strings.Contains(l, peer) {
				return nil
			}
			before, rest, ok := strings.Cut(l, "[")
			if !ok {
				return errors.New("its peers cannot be read")
			}
			lines[i] = fmt.Sprintf("%s[%q, %s", before, peer, rest)
			return store.Replace(path, []byte(strings.Join(lines, "")))
		}
	}
	line := fmt.Sprintf("peers = [%q] # from an invite\n", peer)
	if at < 0 {
		lines = append([]string{line}, lines...)
	} else {
		lines[at] = line
	}
	return store.Replace(path, []byte(strings.Join(lines, "")))
}
