package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// report writes what was measured as Markdown, to a file or standard output.
func (r *runner) report(path string) error {
	var b bytes.Buffer
	r.head(&b)
	r.promises(&b)
	r.targets(&b)
	for _, w := range workloadTexts {
		r.workload(&b, w)
	}
	r.microTable(&b)
	r.tail(&b)
	switch path {
	case "":
		return nil
	case "-":
		_, err := os.Stdout.Write(b.Bytes())
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

func (r *runner) head(w io.Writer) {
	fmt.Fprintf(w, "# nethost beside other stacks\n\nWritten by the bench itself; do not edit.\n\n| | |\n|---|---|\n")
	row := func(k, v string) { fmt.Fprintf(w, "| %s | %s |\n", k, v) }
	row("date", r.began.UTC().Format("2006-01-02 15:04 UTC")+fmt.Sprintf(", %v", time.Since(r.began).Round(time.Second)))
	row("machine", machine())
	row("system load", r.load+" before, "+loadAverage()+" after; other work on the machine makes every figure worse")
	row("nethost", r.revision())
	row("Go", runtime.Version()+" "+runtime.GOOS+"/"+runtime.GOARCH)
	row("peers", versions())
	row("command", "`cd bench && CGO_ENABLED=0 go build -o ../dist/bench . && "+strings.Join(append([]string{"../dist/bench"}, os.Args[1:]...), " ")+"`")
	row("measurement", fmt.Sprintf("%d rounds, each cell in fresh processes; within a workload the order is shuffled every round (seed %d); %v warm-up, %v measured",
		r.o.rounds, r.o.seed, r.o.warm, r.o.length))
	fmt.Fprintf(w, `
How to read it. Figures are the median of the rounds, [smallest..largest] beside it; between runs minutes apart the same
figure moves by 15 %% and more, so compare within this file. **P**: all nodes of a line in one process; **X**: one process a
node. CPU is user and system time of all node processes together (getrusage), the harness's own pacing in the source included: it is
the same for all. Wall-clock rates on few cores are little else than cores divided by that. The closed loop keeps %d messages on the way
(4 MiB at most); the window is counted in shared memory, so it costs no stack a message. Where a stack drops what is too much and does not tell ("reliable: no"), the source
shrinks its window on loss, as an application would have to. Latency of the open loop counts from the
time a message was due. Stacks on streams may coalesce up to 64 messages that are due at once. "loss" is what did not arrive of what the source handed over.
Relay lines: nethost, NATS (leaf nodes), quic-go and UDP (forwarding programs of the bench) with three relays, libp2p with the
one that circuit v2 allows: **its rows of B1 do a third of the work**.
`, r.o.window)
}

// machine describes what this runs on.
func machine() string {
	cpu := "unknown CPU"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(v)
				break
			}
		}
	}
	var u unix.Utsname
	var s unix.Sysinfo_t
	_ = unix.Uname(&u)
	_ = unix.Sysinfo(&s)
	return fmt.Sprintf("%d x %s, %d MiB, Linux %s", runtime.NumCPU(), cpu, s.Totalram*uint64(s.Unit)>>20, unix.ByteSliceToString(u.Release[:]))
}

func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(b))[:3], " ")
}

// revision names the state of the product.
func (r *runner) revision() string {
	git := func(args ...string) string {
		cmd := exec.Command("git", args...)
		cmd.Dir = r.o.root
		out, err := cmd.Output()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	}
	rev := git("rev-parse", "--short=12", "HEAD")
	if rev == "" {
		return "unknown revision"
	}
	if git("status", "--porcelain", "--", ".", ":!bench/RESULTS.md") != "" {
		rev += " with local changes"
	}
	return rev
}

// versions lists the modules that are measured.
func versions() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	wanted := []string{"github.com/quic-go/quic-go", "github.com/nats-io/nats-server/v2", "github.com/nats-io/nats.go",
		"github.com/libp2p/go-libp2p", "google.golang.org/grpc"}
	var out []string
	for _, d := range info.Deps {
		if slices.Contains(wanted, d.Path) {
			out = append(out, d.Path+" "+d.Version)
		}
	}
	return strings.Join(out, ", ")
}

// promises is the table of what each row encrypts and guarantees.
func (r *runner) promises(w io.Writer) {
	fmt.Fprint(w, "\n## What each peer promises\n\nA faster row that promises less is no better row.\n\n",
		"| peer | who can read the messages | who is authenticated | reliable | ordered | runs on |\n|---|---|---|---|---|---|\n")
	for _, p := range peers() {
		t := p.Traits
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s |\n", p.Name, t.Secret, t.Auth, t.Reliable, t.Ordered, t.Carrier)
	}
}

// workloadText explains one workload and names its columns, in order.
type workloadText struct{ id, title, text string }

var workloadTexts = [...]workloadText{
	{"B1", "B1: relay forward, 1 KiB", "A - R1 - R2 - R3 - B, messages one way. First the closed loop (msg/s, CPU, loss), then an open loop at 90 % of that rate (latency, open loss)."},
	{"B1s", "B1s: relay forward, 128 B", "As B1."},
	{"B2", "B2: direct", "Messages: closed loop. Streams: writes of one size, as fast as they are taken; msg/s counts writes. The NATS rows have the broker in the sink's process."},
	{"B3", "B3: request and response, 1 KiB each way", "One request at a time on an open stream (NATS: one inbox; UDP: a datagram); \"at N/s\" is an open loop on schedule. NATS direct goes through its one broker."},
	{"B7", "B7: handshakes and floods", "New sessions: four at a time from one process, each by a new node or client that echoes 64 bytes and closes; the client's CPU includes its start. Flood: one stream (64 KiB writes) between two processes while a third sends first handshake messages from 64 loopback addresses: a captured one replayed, or with four random bytes changed (forged). The ratio is to the same flood sent to a socket that nobody reads (elsewhere), because its sender needs a core of the two."},
	{"B9", "B9: path MTU", "1 MiB on a stream until the sink says it has all, through a proxy that silently drops IPv4 packets above the limit. quic-go runs with InitialPacketSize 1200, or it would not begin. One round."},
	{"B10", "B10: memory", "Idle: RSS of the server process after a collection, with 1, 100 and up to 1000 sessions from another process (at most 30 s to open them). This binary has all peers linked in, so \"no node\" shows what the process weighs before any of them starts. In nethost each session here is a node that takes part in routing, so this is a star of that many nodes. Load: largest growth of a relay's peak RSS when the source offers three times what B1 carried. One round."},
	{"B11", "B11: loss and reordering", "Through a proxy that each way drops 1 % and holds 5 % back by 5 ms, against the same proxy doing nothing."},
}

