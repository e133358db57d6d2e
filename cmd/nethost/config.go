package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nethost/host"
	"nethost/sdk"
)

// Config is everything a node's operator may set. Layers, weakest first:
// defaults, config.toml, environment (NETHOST_, "." is "__"), flags.
type Config struct {
	Data           string // directory of identity, state and socket
	Listen         string // UDP address
	Peers          []string
	Plugins        string // directory of module packages; "": none
	Relay          bool
	NetworkKeyFile string
	Open           bool // use the published network key
	Socket         string
	DeadAfter      time.Duration
	LogLevel       string
	LogFormat      string
	Unsigned       bool     // modules.unsigned = "allow"
	Builtin        []string // modules compiled in that are to run
	Grants         map[string]map[string]any
	Overrides      map[string]map[string]any // [module.NAME]
}

// defaults are the keys that exist, with the value each has when nobody says
// otherwise. Tables of free names (grants, module) are not listed.
func defaults() map[string]any {
	home, err := os.UserHomeDir()
	if err != nil {
		home = "."
	}
	return map[string]any{
		"data": filepath.Join(home, ".nethost"), "listen": "0.0.0.0:7700", "peers": []string{}, "plugins": "",
		"relay": true, "network_key_file": "", "open": false, "socket": "", "liveness.dead": "150ms",
		"log.level": "info", "log.format": "text", "modules.unsigned": "refuse", "modules.builtin": []string{},
	}
}

// flagKeys maps flags to keys. Every verb has them, because every verb needs to
// find the node.
var flagKeys = map[string]string{
	"data": "data", "listen": "listen", "peers": "peers", "plugins": "plugins", "relay": "relay",
	"network-key-file": "network_key_file", "open": "open", "socket": "socket", "log-level": "log.level",
	"log-format": "log.format", "builtin": "modules.builtin",
}

func addConfigFlags(f *pflag.FlagSet) {
	f.String("config", "", "configuration file (default DATA/config.toml)")
	f.String("data", "", "directory of the node's identity, state and socket (default ~/.nethost)")
	f.String("socket", "", "socket of the local api (default DATA/api.sock)")
}

// addRunFlags adds the flags that matter to a node only.
func addRunFlags(f *pflag.FlagSet) {
	f.String("listen", "", `UDP address (default "0.0.0.0:7700")`)
	f.StringSlice("peers", nil, "nodes to keep a session with: NODEID@HOST:PORT or HOST:PORT")
	f.String("plugins", "", "directory of module packages")
	f.StringSlice("builtin", nil, "compiled-in modules to run")
	f.Bool("relay", true, "forward packets of others")
	f.String("network-key-file", "", "file of the network key (default DATA/network.key)")
	f.Bool("open", false, "use the published network key: anybody may join")
	f.String("log-level", "", "debug, info, warn or error")
	f.String("log-format", "", "text or json")
	f.Bool("dev", false, "for development: unsigned modules are allowed")
}

// loadConfig merges the layers. Its error lists every fault at once.
func loadConfig(cmd *cobra.Command) (*Config, error) {
	k := koanf.New(".")
	known := defaults()
	_ = k.Load(confmap.Provider(known, "."), nil) // a map cannot fail
	var faults []error
	// The data directory decides where the file is: flag, then environment.
	flags := cmd.Flags()
	file, _ := flags.GetString("config")
	data := k.String("data")
	if s := os.Getenv("NETHOST_DATA"); s != "" {
		data = s
	}
	if f := flags.Lookup("data"); f.Changed {
		data = f.Value.String()
	}
	explicit := file != ""
	if !explicit {
		file = filepath.Join(data, "config.toml")
	}
	b, err := os.ReadFile(file)
	switch {
	case err == nil:
		if err := k.Load(rawbytes.Provider(b), toml.Parser()); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", file, err))
		}
	case explicit || !errors.Is(err, os.ErrNotExist):
		faults = append(faults, fmt.Errorf("configuration file: %w", err))
	}
	_ = k.Load(env.Provider(".", env.Opt{Prefix: "NETHOST_", TransformFunc: func(key, v string) (string, any) {
		key = strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(key, "NETHOST_")), "__", ".")
		if _, list := known[key].([]string); list {
			return key, strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })
		}
		return key, v
	}}), nil)
	fromFlags := map[string]any{}
	flags.Visit(func(f *pflag.Flag) {
		if key := flagKeys[f.Name]; key != "" {
			if list, ok := f.Value.(pflag.SliceValue); ok {
				fromFlags[key] = list.GetSlice()
			} else {
				fromFlags[key] = f.Value.String()
			}
		}
	})
	_ = k.Load(confmap.Provider(fromFlags, "."), nil)
	c, more := decode(k, known, file)
	if dev, _ := flags.GetBool("dev"); dev {
		c.Unsigned = true
	}
	if faults = append(faults, more...); len(faults) > 0 {
		return nil, usageError{faultList(faults)}
	}
	return c, nil
}

