package plugin

import (
	"fmt"
	"io"
	"net"
	"os"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"

	"nethost/sdk"
)

// Serve runs the module until the host ends it. A program's main calls it and
// nothing else; it does not return before the program should.
//
// A panic of the module ends the program: the host logs the trace and starts a
// fresh one.
func Serve(m sdk.Module) {
	stderr := os.Stderr // go-plugin puts something else there
	socket := os.Getenv(EnvDataSocket)
	if os.Getenv(CookieKey) != CookieValue || socket == "" {
		d := m.Describe()
		fmt.Fprintf(stderr, "This is the nethost module %q, not a program of its own.\n"+
			"Put its folder into the plugin directory and nethost starts it: nethost run --plugins DIR\n", d.Name)
		os.Exit(1)
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		fmt.Fprintf(stderr, "nethost module: cannot reach the host's data socket: %v\n", err)
		os.Exit(1)
	}
	// Its end is the program's end, whichever of the two the host closes first.
	go func() {
		if err := serveBatches(conn, m); err != nil {
			fmt.Fprintf(stderr, "nethost module: %v\n", err)
			os.Exit(1)
		}
		os.Exit(0)
	}()
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  Handshake(),
		VersionedPlugins: map[int]goplugin.PluginSet{ProtocolVersion: {Dispense: &served{m: m}}},
		GRPCServer:       goplugin.DefaultGRPCServer,
		Logger:           hclog.NewNullLogger(),
	})
}

// serveBatches answers batches until the stream ends. It returns nil at an
// orderly end, which includes a host that was killed.
func serveBatches(conn io.ReadWriter, m sdk.Module) error {
	l := newLoop(conn, m)
	for {
		done, err := l.step()
		if done || err != nil {
			return err
		}
	}
}
