package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"nethost/host/impair"
)

// execLink runs the commands that are about the network between two nodes.
func (w *World) execLink(cmd string, a, b *Node, args Args) (string, error) {
	if cmd == "link" {
		c := impair.Config{Delay: time.Millisecond}
		if err := setKeys(&c, args); err != nil {
			return "", err
		}
		return "", w.Connect(a, b, c)
	}
	l, err := w.Link(a, b)
	if err != nil {
		return "", err
	}
	switch cmd {
	case "impair":
		c := l.Config()
		if err := setKeys(&c, args); err != nil {
			return "", err
		}
		if err := c.Check(); err != nil {
			return "", err
		}
		l.Set(c)
	case "queue":
		return fmt.Sprintf("%d of %d bytes", l.Waiting(w.now), l.Config().Queue), nil
	case "lost":
		s := l.Stats()
		var reasons []string
		for f, n := range s.Fates {
			if impair.Fate(f) != impair.Passed && n > 0 {
				reasons = append(reasons, impair.Fate(f).String())
			}
		}
		if reasons == nil {
			return "nothing", nil
		}
		return strings.Join(reasons, "\n"), nil
	case "trains":
		w.broken[[2]*Node{a, b}] = args.word(2) == "lost"
	case "doubled":
		if l.Stats().Duplicated == 0 {
			return "none", nil
		}
		return "some", nil
	}
	return "", nil
}

// setKeys sets the impairments that a command names.
func setKeys(c *impair.Config, args Args) error {
	for _, key := range slices.Sorted(maps.Keys(args.Keys)) {
		if err := c.SetKey(key, args.Keys[key]); err != nil {
			return err
		}
	}
	return nil
}
