package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
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
	"nethost/sdk"
	"nethost/subprotocols/builtin"
)

// coreModules are the modules of this project that may hold core ids. Anybody
// else needs an id of the vendor or experimental range.
var coreModules = []string{"echo", "capability", "identity"}

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
		return runNode(cmd.Context(), c, cmd.ErrOrStderr(), func() (*Config, error) { return loadConfig(cmd) })
	}
	return cmd
}

// runNode wires the house: it is the only place that sees every room.
// reread gives the configuration anew.
func runNode(ctx context.Context, c *Config, errOut io.Writer, reread func() (*Config, error)) error {
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

	cfg.SaveIncarnation = func(n uint64) error { return store.SaveIncarnation(c.Data, n) }

	rejected, err := loadModules(c, &cfg, log)
	if err != nil {
		return err
	}
	udp, err := link.ListenUDP(netip.MustParseAddrPort(c.Listen), link.UDPOptions{GSO: link.GSO(c.GSO)})
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("udp %s is in use: is another nethost running? choose another port with --listen", c.Listen)
		}
		return fmt.Errorf("udp %s: %w", c.Listen, err)
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
	keeper := newKeeper(c, h, log, cfg.Peers)
	control := &control{h: h, log: log, level: level, cfg: c, rules: rules, reread: reread, rejected: rejected, keeper: keeper}
	api, err := localapi.Listen(c.Socket, &backend{control: control, h: h, rejected: rejected, open: cfg.NetworkKey.IsOpen(), mods: cfg.Modules,
		inviter: newInviter(book, h)})
	if err != nil {
		udp.Close()
		return err
	}
	defer api.Close()
	log.Info("node is up", "node", h.Self(), "listen", udp.LocalAddr(), "modules", len(cfg.Modules), "api", api.Path())
	kept := make(chan struct{})
	keepCtx, stopKeeping := context.WithCancel(ctx)
	go func() {
		defer close(kept)
		keeper.run(keepCtx)
	}()
	defer func() {
		stopKeeping()
		<-kept
	}()
	go returnIdleMemory(ctx, int64(c.Memory))
	go control.remember(ctx)
	go control.onHangup(ctx, hup)
	if err := h.Run(ctx); err != nil {
		return err
	}
	log.Info("stopped")
	return nil
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

// loadModules reads the plugin directory and the compiled-in modules. A package
// that is refused is told on stderr and in the listing; the others start.
func loadModules(c *Config, cfg *host.Config, log *slog.Logger) ([]module.Rejection, error) {
	opts := moduleOptions(c)
	var rejected []module.Rejection
	if c.Plugins != "" {
		var err error
		if cfg.Modules, rejected, err = module.Load(c.Plugins, opts); err != nil {
			return nil, err
		}
	}
	for _, name := range c.Builtin {
		if slices.ContainsFunc(cfg.Modules, func(s module.Spec) bool { return s.Name == name }) {
			continue // its package is there already
		}
		spec := builtinSpec(name, opts)
		for _, p := range spec.Subprotocols {
			for _, s := range cfg.Modules {
				if slices.ContainsFunc(s.Subprotocols, func(q sdk.Subprotocol) bool { return q.ID == p.ID && q.Version.Major == p.Version.Major }) {
					return nil, usageError{fmt.Errorf("modules.builtin: %s holds %v, and so does package %s: remove one of the two", name, p.ID, s.Name)}
				}
			}
		}
		cfg.Modules = append(cfg.Modules, spec)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Grants)) {
		unused(log, "grants", name, cfg.Modules, rejected)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Overrides)) {
		unused(log, "module", name, cfg.Modules, rejected)
	}
	for _, s := range cfg.Modules {
		for _, note := range s.Standing.Notes {
			log.Warn(note, "module", s.Name)
		}
	}
	for _, r := range rejected {
		log.Error("module refused", "file", r.File, "line", r.Line, "reason", r.Reason)
	}
	return rejected, nil
}

// unused warns of a table for a module that is not here: most likely its name is
// misspelt, or it lacks the publisher's.
func unused(log *slog.Logger, table, name string, specs []module.Spec, rejected []module.Rejection) {
	bare := name[strings.LastIndexByte(name, '/')+1:]
	if slices.ContainsFunc(rejected, func(r module.Rejection) bool { return strings.TrimSuffix(filepath.Base(r.Path()), ".wasm") == bare }) {
		return
	}
	hint := ""
	for i := range specs {
		tables := []string{specs[i].Name}
		if table == "grants" {
			tables = specs[i].GrantTables()
		}
		if slices.Contains(tables, name) {
			return
		}
		if specs[i].Name == bare {
			hint = fmt.Sprintf("[%s.%q]", table, tables[0])
		}
	}
	if hint != "" {
		log.Warn("the configuration gives grants to a module of another publisher than the one that is here", "table", "["+table+"."+name+"]", "want", hint)
		return
	}
	log.Warn("the configuration speaks of a module that is not here", "table", "["+table+"."+name+"]")
}

func newLogger(c *Config, w io.Writer, level *slog.LevelVar) *slog.Logger {
	_ = level.UnmarshalText([]byte(c.LogLevel)) // checked when the configuration was read
	opts := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
