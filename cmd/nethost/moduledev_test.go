package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// devRun is the running command, and what it says.
type devRun struct {
	t     *testing.T
	in    io.Writer
	lines chan map[string]any
}

// until reads on until a line says what is wanted; a save is repeated, for the watch may
// not stand yet.
func (r *devRun) until(what string, again func(), want func(l map[string]any) bool) {
	r.t.Helper()
	end := time.After(90 * time.Second)
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	var seen []string
	for {
		select {
		case l, ok := <-r.lines:
			if !ok {
				r.t.Fatalf("it ended before %s; it said\n%s", what, strings.Join(seen, "\n"))
			}
			seen = append(seen, fmt.Sprint(l))
			if want(l) {
				return
			}
		case <-tick.C:
			again()
		case <-end:
			r.t.Fatalf("no %s; it said\n%s", what, strings.Join(seen, "\n"))
		}
	}
}

// TestModuleDev: a project runs between two nodes; a save that does not build leaves
// what serves alone, one that does takes over with the state of before; Ctrl-C ends
// with 0 and leaves nothing behind.
func TestModuleDev(t *testing.T) {
	bin, err := product()
	if err != nil {
		t.Fatal(err)
	}
	dir, tmp := filepath.Join(t.TempDir(), "greeter"), t.TempDir()
	var out strings.Builder
	if code := run([]string{"module", "new", "greeter", "--process", "--id", "0xF123", "--dir", dir}, nil, &out, &out); code != 0 {
		t.Fatal(out.String())
	}
	cmd := exec.Command(bin, "module", "dev", dir, "--json", "--call", "greet", "--text", "you")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	r := &devRun{t, in, make(chan map[string]any, 10_000)}
	go func() {
		defer close(r.lines)
		for s := bufio.NewScanner(said); s.Scan(); {
			l := map[string]any{}
			if err := json.Unmarshal(s.Bytes(), &l); err != nil {
				l["what"] = "no JSON: " + s.Text()
			}
			r.lines <- l
		}
	}()
	nothing := func() {}
	is := func(pairs ...any) func(map[string]any) bool {
		return func(l map[string]any) bool {
			for i := 0; i < len(pairs); i += 2 {
				if l[pairs[i].(string)] != pairs[i+1] {
					return false
				}
			}
			return true
		}
	}
	// Both nodes run it, and both sides of the call are seen.
	for _, node := range []string{"A", "B"} {
		r.until(node+" runs it", nothing, is("what", "added", "node", node))
	}
	r.until("the request", nothing, is("what", "event", "node", "B", "kind", "StreamData", "peer", "A", "method", "greet", "length", 3.0, "bytes", "796f75", "fin", true))
	r.until("the effect", nothing, is("what", "effect", "node", "B", "kind", "StreamWrite", "peer", "A", "method", "greet", "length", 10.0))
	r.until("the answer", nothing, is("what", "answer", "method", "greet", "answer", "hello, you"))

	source := filepath.Join(dir, "greeter.go")
	good, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	save := func(text string) func() {
		write := func() {
			if err := os.WriteFile(source, []byte(text), 0o644); err != nil {
				t.Error(err)
			}
		}
		write()
		return write
	}
	again := save(string(good) + "\nnonsense\n")
	r.until("a failed build", again, func(l map[string]any) bool {
		output, _ := l["output"].(string)
		return l["what"] == "build-failed" && l["serves"] == true && strings.Contains(output, "greeter.go")
	})
	fmt.Fprintln(r.in, "call greet me")
	r.until("the version before", nothing, is("what", "answer", "sent", "me", "answer", "hello, me"))

	// Two were greeted by the version before.
	text := strings.Replace(string(good), `[]byte("hello, ")`, `fmt.Appendf(nil, "number %d, ", m.greeted)`, 1)
	again = save(strings.Replace(text, "import (", "import (\n\t\"fmt\"", 1))
	for _, node := range []string{"A", "B"} {
		r.until("a reload on "+node, again, is("what", "upgraded", "node", node))
	}
	r.until("the new answer, with the state of before", nothing, is("what", "answer", "answer", "number 3, you"))

	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	r.until("drain", nothing, is("what", "effect", "kind", "Drained"))
	for range r.lines { // to the end: Wait closes the pipe
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(tmp, "nethost-dev-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
