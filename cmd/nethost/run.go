package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"nethost/host"
	"nethost/host/link"
	"nethost/host/localapi"
	"nethost/host/module"
	"nethost/host/module/inproc"
	"nethost/host/module/process"
	"nethost/host/module/wasm"
	"nethost/host/store"
	"nethost/subprotocols/builtin"
)

// coreModules are the modules of this project that may hold core ids. Anybody
// else needs an id of the vendor or experimental range.
var coreModules = []string{"echo", "capability", "identity", "channels"}

func runCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "run a node",
		Long: `Runs a node until SIGINT or SIGTERM, then says goodbye to its neighbours and
ends with 0. The node's identity comes from the data directory (nethost init).`,
		Args: args(cobra.NoArgs),
	}
	addRunFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		c.reread = func() (*Config, error) { return loadConfig(cmd) }
		return runNode(cmd.Context(), c, cmd.ErrOrStderr())
	}
	return cmd
}

// runNode wires the house: it is the only place that sees every room.
func runNode(ctx context.Context, c *Config, errOut io.Writer) error {
	hup := hangups()
	defer signal.Stop(hup)
	level := new(slog.LevelVar)
	log := newLogger(c, errOut, level)
	cfg, err := hostConfig(c, log)
	if err != nil {
		return err
	}
	rules, err := readRules(c.Data)
	if err != nil {
		return err
	}
	if cfg.Policy = rules.policy(c.Policy); cfg.Policy.Killed {
		log.Warn("KILL-SWITCH IS ON: this node relays and serves nothing; `nethost kill-switch off` ends that")
	}
	db, err := store.Open(filepath.Join(c.Data, "state.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	cfg.State = func(name string) module.State { return db.Module(name) }
	// After the state is locked: a second process on one directory must not
	// raise the count.
	if cfg.Incarnation, err = store.Incarnation(c.Data); err != nil {
		return err
	}
	dataFiles(&cfg, c.Data)
	plugins := &catalogue{c: c, log: log}
	cfg.Widens, cfg.Disabled = plugins.widens, plugins.isDisabled
	if err := plugins.readDisabled(); err != nil {
		return err
	}
	if cfg.Modules, err = plugins.read(); err != nil {
		return err
	}
	udp, err := listenUDP(c)
	if err != nil {
		return err
	}
	cfg.Link = udp
	book, err := openInvites(c, &cfg)
	if err != nil {
		udp.Close()
		return err
	}
	h, err := host.New(cfg)
	if err != nil {
		udp.Close()
		return err
	}
	plugins.h = h
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	keeper := newKeeper(c, h, log, cfg.Peers)
	control := &control{h: h, log: log, level: level, cfg: c, rules: rules, plugins: plugins, keeper: keeper}
	api, err := localapi.Listen(c.Socket, &backend{control: control, h: h, plugins: plugins, open: cfg.NetworkKey.IsOpen(), stop: stop,
		inviter: newInviter(book, h)})
	if err != nil {
		udp.Close()
		return err
	}
	defer api.Close()
	log.Info("node is up", "node", h.Self(), "listen", udp.LocalAddr(), "modules", len(cfg.Modules), "api", api.Path())
	defer keeper.start(ctx)()
	if c.LAN {
		go meet(ctx, c, keeper, udp.LocalAddr(), log)
	}
	if c.Watch && c.Plugins != "" {
		go plugins.watch(ctx)
	}
	go returnIdleMemory(ctx, int64(c.Memory))
	go control.remember(ctx)
	go control.onHangup(ctx, hup)
	if err := h.Run(ctx); err != nil {
		return err
	}
	log.Info("stopped")
	return nil
}

// dataFiles says where below the data directory a host keeps what.
func dataFiles(cfg *host.Config, dir string) {
	cfg.SaveIncarnation = func(n uint64) error { return store.SaveIncarnation(dir, n) }
	cfg.Crash, cfg.Kept, cfg.Records = filepath.Join(dir, "crash"), filepath.Join(dir, "modules"), filepath.Join(dir, "records")
}

func listenUDP(c *Config) (*link.UDP, error) {
	udp, err := link.ListenUDP(netip.MustParseAddrPort(c.Listen), link.UDPOptions{GSO: link.GSO(c.GSO)})
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("udp %s is in use: is another nethost running? choose another port with --listen", c.Listen)
	case err != nil:
		return nil, fmt.Errorf("udp %s: %w", c.Listen, err)
	}
	return udp, nil
}

// hostConfig reads identity, network key and peers.
func hostConfig(c *Config, log *slog.Logger) (host.Config, error) {
	key, err := readNodeKey(c.Data)
	if err != nil {
		return host.Config{}, err
	}
	guests, err := wasm.New(filepath.Join(c.Data, "cache"))
	if err != nil {
		return host.Config{}, err
	}
	cfg := host.Config{Key: key, Profile: c.Profile, DeadAfter: c.DeadAfter, MaxMTU: c.MaxMTU, Memory: c.Memory, Log: log,
		Facts: func() []string { return machineFacts(c.Data) },
		Carriers: map[module.Kind]module.Carrier{
			module.Builtin: inproc.New(builtin.All()),
			module.Wasm:    guests,
			module.Process: process.New(process.Options{}),
		}}
	if c.Open {
		log.Warn("OPEN NETWORK: the network key is published, so anybody may join, and relays are no secret to them; end-to-end encryption still holds")
	}
	if cfg.NetworkKey, cfg.NetworkKey2, err = networkKeys(c); err != nil {
		return cfg, err
	}
	for _, p := range c.Peers {
		if _, at, err := splitPeer(p); err == nil && isName(at) {
			continue // the keeper's
		}
		addr, err := resolvePeer(p)
		if err != nil {
			return cfg, err
		}
		if addr.Node != key.ID() {
			cfg.Peers = append(cfg.Peers, addr)
		}
	}
	return cfg, nil
}

func newLogger(c *Config, w io.Writer, level *slog.LevelVar) *slog.Logger {
	_ = level.UnmarshalText([]byte(c.LogLevel)) // checked when the configuration was read
	opts := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
