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
	"strconv"
	"strings"
	"time"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nethost/host"
	"nethost/host/impair"
	"nethost/host/kernel"
	"nethost/host/module"
	"nethost/sdk"
	"nethost/subprotocols/builtin"
)

// Config is everything a node's operator may set. Layers, weakest first:
// defaults, config.toml, environment (NETHOST_, "." is "__"), flags.
type Config struct {
	Data           string // directory of identity, state and socket
	Listen         string // UDP address
	Peers          []string
	Plugins        string        // directory of module packages; "": none
	Policy         kernel.Policy // relay and [autonomy]
	NetworkKeyFile string
	SecondKeyFile  string // of a second current network key; "": none
	Open           bool   // use the published network key
	Socket         string
	Profile        kernel.Profile // liveness.profile
	DeadAfter      time.Duration  // liveness.dead; 0: as the profile says
	GSO            string         // link.gso
	MaxMTU         int            // link.max_mtu
	Memory         int            // memory.max, bytes
	LAN            bool           // discovery.mdns
	LogLevel       string
	LogFormat      string
	Unsigned       bool              // modules.unsigned = "allow"
	Dev            bool              // --dev: that, and unsigned modules are not pinned
	Where          map[string]string // key: where it was set
	Watch          bool              // modules.watch: reload when the plugin directory changes
	Builtin        []string          // modules compiled in that are to run
	Grants         map[string]map[string]any
	Overrides      map[string]map[string]any // [module.NAME]

	keys map[string]any    // what the above was read from
	from map[string]string // where each key was set; missing: nowhere
	file string            // the configuration file

	reread func() (*Config, error) // the configuration as it is now; nil: it cannot change
}

// defaults are the keys that exist, with the value each has when nobody says
// otherwise. Tables of free names (grants, module) are not listed.
func defaults() map[string]any {
	home, err := os.UserHomeDir()
	if err != nil {
		home = "."
	}
	all := map[string]any{
		"data": filepath.Join(home, ".nethost"), "listen": "0.0.0.0:7700", "peers": []string{}, "plugins": "",
		"relay": true, "network_key_file": "", "second_network_key_file": "", "open": false, "socket": "", "liveness.profile": "default", "liveness.dead": "", "link.gso": "auto", "link.max_mtu": 8972, "memory.max": "256MiB",
		"discovery.mdns": true, "log.level": "info", "log.format": "text", "modules.unsigned": "refuse", "modules.watch": true, "modules.builtin": []string{},
	}
	maps.Copy(all, autonomyDefaults())
	return all
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
	l := &layers{k: koanf.New("."), known: defaults(), from: map[string]string{}}
	_ = l.k.Load(confmap.Provider(l.known, "."), nil) // a map cannot fail
	// The data directory decides where the file is: flag, then environment.
	flags := cmd.Flags()
	file, _ := flags.GetString("config")
	data := l.k.String("data")
	if s := os.Getenv("NETHOST_DATA"); s != "" {
		data = s
	}
	if f := flags.Lookup("data"); f.Changed {
		data = f.Value.String()
	}
	explicit := file != ""
	if !explicit {
		file = filepath.Join(data, configFile)
	}
	if b, err := os.ReadFile(file); err == nil {
		l.file(file, b)
	} else if explicit || !errors.Is(err, os.ErrNotExist) {
		l.fault("", "%w", err)
	}
	l.environment()
	l.flags(flags)
	c := l.decode()
	c.keys, c.from, c.file = l.k.All(), l.from, file
	if dev, _ := flags.GetBool("dev"); dev {
		c.Unsigned, c.Dev = true, true
	}
	if len(l.faults) > 0 {
		return nil, usageError{faultList(l.faults)}
	}
	return c, nil
}

