package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"nethost/host/identity"
)

const (
	keyFile     = "node.key"
	configFile  = "config.toml"
	networkFile = "network.key"
)

const configTemplate = `# Configuration of a nethost node. Every key is shown with its default.
# A key may also come from the environment (NETHOST_LISTEN, NETHOST_LOG__LEVEL)
# or from a flag of ` + "`nethost run`" + `; flags win over the environment, which wins
# over this file.

# listen = "0.0.0.0:7700"     # UDP address; "[::]:7700" for both IPv6 and IPv4
# peers = []                  # keep a session with: "NODEID@HOST:PORT" or "HOST:PORT"
# relay = true                # forward packets of others
# plugins = ""                # directory of module packages
# network_key_file = ""       # default: network.key beside this file
# second_network_key_file = "" # a second key that also admits, while a network changes its key
# open = false                # true: the published network key, anybody may join
# socket = ""                 # local api; default: api.sock beside this file

# [link]
# gso = "auto"                # trains of datagrams in one piece: auto, on, off
# max_mtu = 8972              # largest UDP payload looked for on each link; 1200: none

# [memory]
# max = "256MiB"              # what the node holds at most; half of it is for streams

# [liveness]
# profile = "default"         # or "fast": a silent neighbour is given up after 50ms instead of 150ms
# dead = ""                   # another silence than the profile's, such as "300ms"

# [discovery]
# mdns = true                 # meet nodes of this network on the local network; never on a loopback address

# What others may use of this node. ` + "`nethost peer`, `nethost relay` and `nethost kill-switch`" + `
# change it while it runs; all of this is taken by ` + "`nethost reload`" + ` too.
# [autonomy]
# relay_quota = ""            # what is relayed for all together, such as "10MiB" a second; "": no bound
# neighbor_rate = ""          # ... and for each neighbour
# peer_rate = ""              # what each peer may send to this node
# allow = []                  # NodeIDs: there are no others for this node
# deny = []                   # NodeIDs that are neither served nor relayed
# reject = []                 # subprotocols that peers are not served, such as ["0x1001"]
# redirect = []               # hand opens on to another holder: "0x1001" or "0x1001=NODEID"
# trace = true                # tell members the next hop when they ask
# kill_switch = false         # true: relay and serve nothing

# [log]
# level = "info"              # debug, info, warn, error
# format = "text"             # text, json

[modules]
# unsigned = "refuse"         # "allow" loads modules that nobody signed
builtin = ["capability", "identity", "channels"] # compiled-in modules to run; default: none. There is "echo" as well

# What a module may do is asked for in its module.toml and given here; nothing is
# given by default, but for compiled-in capability (state, sign, connect),
# identity (state) and channels (state, connect, wall, announce, call).
# [grants.counter]
# state = "1MiB"              # key-value state, kept across restarts
# [grants."acme/telemetry"]   # one that is signed: with the label of its publisher

# [module.echo]
# carrier = "builtin"         # run it compiled in instead of from its package
# record = true               # keep every batch in records/echo, for "nethost module replay"
`

func initCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "init",
		Short: "make an identity, a network key and a commented config",
		Long: `Makes the node's identity (node.key), the network key (network.key) and a
commented config.toml in the data directory. Nothing that exists is overwritten.

The nodes of one network share its key: make it once, and give the file to the
others with --network-key.`,
		Args: args(cobra.NoArgs),
	}
	networkKey := cmd.Flags().String("network-key", "", "take the network key from this file instead of making one")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		id, err := initNode(c.Data, *networkKey)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), map[string]string{"node": id, "data": c.Data})
		}
		fmt.Fprintln(cmd.OutOrStdout(), id)
		fmt.Fprintf(cmd.ErrOrStderr(), "nethost: made node %s in %s: start it with `nethost run --data %s`\n", id[:8], c.Data, c.Data)
		return nil
	}
	return cmd
}

// initNode makes the files of a node and gives its NodeID.
func initNode(data, networkKey string) (string, error) {
	keyPath := filepath.Join(data, keyFile)
	if _, err := os.Lstat(keyPath); err == nil {
		return "", fmt.Errorf("%s exists: this node has an identity already; choose another directory with --data", keyPath)
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return "", err
	}
	network, err := networkKeyFor(filepath.Join(data, networkFile), networkKey)
	if err != nil {
		return "", err
	}
	return writeNode(data, network)
}

// writeNode makes the files of a node; without a network, all but its key.
func writeNode(data string, network identity.NetworkKey) (string, error) {
	var seed [32]byte
	if _, err := io.ReadFull(rand.Reader, seed[:]); err != nil {
		return "", err
	}
	files := []struct {
		name, text string
		mode       fs.FileMode
		keep       bool // an existing one is fine
	}{
		{networkFile, network.Text() + "\n", 0o600, true},
		{configFile, configTemplate, 0o644, true},
		{keyFile, hex.EncodeToString(seed[:]) + "\n", 0o600, false},
	}
	if network == (identity.NetworkKey{}) {
		files = files[1:]
	}
	for _, f := range files {
		if err := writeNew(filepath.Join(data, f.name), f.text, f.mode); err != nil && !(f.keep && errors.Is(err, fs.ErrExist)) {
			return "", err
		}
	}
	return identity.NewKey(seed).ID().String(), nil
}

// networkKeyFor gives the key of the network a new node joins: that of the file
// from, or that which lies at path already, or a new one.
func networkKeyFor(path, from string) (identity.NetworkKey, error) {
	var network identity.NetworkKey
	if from != "" {
		var err error
		if network, err = readNetworkKey(from); err != nil {
			return network, err
		}
	} else if _, err := io.ReadFull(rand.Reader, network[:]); err != nil {
		return network, err
	}
	if _, err := os.Lstat(path); err != nil {
		return network, nil
	}
	have, err := readNetworkKey(path)
	if err == nil && from != "" && have != network {
		err = fmt.Errorf("%s exists and is another key than %s: remove it, or leave --network-key out", path, from)
	}
	return have, err
}

// writeNew writes a file that must not exist yet. What fails leaves none behind.
func writeNew(path, text string, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		os.Remove(path)
	}
	return err
}

// readSecret reads a file that only its owner may read.
func readSecret(path, what string) (string, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s %s does not exist: make one with `nethost init`", what, path)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", fmt.Errorf("%s %s can be read by others (mode %04o): mend it with `chmod 600 %s`", what, path, mode, path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	return strings.TrimSpace(string(b)), nil
}

// readNodeKey reads the identity.
func readNodeKey(data string) (*identity.Key, error) {
	path := filepath.Join(data, keyFile)
	text, err := readSecret(path, "node key")
	if err != nil {
		return nil, err
	}
	seed, err := hex.DecodeString(text)
	if err != nil || len(seed) != 32 {
		return nil, fmt.Errorf("node key %s is damaged: want 64 hexadecimal digits; restore it from a backup, or remove it and run `nethost init` for a new identity", path)
	}
	return identity.NewKey([32]byte(seed)), nil
}

func readNetworkKey(path string) (identity.NetworkKey, error) {
	text, err := readSecret(path, "network key")
	if err != nil {
		return identity.NetworkKey{}, err
	}
	key, err := identity.ParseNetworkKey(text)
	if err != nil {
		return key, fmt.Errorf("network key %s: %w", path, err)
	}
	return key, nil
}
