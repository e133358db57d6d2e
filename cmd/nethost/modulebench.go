package main

import (
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nethost/sdk"
	"nethost/sdk/abi"
)

// moduleCost is what one message costs at one size and batch length.
type moduleCost struct {
	Bytes     int     `json:"bytes"`
	Batch     int     `json:"batch"`
	Median    float64 `json:"ns_per_message"` // of the rounds
	Fastest   float64 `json:"ns_fastest"`
	PerSecond float64 `json:"messages_per_second"`
}

func moduleBenchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench DIR",
		Short: "measure what a message costs a module, on its carrier",
		Long: `Builds the project in DIR, or takes the package in it, and hands messages of 64 and
1024 bytes to it, in batches of 1, 16 and 64, through its carrier: the time from a
batch of events to its effects, divided by its messages.`,
		Args: args(cobra.ExactArgs(1)),
	}
	length := cmd.Flags().Duration("time", 200*time.Millisecond, "time for each row")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		s, err := openSubject(cmd, a[0])
		if err != nil {
			return err
		}
		defer s.close()
		var rows []moduleCost
		for _, size := range []int{64, 1024} {
			for _, batch := range []int{1, 16, 64} {
				row, err := s.cost(size, batch, *length)
				if err != nil {
					return err
				}
				rows = append(rows, row)
			}
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), map[string]any{"module": s.spec.Name, "carrier": s.spec.Kind, "rows": rows})
		}
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintf(w, "BYTES\tBATCH\tNS/MESSAGE\tFASTEST\tMESSAGES/S\n")
		for _, r := range rows {
			fmt.Fprintf(w, "%d\t%d\t%.0f\t%.0f\t%.0f\n", r.Bytes, r.Batch, r.Median, r.Fastest, r.PerSecond)
		}
		return w.Flush()
	}
	return cmd
}

// cost hands over batches for the given time, in rounds of about 5 ms.
func (s *subject) cost(size, batch int, length time.Duration) (moduleCost, error) {
	i, err := s.Open()
	if err != nil {
		return moduleCost{}, err
	}
	defer i.Close()
	var w abi.Writer
	p, seq := s.Subprotocols[0], uint64(1)
	begin := func() { w.ResetEvents(seq, time.Duration(seq)*time.Millisecond, 0) }
	deliver := func() error {
		w.Event(sdk.Event{Kind: sdk.EvFlush})
		seq++
		_, err := i.Deliver(w.Bytes())
		return err
	}
	begin()
	w.Event(sdk.Event{Kind: sdk.EvConfig, Payload: sdk.AppendPairs(nil, s.Config)})
	w.Event(sdk.Event{Kind: sdk.EvStart, Payload: sdk.AppendStart(nil, sdk.Start{Reason: sdk.StartFresh, MemoryLimit: s.MemoryLimit})})
	w.Event(sdk.Event{Kind: sdk.EvPeerUp, Peer: 1, ID: p.ID, Version: p.Version, Payload: sdk.AppendPeerInfo(nil, sdk.PeerInfo{MTU: 1100})})
	if err := deliver(); err != nil {
		return moduleCost{}, err
	}
	payload := make([]byte, size)
	var rounds []float64
	for end := time.Now().Add(length); len(rounds) < 3 || time.Now().Before(end); {
		n, began := 0, time.Now()
		for time.Since(began) < 5*time.Millisecond {
			begin()
			for range batch {
				w.Event(sdk.Event{Kind: sdk.EvMessage, Peer: 1, ID: p.ID, Version: p.Version, Payload: payload})
			}
			if err := deliver(); err != nil {
				return moduleCost{}, fmt.Errorf("%s, batch %d of %d messages with %d bytes: %w", s.spec.Name, seq, batch, size, err)
			}
			n += batch
		}
		rounds = append(rounds, float64(time.Since(began).Nanoseconds())/float64(n))
	}
	slices.Sort(rounds)
	median := rounds[len(rounds)/2]
	return moduleCost{Bytes: size, Batch: batch, Median: median, Fastest: rounds[0], PerSecond: 1e9 / median}, nil
}