// decode turns the merged keys into a Config and collects every fault.
func (l *layers) decode() *Config {
	k := l.k
	boolean := func(key string) bool {
		v, err := strconv.ParseBool(k.String(key))
		if err != nil {
			l.fault(key, "%s = %q: want true or false", key, k.String(key))
		}
		return v
	}
	oneOf := func(key string, choices ...string) string {
		v := k.String(key)
		if !slices.Contains(choices, v) {
			l.fault(key, "%s = %q: want one of %s", key, v, strings.Join(choices, ", "))
		}
		return v
	}
	c := &Config{Data: k.String("data"), Listen: k.String("listen"), Peers: k.Strings("peers"), Plugins: k.String("plugins"),
		Policy: l.autonomy(boolean), NetworkKeyFile: k.String("network_key_file"), SecondKeyFile: k.String("second_network_key_file"),
		Open: boolean("open"), LAN: boolean("discovery.mdns"), Socket: k.String("socket"),
		LogLevel: oneOf("log.level", "debug", "info", "warn", "error"), LogFormat: oneOf("log.format", "text", "json"), GSO: oneOf("link.gso", "auto", "on", "off"),
		Unsigned: oneOf("modules.unsigned", "allow", "refuse") == "allow", Watch: boolean("modules.watch"), Builtin: k.Strings("modules.builtin"),
		Where: l.from, Grants: l.tables("grants"), Overrides: l.tables("module")}
	var err error
	if c.Profile, err = kernel.ParseProfile(k.String("liveness.profile")); err != nil {
		l.fault("liveness.profile", "liveness.profile: %w", err)
	}
	if s := k.String("liveness.dead"); s == "" { // as the profile says
	} else if c.DeadAfter, err = time.ParseDuration(s); err != nil || c.DeadAfter < 30*time.Millisecond || c.DeadAfter > time.Minute {
		l.fault("liveness.dead", "liveness.dead = %q: want a duration from 30ms to 1m", k.String("liveness.dead"))
	}
	if c.MaxMTU, err = strconv.Atoi(k.String("link.max_mtu")); err != nil || c.MaxMTU < 1200 || c.MaxMTU > 65507 {
		l.fault("link.max_mtu", "link.max_mtu = %v: want a number of bytes from 1200 to 65507", k.Get("link.max_mtu"))
	}
	if c.Memory, err = impair.ParseSize(k.String("memory.max")); err != nil || c.Memory < 16<<20 {
		l.fault("memory.max", "memory.max = %q: want a size of at least 16MiB", k.String("memory.max"))
	}
	if _, err := netip.ParseAddrPort(c.Listen); err != nil {
		l.fault("listen", "listen = %q: want an address and port such as 0.0.0.0:7700 or [::]:7700", c.Listen)
	}
	for _, p := range c.Peers {
		if _, _, err := splitPeer(p); err != nil {
			l.fault("peers", "peers: %w", err)
		}
	}
	if c.Plugins != "" {
		if info, err := os.Stat(c.Plugins); err != nil {
			l.fault("plugins", "plugins = %q: %w", c.Plugins, errors.Unwrap(err))
		} else if !info.IsDir() {
			l.fault("plugins", "plugins = %q: not a directory", c.Plugins)
		}
	}
	l.modules(c)
	if c.Socket == "" {
		c.Socket = filepath.Join(c.Data, "api.sock")
	}
	if c.NetworkKeyFile == "" {
		c.NetworkKeyFile = filepath.Join(c.Data, networkFile)
	}
	return c
}

// modules checks what is said about modules, as far as it can be told without
// their packages.
func (l *layers) modules(c *Config) {
	all := builtin.All()
	for _, name := range c.Builtin {
		if all[name] == nil {
			l.fault("modules.builtin", "modules.builtin: no compiled-in module %q: there is %s", name, strings.Join(slices.Sorted(maps.Keys(all)), ", "))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Grants)) {
		opts := module.Options{Grants: map[string]map[string]any{name: c.Grants[name]}}
		if err := opts.Check(); err != nil {
			l.fault("grants."+name, "%w", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Overrides)) {
		opts := module.Options{Overrides: map[string]map[string]any{name: c.Overrides[name]}}
		if err := opts.Check(); err != nil {
			l.fault("module."+name, "%w", err)
		}
	}
}

// tables reads [name.X] tables: whatever keys they have is for others to check.
func (l *layers) tables(name string) map[string]map[string]any {
	out := map[string]map[string]any{}
	for _, key := range l.k.MapKeys(name) {
		t, ok := l.k.Get(name + "." + key).(map[string]any)
		if !ok {
			l.fault(name+"."+key, "%s.%s: want a table, as in [%s.%s]", name, key, name, key)
			continue
		}
		out[key] = t
	}
	return out
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
