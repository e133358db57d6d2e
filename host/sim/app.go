package sim

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"nethost/host/kernel"
	"nethost/sdk"
)

// App is an application's stream.
type App struct {
	Opened, FIN bool
	Data        []byte
	Err         string
	Credit      uint64
	transfer    *transfer // what is written as credit comes; nil: the owner writes
}

// transfer is what a stream carries to an echo and should bring back.
type transfer struct {
	data, rest []byte
	closed     bool
}

// Open opens an application's stream to the module of another node.
func (n *Node) Open(to sdk.NodeID, id sdk.ID, method string) *App {
	a := &App{}
	n.open(a, to, id, method)
	return a
}

func (n *Node) open(a *App, to sdk.NodeID, id sdk.ID, method string) {
	n.next++
	n.apps[n.next] = a
	n.step(kernel.Input{Kind: kernel.InAppOpen, App: n.next, Node: to, ID: id, Open: sdk.Open{Method: method}})
}

// Write writes bytes of an application's stream.
func (n *Node) Write(a *App, b []byte, fin bool) {
	for num, x := range n.apps {
		if x == a {
			a.Credit -= min(a.Credit, uint64(len(b)))
			n.step(kernel.Input{Kind: kernel.InAppWrite, App: num, Data: b, FIN: fin})
			return
		}
	}
}

func (n *Node) appEvent(ev kernel.AppEvent) {
	a := n.apps[ev.App]
	if a == nil {
		return
	}
	switch ev.Kind {
	case kernel.AppOpened:
		a.Opened, a.Credit = true, a.Credit+ev.N
		n.pump(ev.App, a)
	case kernel.AppData:
		a.Data = append(a.Data, ev.Data...)
		a.FIN = ev.FIN
		if len(ev.Data) > 0 && !ev.FIN {
			n.todo = append(n.todo, kernel.Input{Kind: kernel.InAppCredit, App: ev.App, N: uint64(len(ev.Data))})
		}
	case kernel.AppCredit:
		a.Credit += ev.N
		n.pump(ev.App, a)
	case kernel.AppReset:
		a.Err = ev.Code.String() + ": " + ev.Text
		delete(n.apps, ev.App)
	}
}

// pump writes as much of a transfer as there is credit for.
func (n *Node) pump(num uint64, a *App) {
	t := a.transfer
	for t != nil && !t.closed && (a.Credit > 0 || len(t.rest) == 0) {
		k := min(len(t.rest), int(a.Credit), sdk.MaxStreamData)
		b := t.rest[:k:k]
		t.rest = t.rest[k:]
		t.closed = len(t.rest) == 0
		a.Credit -= uint64(k)
		n.todo = append(n.todo, kernel.Input{Kind: kernel.InAppWrite, App: num, Data: b, FIN: t.closed})
	}
}

// call makes a unary call and shows the answer.
func (w *World) call(n, m *Node, id sdk.ID, text []byte) (string, error) {
	app := n.Open(m.ID(), id, "")
	wrote := false
	err := w.RunUntil(w.now+30*time.Second, func() bool {
		if app.Opened && !wrote {
			wrote = true
			n.Write(app, text, true)
		}
		return app.FIN || app.Err != ""
	})
	switch {
	case err != nil:
		return "", err
	case app.Err != "":
		return "error: " + app.Err, nil
	case !app.FIN:
		return "error: no answer within 30s", nil
	}
	return string(app.Data), nil
}

// begin starts a stream of size bytes through an echo.
func (w *World) begin(n, m *Node, id sdk.ID, size int) {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(w.rng.Uint32())
	}
	// The stream may open within the step that asks for it, so the transfer is
	// there first.
	a := &App{transfer: &transfer{data: data, rest: data}}
	n.begun = append(n.begun, a)
	n.open(a, m.ID(), id, "")
}

// underWay says how far the transfers of a node are: nobody can know that by the
// byte who changes the transport, so in words.
func (n *Node) underWay() string {
	var lines []string
	for _, a := range n.begun {
		switch {
		case a.over():
			lines = append(lines, "over")
		case len(a.Data) == 0:
			lines = append(lines, "nothing came back yet")
		default:
			lines = append(lines, "part of it came back")
		}
	}
	return strings.Join(lines, "\n")
}

func (a *App) over() bool { return a.FIN || a.Err != "" }

// finish waits until all transfers of some nodes are over and tells of each. Where
// there were several, it also tells whether the first to end had left the others
// behind.
func (w *World) finish(nodes ...*Node) (string, error) {
	var all []*App
	for _, n := range nodes {
		all = append(all, n.begun...)
		n.begun = nil
	}
	least := -1 // of the others, in percent, when the first ended
	err := w.RunUntil(w.now+10*time.Minute, func() bool {
		over := 0
		for _, a := range all {
			if a.over() {
				over++
			}
		}
		if over > 0 && least < 0 {
			least = 100
			for _, a := range all {
				least = min(least, len(a.Data)*100/max(1, len(a.transfer.data)))
			}
		}
		return over == len(all)
	})
	if err != nil {
		return "", err
	}
	var lines []string
	for _, a := range all {
		lines = append(lines, a.outcome())
	}
	switch {
	case len(all) < 2:
	case least >= fairShare:
		lines = append(lines, "shared fairly")
	default:
		lines = append(lines, fmt.Sprintf("shared unfairly: the last had %d%% when the first had ended", least))
	}
	return strings.Join(lines, "\n"), nil
}

// fairShare is how much of its bytes, in percent, each stream must have when the
// first of several of one size ends.
const fairShare = 80

// outcome says how a transfer ended.
func (a *App) outcome() string {
	size := len(a.transfer.data)
	switch {
	case a.Err != "":
		return "error: " + a.Err
	case !a.FIN:
		return fmt.Sprintf("error: %d of %d bytes came back within 10m", len(a.Data), size)
	case !bytes.Equal(a.Data, a.transfer.data):
		return fmt.Sprintf("error: %d of %d bytes came back, or they differ", len(a.Data), size)
	}
	return fmt.Sprintf("%d bytes, identical", size)
}
