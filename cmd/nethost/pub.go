package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nethost/sdk/channel"
	"nethost/sdk/client"
	"nethost/sdk/name"
)

func pubCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "pub NAME", Short: "publish events to a channel",
		Long: `Publishes events to a channel of this node: each line of standard input is one,
--text and --file are one each. Whoever subscribes to the name, on any node, gets
them; nobody has to be there.

  nethost pub sensors/temp --text 21.5
  tail -f log | nethost pub logs/web
  seq 1000 | nethost pub load --rate 100
  nethost pub images/last --file shot.png`, Args: args(cobra.ExactArgs(1))}
	f := cmd.Flags()
	text := f.String("text", "", "one event, instead of standard input")
	file := f.String("file", "", "one event that is a file's bytes, at most 256 KiB")
	rate := f.Float64("rate", 0, "at most so many events a second (default: as they come)")
	tok := f.String("token", "", "token that permits it, or @FILE with one")
	wait := f.Int("wait", 0, "before the first event wait until so many subscribers are there")
	within := f.Duration("within", 10*time.Second, "how long --wait waits")
	asJSON := f.Bool("json", false, "print JSON")
	cmd.MarkFlagsMutuallyExclusive("text", "file")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		cfg, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		if err := name.Check(a[0]); err != nil {
			return usageError{err}
		}
		if *rate < 0 || *rate > 1e6 {
			return usageError{fmt.Errorf("--rate %v: want 0 (no bound) to 1e6 events a second", *rate)}
		}
		h := channel.Publish{Channel: a[0]}
		if h.Token, err = tokenText(*tok); err != nil {
			return err
		}
		var in io.Reader = cmd.InOrStdin()
		var whole []byte
		switch {
		case f.Changed("text"):
			whole, in = []byte(*text), nil
		case *file != "":
			if whole, err = os.ReadFile(*file); err != nil {
				return err
			}
			in = nil
		}
		c := client.New(cfg.Socket)
		p, err := c.OpenPublisher(cmd.Context(), h)
		if err != nil {
			return err
		}
		if *wait > 0 {
			if err := awaitSubscribers(cmd, c, a[0], *wait, *within); err != nil {
				// A refusal of the publisher says more than that nobody came.
				if _, cerr := p.Close(); cerr != nil {
					return cerr
				}
				return err
			}
		}
		if err := publishAll(cmd.Context(), p, in, whole, *rate); err != nil {
			if _, cerr := p.Close(); cerr != nil {
				return cerr
			}
			return err
		}
		done, err := p.Close()
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), done)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "published %d to %s; subscribers now: %d\n", done.Events, done.Channel, done.Subscribers)
		return nil
	}
	return cmd
}

// publishAll publishes whole, or each line of in.
func publishAll(ctx context.Context, p *client.Publisher, in io.Reader, whole []byte, rate float64) error {
	if in == nil {
		return p.Publish(nil, whole)
	}
	var pace <-chan time.Time
	if rate > 0 {
		t := time.NewTicker(max(1, time.Duration(float64(time.Second)/rate)))
		defer t.Stop()
		pace = t.C
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), channel.MaxEvent+1)
	for lines.Scan() {
		if pace != nil {
			select {
			case <-pace:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := p.Publish(nil, lines.Bytes()); err != nil {
			return err
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("a line has more than %d bytes, the most of an event", channel.MaxEvent)
	}
	return lines.Err()
}

// awaitSubscribers asks until so many take part.
func awaitSubscribers(cmd *cobra.Command, c *client.Client, ch string, n int, within time.Duration) error {
	req, err := json.Marshal(map[string]string{"channel": ch})
	if err != nil {
		return err
	}
	return poll(cmd.Context(), within, fmt.Sprintf("%d subscribers of %s", n, ch), func() bool {
		b, err := c.Call(cmd.Context(), client.Target{Module: "channels.show"}, req)
		var l struct{ Subscribers int }
		return err == nil && json.Unmarshal(b, &l) == nil && l.Subscribers >= n
	})
}

// tokenText reads the flag --token.
func tokenText(s string) (string, error) {
	path, isFile := strings.CutPrefix(s, "@")
	if !isFile {
		return s, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(b)), nil
}
