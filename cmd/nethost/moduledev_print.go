package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"nethost/host/module"
)

// devPrinter writes what happens, a line at a time. It is safe for concurrent use.
type devPrinter struct {
	mu       sync.Mutex
	out, err io.Writer
	json     *json.Encoder // nil: for people
	began    time.Time
}

func newDevPrinter(out, err io.Writer, asJSON bool) *devPrinter {
	p := &devPrinter{out: out, err: err, began: time.Now()}
	if asJSON {
		p.json = json.NewEncoder(out)
	}
	return p
}

// devNote is what happens beside events and effects, as JSON.
type devNote struct {
	What    string   `json:"what"`
	At      int64    `json:"at_us"`
	Node    string   `json:"node,omitempty"`
	Text    string   `json:"text,omitempty"`
	Module  string   `json:"module,omitempty"`
	Release string   `json:"release,omitempty"`
	Carrier string   `json:"carrier,omitempty"`
	Blake3  string   `json:"blake3,omitempty"`
	Grants  []string `json:"grants,omitempty"`
	Method  string   `json:"method,omitempty"`
	Sent    string   `json:"sent,omitempty"`
	Answer  *string  `json:"answer,omitempty"`
	Error   string   `json:"error,omitempty"`
	Output  string   `json:"output,omitempty"` // of the compiler
	Serves  bool     `json:"serves,omitempty"` // a version before goes on
	Took    int64    `json:"took_us,omitempty"`
}

// line writes an event or effect.
func (p *devPrinter) line(l *devLine) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := time.Since(p.began)
	l.At = at.Microseconds()
	if p.json != nil {
		_ = p.json.Encode(l)
		return
	}
	arrow, ref := "<-", ""
	if l.What == "effect" {
		arrow = "->"
	}
	switch {
	case l.Stream:
		ref = fmt.Sprintf("stream %d", l.Ref)
	case l.Ref != 0:
		ref = fmt.Sprintf("ref %d", l.Ref)
	}
	text := fmt.Sprintf("%9.3f  %s %s %-15s %-4s %-9s %-10s %5d B", at.Seconds(), l.Node, arrow, l.Kind, or(l.Peer, "-"), or(ref, "-"), or(l.Method, "-"), l.Length)
	if l.FIN {
		text += "  FIN"
	}
	if l.Detail != "" {
		text += "  " + l.Detail
	}
	if l.Length > 0 {
		text += "  " + show(l.data)
		if l.Length > len(l.data) {
			text += "..."
		}
	}
	fmt.Fprintln(p.out, text)
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// say writes a note: text for people goes to w, indented like a line.
func (p *devPrinter) say(w io.Writer, n devNote, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := time.Since(p.began)
	n.At = at.Microseconds()
	if p.json != nil {
		_ = p.json.Encode(n)
		return
	}
	fmt.Fprintf(w, "%9.3f  %s\n", at.Seconds(), text)
}

// note writes what has no more to it than a text; node is "" for both.
func (p *devPrinter) note(what, node, text string) {
	w, line := p.err, text
	switch what { // what the module does goes where its effects go
	case "died":
		w, line = p.out, node+" -- died: "+text
	case "printed":
		w, line = p.out, node+" .. printed: "+text
	}
	p.say(w, devNote{What: what, Node: node, Text: text}, line)
}

// built tells of a build.
func (p *devPrinter) built(b *devBuild, said string, took time.Duration) {
	grants := b.spec.Grants.List()
	text := fmt.Sprintf("built %s %s (%s) in %v", b.spec.Name, b.spec.Release, b.digest[:8], took.Round(time.Millisecond))
	if len(grants) > 0 {
		text += ", granted " + strings.Join(grants, " ")
	}
	if said = strings.TrimRight(said, "\n"); said != "" {
		text = said + "\n           " + text
	}
	p.say(p.err, devNote{What: "built", Module: b.spec.Name, Release: b.spec.Release, Carrier: string(b.spec.Kind), Blake3: b.digest,
		Grants: grants, Output: said, Took: took.Microseconds()}, text)
}

// buildFailed shows what compilers say.
func (p *devPrinter) buildFailed(err error, said string, serves, once bool) {
	text := "BUILD FAILED: " + err.Error()
	if said = strings.TrimRight(said, "\n"); said != "" {
		text = said + "\n           " + text
	}
	switch {
	case serves:
		text += "; the version before goes on"
	case !once:
		text += "; nothing runs yet: mend it and save"
	}
	p.say(p.err, devNote{What: "build-failed", Error: err.Error(), Output: said, Serves: serves}, text)
}

// taken tells that a version serves on a node.
func (p *devPrinter) taken(node string, c module.Reloaded) {
	text := fmt.Sprintf("%s runs %s %s", node, c.Name, c.To)
	if c.What == "upgraded" {
		text = fmt.Sprintf("%s reloaded %s, after a pause of %v", node, c.Name, c.Pause.Round(time.Microsecond))
	}
	p.say(p.err, devNote{What: c.What, Node: node, Module: c.Name, Release: c.To, Took: c.Pause.Microseconds()}, text)
}

// answer tells what came of a call.
func (p *devPrinter) answer(c devCall, answer []byte, err error, took time.Duration) {
	n := devNote{What: "answer", Node: "B", Method: c.method, Sent: c.text, Took: took.Microseconds()}
	text := fmt.Sprintf("call %s %q", c.method, c.text)
	if err != nil {
		n.Error = err.Error()
		text += " failed: " + err.Error()
	} else {
		s := string(answer)
		n.Answer = &s
		text += fmt.Sprintf(" = %q in %v", answer, took.Round(10*time.Microsecond))
	}
	p.say(p.out, n, text)
}

// logger gives the log of a node: what is new to who sees every event and effect.
func (p *devPrinter) logger(node string) slog.Handler {
	return slog.NewTextHandler(devLog{p, node}, &slog.HandlerOptions{Level: slog.LevelWarn,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == "module") {
				return slog.Attr{}
			}
			return a
		}})
}

// devLog writes the lines of a node's log as notes.
type devLog struct {
	p    *devPrinter
	node string
}

// Write implements io.Writer.
func (l devLog) Write(b []byte) (int, error) {
	text := strings.TrimSuffix(string(b), "\n")
	l.p.say(l.p.err, devNote{What: "log", Node: l.node, Text: text}, l.node+" .. "+text)
	return len(b), nil
}
