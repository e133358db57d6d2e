// Command bench measures nethost beside other stacks, interleaved in one run.
//
// Each measurement ("cell") starts fresh node processes, so that no stack inherits
// the heap or the warm caches of another: in placement P all nodes of a line share
// one process, in placement X each has its own. CPU is getrusage, summed over them.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "node" {
		if err := runWorker(); err != nil {
			fmt.Fprintln(os.Stderr, "bench node:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	rounds       int
	warm, length time.Duration
	limit        time.Duration
	only, peers  string
	rates        string
	nets         string
	json, md     string
	root         string
	seed         uint64
	window       int
	list         bool
}

func run() error {
	var o options
	flag.IntVar(&o.rounds, "rounds", 3, "how often each cell is measured")
	flag.DurationVar(&o.warm, "warm", 200*time.Millisecond, "warm-up of each measurement")
	flag.DurationVar(&o.length, "time", 700*time.Millisecond, "length of each measurement")
	flag.DurationVar(&o.limit, "limit", 15*time.Minute, "start no further cell after this time")
	flag.StringVar(&o.only, "only", "", "workloads, comma separated (default all): B1,B1s,B2,B3,B7,B9,B10,B11,B12")
	flag.StringVar(&o.peers, "peers", "", "only peers whose name starts with one of these, comma separated")
	flag.StringVar(&o.rates, "rates", "100,10000", "fixed rates of B3, a second")
	flag.StringVar(&o.nets, "net", "loopback,veth", "networks")
	flag.StringVar(&o.json, "json", "", "append one JSON object a cell and round to this file; - is standard output")
	flag.StringVar(&o.md, "md", "", "write the report here; - is standard output")
	flag.StringVar(&o.root, "root", "..", "folder of the nethost module")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of the order of cells, and of loss")
	flag.IntVar(&o.window, "window", 1024, "messages on the way in the closed loop")
	flag.BoolVar(&o.list, "list", false, "list the cells and stop")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("no argument is expected, %q was given", strings.Join(flag.Args(), " "))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := newRunner(ctx, o)
	if err != nil {
		return err
	}
	defer r.close()
	if o.list {
		for _, c := range r.cells {
			fmt.Println(c.key())
		}
		return nil
	}
	if err := r.run(ctx); err != nil {
		return err
	}
	return r.report(o.md)
}