// decode turns the merged keys into a Config and collects every fault.
func decode(k *koanf.Koanf, known map[string]any, file string) (*Config, []error) {
	var faults []error
	fault := func(format string, a ...any) { faults = append(faults, fmt.Errorf(format, a...)) }
	keys := k.Keys()
	sort.Strings(keys)
	for _, key := range keys {
		if _, ok := known[key]; !ok && !strings.HasPrefix(key, "grants.") && !strings.HasPrefix(key, "module.") {
			fault("unknown key %s (in %s, or NETHOST_%s in the environment)%s", key, file,
				strings.ToUpper(strings.ReplaceAll(key, ".", "__")), didYouMean(key, known))
		}
	}
	boolean := func(key string) bool {
		v, err := strconv.ParseBool(k.String(key))
		if err != nil {
			fault("%s = %q: want true or false", key, k.String(key))
		}
		return v
	}
	oneOf := func(key string, choices ...string) string {
		v := k.String(key)
		for _, c := range choices {
			if v == c {
				return v
			}
		}
		fault("%s = %q: want one of %s", key, v, strings.Join(choices, ", "))
		return v
	}
	c := &Config{Data: k.String("data"), Listen: k.String("listen"), Peers: k.Strings("peers"), Plugins: k.String("plugins"),
		Relay: boolean("relay"), NetworkKeyFile: k.String("network_key_file"), Open: boolean("open"), Socket: k.String("socket"),
		LogLevel: oneOf("log.level", "debug", "info", "warn", "error"), LogFormat: oneOf("log.format", "text", "json"),
		Unsigned: oneOf("modules.unsigned", "allow", "refuse") == "allow", Builtin: k.Strings("modules.builtin"),
		Grants: tables(k, "grants", &faults), Overrides: tables(k, "module", &faults)}
	var err error
	if c.DeadAfter, err = time.ParseDuration(k.String("liveness.dead")); err != nil || c.DeadAfter < 30*time.Millisecond || c.DeadAfter > time.Minute {
		fault("liveness.dead = %q: want a duration from 30ms to 1m", k.String("liveness.dead"))
	}
	if _, err := netip.ParseAddrPort(c.Listen); err != nil {
		fault("listen = %q: want an address and port such as 0.0.0.0:7700 or [::]:7700", c.Listen)
	}
	for _, p := range c.Peers {
		if _, _, err := splitPeer(p); err != nil {
			fault("peers: %v", err)
		}
	}
	if c.Plugins != "" {
		if info, err := os.Stat(c.Plugins); err != nil {
			fault("plugins = %q: %v", c.Plugins, errors.Unwrap(err))
		} else if !info.IsDir() {
			fault("plugins = %q: not a directory", c.Plugins)
		}
	}
	if c.Socket == "" {
		c.Socket = filepath.Join(c.Data, "api.sock")
	}
	if c.NetworkKeyFile == "" {
		c.NetworkKeyFile = filepath.Join(c.Data, "network.key")
	}
	return c, faults
}

// tables reads [name.X] tables: whatever keys they have is for others to check.
func tables(k *koanf.Koanf, name string, faults *[]error) map[string]map[string]any {
	out := map[string]map[string]any{}
	for _, key := range k.MapKeys(name) {
		t, ok := k.Get(name + "." + key).(map[string]any)
		if !ok {
			*faults = append(*faults, fmt.Errorf("%s.%s: want a table, as in [%s.%s]", name, key, name, key))
			continue
		}
		out[key] = t
	}
	return out
}

// didYouMean finds the known key that is nearest to a wrong one: two letters away
// at most, or the same name in another table.
func didYouMean(key string, known map[string]any) string {
	tail := func(s string) string { return s[strings.LastIndex(s, ".")+1:] }
	best, found := 3, ""
	for _, k := range slices.Sorted(maps.Keys(known)) {
		d := min(distance(key, k), distance(tail(key), tail(k)))
		if d < best {
			best, found = d, k
		}
	}
	if found == "" {
		return ""
	}
	return ": did you mean " + found + "?"
}

// distance is Levenshtein's: how many letters must be added, removed or changed.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func faultList(faults []error) error {
	if len(faults) == 1 {
		return fmt.Errorf("configuration: %w", faults[0])
	}
	var b strings.Builder
	fmt.Fprintf(&b, "configuration: %d faults", len(faults))
	for _, f := range faults {
		fmt.Fprintf(&b, "\n  %v", f)
	}
	return errors.New(b.String())
}

// splitPeer reads "nodeid@host:port" or "host:port".
func splitPeer(s string) (node sdk.NodeID, addr string, err error) {
	addr = s
	if id, rest, ok := strings.Cut(s, "@"); ok {
		if node, err = sdk.ParseNodeID(id); err != nil {
			return node, "", fmt.Errorf("%q: %w", s, err)
		}
		addr = rest
	}
	hostname, port, err := net.SplitHostPort(addr)
	if err != nil || hostname == "" {
		return node, "", fmt.Errorf("%q: want HOST:PORT or NODEID@HOST:PORT", s)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return node, "", fmt.Errorf("%q: port %q is not a number from 1 to 65535", s, port)
	}
	return node, addr, nil
}

// resolvePeer looks the host of a peer string up.
func resolvePeer(s string) (host.PeerAddr, error) {
	node, addr, err := splitPeer(s)
	if err != nil {
		return host.PeerAddr{}, err
	}
	ua, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return host.PeerAddr{}, fmt.Errorf("peer %s: %w", s, err)
	}
	ap := ua.AddrPort()
	return host.PeerAddr{Addr: netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), Node: node}, nil
}
