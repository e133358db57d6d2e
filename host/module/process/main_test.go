package process

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	goplugin "github.com/hashicorp/go-plugin"

	"nethost/host/module"
	"nethost/sdk"
	"nethost/sdk/abi"
	"nethost/sdk/plugin"
	"nethost/sdk/plugin/frame"
	"nethost/sdk/sdktest/holdback"
	"nethost/subprotocols/builtin/echo"
)

// The test binary is also the programs it starts: the name it is started under
// says which. The real host's environment does not reach a program.
func TestMain(m *testing.M) {
	if os.Getenv("NETHOST_TEST_HOST") != "" {
		runHost()
		return
	}
	if os.Getenv(plugin.EnvDataSocket) == "" {
		os.Exit(m.Run())
	}
	switch mode := filepath.Base(os.Args[0]); mode {
	case "good", "wrongname":
		plugin.Serve(testModule{mode})
	case "echo":
		plugin.Serve(echo.New())
	case "holdback":
		plugin.Serve(holdback.New())
	case "silent":
		<-time.After(time.Hour) // a bare select would be called a deadlock
	case "crash":
		fmt.Fprintln(os.Stderr, "out of luck")
		os.Exit(3)
	case "noisy": // as an interpreter or a library that greets does
		fmt.Printf("Welcome!\n|||\n1|x|unix|y|grpc\n%s\n", strings.Repeat("noise ", 1000))
		plugin.Serve(testModule{"noisy"})
	case "newer":
		goplugin.Serve(&goplugin.ServeConfig{
			HandshakeConfig:  goplugin.HandshakeConfig{ProtocolVersion: plugin.ProtocolVersion + 1, MagicCookieKey: plugin.CookieKey, MagicCookieValue: plugin.CookieValue},
			VersionedPlugins: map[int]goplugin.PluginSet{plugin.ProtocolVersion + 1: {plugin.Dispense: &mute{}}},
			GRPCServer:       goplugin.DefaultGRPCServer,
		})
	case "garbage":
		fmt.Println("hello, world")
		<-time.After(time.Hour) // a bare select would be called a deadlock
	case "mirror":
		mirror()
	default:
		evil(mode)
	}
}

var testSubprotocols = []sdk.Subprotocol{{ID: 0xf001, Version: sdk.Version{Major: 1}, MinPeer: sdk.Version{Major: 1}}}

// testModule does what messages tell it to.
type testModule struct{ name string }

func (m testModule) Describe() sdk.Descriptor {
	return sdk.Descriptor{Name: m.name, Release: "1.0.0", Subprotocols: testSubprotocols}
}

func (testModule) Handle(env *sdk.Env, ev *sdk.Event) {
	if ev.Kind != sdk.EvMessage {
		return
	}
	answer := func(s string) { env.Send(ev.Peer, ev.ID, sdk.Realtime, []byte(s)) }
	word, rest, _ := strings.Cut(string(ev.Payload), " ")
	switch word {
	case "panic":
		panic("told to: " + rest)
	case "exit":
		os.Exit(7)
	case "hang":
		<-time.After(time.Hour) // a bare select would be called a deadlock
	case "work":
		env.Work(env.NewRef(), func() []byte { return []byte(rest) })
	case "print":
		fmt.Println("to stdout: " + rest)
		fmt.Fprintln(os.Stderr, "to stderr: "+rest)
	case "env":
		answer(strings.Join(os.Environ(), "\n"))
	case "allocate":
		n, _ := strconv.Atoi(rest)
		b := make([]byte, n)
		for i := 0; i < n; i += 4096 {
			b[i] = 1
		}
		answer(fmt.Sprint(len(b)))
	case "files":
		var open []*os.File
		for {
			f, err := os.Open(os.DevNull)
			if err != nil {
				answer(fmt.Sprint(len(open), " ", err))
				for _, f := range open {
					f.Close()
				}
				return
			}
			open = append(open, f)
		}
	case "pid":
		answer(fmt.Sprint(os.Getpid()))
	case "cwd":
		dir, _ := os.Getwd()
		answer(dir)
	case "spawn": // a child that holds every descriptor it can and ignores all but SIGKILL
		cmd := exec.Command("/bin/sh", "-c", "trap '' TERM INT HUP; while :; do read x; done")
		cmd.Stdout, cmd.Stderr = os.NewFile(1, ""), os.NewFile(2, "")
		r, _, _ := os.Pipe()
		cmd.Stdin = r
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		answer(fmt.Sprint(cmd.Process.Pid))
	default:
		answer(string(ev.Payload))
	}
}

func dial() net.Conn {
	conn, err := net.Dial("unix", os.Getenv(plugin.EnvDataSocket))
	if err != nil {
		panic(err)
	}
	return conn
}

// runHost is a host that is about to be killed: it opens a module and says the
// module's pid.
func runHost() {
	path, sum := self()
	link := filepath.Join(os.Getenv("NETHOST_TEST_HOST"), "good")
	os.Symlink(path, link)
	in, err := New(Options{Dir: os.Getenv("NETHOST_TEST_HOST")}).Open(context.Background(), module.Spec{Name: "good",
		Artifact: link, Digest: sum, Subprotocols: testSubprotocols})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(in.(*instance).run.ID())
	<-time.After(time.Hour) // a bare select would be called a deadlock
}

// mirror is the bare socket that the benchmark compares with.
func mirror() {
	conn, b := dial(), make([]byte, 64<<10)
	for {
		n, err := conn.Read(b)
		if err != nil {
			return
		}
		conn.Write(b[:n])
	}
}

// evil launches properly and then breaks one rule.
func evil(mode string) {
	signal.Ignore(syscall.SIGTERM)
	if mode != "nodata" {
		conn := dial()
		go func() {
			in, out := frame.NewReader(conn, sdk.MaxBatchBytes), frame.NewWriter(conn)
			for {
				b, err := in.Next()
				if err != nil {
					if mode == "stubborn" {
						<-time.After(time.Hour) // a bare select would be called a deadlock
					}
					os.Exit(0)
				}
				h, _, _ := abi.Parse(b, sdk.MaxBatchBytes)
				var w abi.Writer
				switch mode {
				case "wrongseq":
					w.ResetEffects(h.Seq + 1)
				case "twice":
					w.ResetEffects(h.Seq)
					out.Write(w.Bytes())
				case "badpost":
					w.ResetEffects(0)
					w.Emit(sdk.Effect{Kind: sdk.OpSend})
				case "toolong":
					conn.Write([]byte{255, 255, 255, 255})
					continue
				case "nobatch":
					out.Write([]byte("this is no batch"))
					continue
				case "hangup":
					conn.Close()
					<-time.After(time.Hour) // a bare select would be called a deadlock
				default:
					w.ResetEffects(h.Seq)
				}
				out.Write(w.Bytes())
			}
		}()
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: plugin.Handshake(),
		Plugins:         goplugin.PluginSet{plugin.Dispense: &mute{}},
		GRPCServer:      goplugin.DefaultGRPCServer,
	})
}
