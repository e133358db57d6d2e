package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"nethost/host/module"
)

// TestMain lets scripts run this very binary as the command nethost.
func TestMain(m *testing.M) {
	testscript.Main(suite{m}, map[string]func(){"nethost": main, "echoplugin": runEchoPlugin})
}

// productDir is where the tests that need the binary as make builds it put it.
var productDir string

// suite runs the tests between making and removing productDir.
type suite struct{ m *testing.M }

func (s suite) Run() int {
	var err error
	if productDir, err = os.MkdirTemp("", "nh"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(productDir)
	return s.m.Run()
}

// TestScripts drives the real program: a script a verb, and one a mistake a user
// can make. Each has a home of its own, and $D for data directories.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			// Sockets must fit 107 bytes, so the data directories are short.
			short, err := os.MkdirTemp("", "nh")
			if err != nil {
				return err
			}
			env.Defer(func() { os.RemoveAll(short) })
			env.Setenv("HOME", short)
			env.Setenv("D", short)
			// Nodes of a test meet nobody but those it names.
			env.Setenv("NETHOST_DISCOVERY__MDNS", "false")
			// Ports that nobody has now; outside the range that the system gives away.
			for i := 1; i <= scriptPorts; i++ {
				port, err := freePort()
				if err != nil {
					return err
				}
				env.Setenv(fmt.Sprintf("P%d", i), port)
			}
			// The race detector would wait a second before each end.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"code":   cmdCode,
			"jsonof": cmdJSONOf,
			"occupy": cmdOccupy,
			"mode":   cmdMode,
			"random": cmdRandom,
			"await":  cmdAwait,
			"pack":   cmdPack,
			"upper":  cmdUpper,
			"unhex":  cmdUnhex,
		},
	})
}

// scriptPorts are the variables $P1, $P2, ... of a script: UDP ports for nodes that must
// be found at the same place again after a restart.
const scriptPorts = 4

// freePort gives a port of loopback that nobody has now. Ports of the range that
// connections are given by the system would be taken soon by another test.
func freePort() (string, error) {
	var err error
	for range 100 {
		port := strconv.Itoa(10_000 + rand.IntN(20_000))
		var c net.PacketConn
		if c, err = net.ListenPacket("udp", "127.0.0.1:"+port); err == nil {
			return port, c.Close()
		}
	}
	return "", err
}

// cmdCode runs nethost and wants an exit code: code 2 run --bad. Standard output
// and error are then checked with stdout and stderr.
func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec("nethost", args[1:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// cmdJSONOf sets a variable to a string field of the last standard output, which
// is JSON: jsonof NAME field.
func cmdJSONOf(ts *testscript.TestScript, neg bool, args []string) {
	m := regexp.MustCompile(`"` + args[1] + `": *"([^"]*)"`).FindStringSubmatch(ts.ReadFile("stdout"))
	if m == nil {
		ts.Fatalf("no field %s", args[1])
	}
	ts.Setenv(args[0], m[1])
}

// cmdOccupy takes a UDP port for the length of the script: occupy NAME.
func cmdOccupy(ts *testscript.TestScript, neg bool, args []string) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { c.Close() })
	ts.Setenv(args[0], c.LocalAddr().String())
}

// cmdMode wants a file's permissions: mode -rw------- FILE.
func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	info, err := os.Lstat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := info.Mode().Perm().String(); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

// cmdRandom makes a file of so many MiB that do not compress: random FILE 4.
func cmdRandom(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = io.CopyN(f, rand.NewChaCha8([32]byte{1}), int64(n)<<20)
	ts.Check(errors.Join(err, f.Close()))
}

// cmdAwait waits until a file, which something in the background writes, matches:
// await REGEXP FILE [20s].
func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	want := regexp.MustCompile("(?m)" + args[0])
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	within := 20 * time.Second
	if len(args) > 2 {
		var err error
		within, err = time.ParseDuration(args[2])
		ts.Check(err)
	}
	deadline := time.After(within)
	for {
		b, err := os.ReadFile(ts.MkAbs(args[1]))
		if err == nil && want.Match(b) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("%s does not match %q: %s", args[1], args[0], b)
		}
	}
}

// cmdPack puts the true digest of a package's artifact where its module.toml says
// DIGEST: pack DIR ARTIFACT.
func cmdPack(ts *testscript.TestScript, neg bool, args []string) {
	sum, err := module.Digest(ts.MkAbs(args[0] + "/" + args[1]))
	ts.Check(err)
	path := args[0] + "/" + module.ManifestName
	text := strings.ReplaceAll(ts.ReadFile(path), "DIGEST", fmt.Sprintf("%x", sum))
	ts.Check(os.WriteFile(ts.MkAbs(path), []byte(text), 0o644))
}

// cmdUpper sets a variable to a text in capitals: upper NAME TEXT.
func cmdUpper(ts *testscript.TestScript, neg bool, args []string) {
	ts.Setenv(args[0], strings.ToUpper(args[1]))
}

// cmdUnhex writes a file of hexadecimal digits: unhex FILE 0061736d.
func cmdUnhex(ts *testscript.TestScript, neg bool, args []string) {
	b, err := hex.DecodeString(args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o644))
}
