package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets scripts run this very binary as the command nethost.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"nethost": main})
}

// TestScripts drives the real program: a script a verb, and one a mistake a user
// can make. Each has a directory and a home of its own.
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
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"code":   cmdCode,
			"jsonof": cmdJSONOf,
			"occupy": cmdOccupy,
			"mode":   cmdMode,
		},
	})
}

// cmdCode runs nethost and wants an exit code: code 2 run --bad.
func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	var out, errOut strings.Builder
	// In this process, because Exec says only that the code was not 0. Scripts
	// run side by side: paths are absolute.
	got := run(args[1:], strings.NewReader(""), &out, &errOut)
	ts.Logf("[exit code %d]\n%s%s", got, out.String(), errOut.String())
	ts.Check(os.WriteFile(ts.MkAbs("out"), []byte(out.String()), 0o644))
	ts.Check(os.WriteFile(ts.MkAbs("err"), []byte(errOut.String()), 0o644))
	if want := args[0]; want != string(rune('0'+got)) {
		ts.Fatalf("exit code %d, want %s", got, want)
	}
}

// cmdJSONOf sets a variable to a string field of the last standard output, which
// is JSON: jsonof NAME field.
func cmdJSONOf(ts *testscript.TestScript, neg bool, args []string) {
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		key, v, ok := strings.Cut(strings.TrimSpace(line), ":")
		if ok && key == `"`+args[1]+`"` {
			ts.Setenv(args[0], strings.Trim(v, ` ",`))
			return
		}
	}
	ts.Fatalf("no field %s", args[1])
}

// cmdOccupy takes a UDP port for the length of the script: occupy NAME.
func cmdOccupy(ts *testscript.TestScript, neg bool, args []string) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { c.Close() })
	ts.Setenv(args[0], c.LocalAddr().String())
}

// cmdMode wants a file's permissions: mode 0600 FILE.
func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	info, err := os.Stat(filepath.Clean(ts.MkAbs(args[1])))
	ts.Check(err)
	if got := info.Mode().Perm().String(); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}