// workload is one table a network.
func (r *runner) workload(w io.Writer, t workloadText) {
	first := true
	for _, group := range r.groups {
		if group[0].Workload != t.id {
			continue
		}
		if first {
			fmt.Fprintf(w, "\n## %s\n\n%s\n", t.title, t.text)
			first = false
		}
		r.table(w, group)
	}
}

// columns are the metrics of all workloads in the order in which tables show them.
var columns = [...]string{"msg/s", "MB/s", "CPU us/msg", "CPU us/KiB", "trips/s", "sessions/s", "loss %", "p50 us", "p99 us", "p99.9 us", "open loss %", "CPU us/trip",
	"server CPU us", "client CPU us", "MB/s alone", "MB/s elsewhere", "MB/s forged", "MB/s replayed", "forged ratio", "replayed ratio",
	"flood/s elsewhere", "flood/s forged", "flood/s replayed", "MB/s clean", "MB/s impaired", "clean ms", "narrow ms", "ratio", "packets dropped",
	"RSS MiB, no node", "RSS MiB, 1", "RSS MiB, 100", "RSS MiB, at most", "sessions at most", "KiB/session", "offered/s", "delivered/s", "steady peak MiB",
	"overload peak MiB", "growth MiB", "peak MiB"}

func (r *runner) table(w io.Writer, group []*cell) {
	byCase := map[string][]*cell{}
	var cases []string
	for _, c := range group {
		if byCase[c.Case] == nil {
			cases = append(cases, c.Case)
		}
		byCase[c.Case] = append(byCase[c.Case], c)
	}
	slices.Sort(cases)
	for _, name := range cases {
		cols := r.columnsOf(byCase[name])
		fmt.Fprintf(w, "\n**%s, %s**\n\n| peer | placement |", group[0].Net.name, name)
		for _, c := range cols {
			fmt.Fprintf(w, " %s |", c)
		}
		fmt.Fprintf(w, "\n|---|---|%s\n", strings.Repeat("---:|", len(cols)))
		for _, c := range byCase[name] {
			res := r.results[c.key()]
			fmt.Fprintf(w, "| %s | %s |", c.Peer.Name, c.Place)
			for _, col := range cols {
				fmt.Fprintf(w, " %s |", res.cellText(col))
			}
			if res.ran() == 0 && len(cols) == 0 {
				fmt.Fprint(w, " |")
			}
			fmt.Fprintln(w)
		}
	}
}

// columnsOf are the metrics that any of the cells has.
func (r *runner) columnsOf(cells []*cell) []string {
	var cols []string
	has := func(name string) bool {
		for _, c := range cells {
			if _, _, _, ok := r.results[c.key()].median(name); ok {
				return true
			}
		}
		return false
	}
	order := columns[:]
	for _, rate := range r.env.rates {
		order = append(order, fmt.Sprintf("p50 us at %g/s", rate), fmt.Sprintf("p99 us at %g/s", rate))
	}
	for _, name := range order {
		if has(name) {
			cols = append(cols, name)
		}
	}
	return cols
}

func (res *result) cellText(name string) string {
	mid, lo, hi, ok := res.median(name)
	switch {
	case !ok && res.ran() == 0 && len(res.faults) > 0:
		return "failed"
	case !ok:
		return "-"
	case res.ran() == 1:
		return figure(mid)
	}
	return fmt.Sprintf("%s [%s..%s]", figure(mid), figure(lo), figure(hi))
}

func (r *runner) microTable(w io.Writer) {
	if len(r.micro) == 0 {
		return
	}
	fmt.Fprintf(w, "\n## B12: micro\n\n`go test -run=^$ -bench=. -benchmem -benchtime=50ms %s`, once.\n\n| package | benchmark | ns/op | B/op | allocs/op | |\n|---|---|---:|---:|---:|---|\n",
		strings.Join(microPackages[:], " "))
	for _, m := range r.micro {
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s |\n", m.pkg, m.name, m.ns, m.bytes, m.allocs, m.extra)
	}
}

// tail lists what is missing and why.
func (r *runner) tail(w io.Writer) {
	fmt.Fprint(w, "\n## What failed or was left out\n\n")
	for _, s := range r.skipped {
		fmt.Fprintf(w, "- skipped: %s\n", s)
	}
	n := len(r.skipped)
	for _, c := range r.cells {
		faults := r.results[c.key()].faults
		if len(faults) == 0 {
			continue
		}
		n++
		fmt.Fprintf(w, "- %s, %s, %s, %s, %s: failed %d of %d times: %s\n", c.Workload, c.Case, c.Peer.Name, c.Place, c.Net.name,
			len(faults), len(faults)+r.results[c.key()].ran(), strings.ReplaceAll(faults[0], "\n", "; "))
	}
	if n == 0 {
		fmt.Fprintln(w, "Nothing.")
	}
}
