package sim

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"nethost/host/kernel"
)

// swarmKeys sets what the command that adds a node says of clocks and identities.
func (c *NodeConfig) swarmKeys(keys map[string]string) (err error) {
	c.Identity = keys["identity"]
	if s := keys["skew"]; s != "" {
		if c.Skew, err = time.ParseDuration(s); err != nil {
			return err
		}
	}
	if s := keys["profile"]; s != "" {
		c.Profile, err = kernel.ParseProfile(s)
	}
	return err
}

// execSwarm runs the commands about faults that a node does not notice itself.
func (w *World) execSwarm(cmd string, n *Node, a Args) (string, error) {
	switch cmd {
	case "grey":
		n.Grey(true, w.Node(a.word(1)))
	case "ungrey":
		n.Grey(false, nil)
	case "pause":
		d, err := time.ParseDuration(a.word(1))
		if err != nil {
			return "", err
		}
		n.Pause(d)
	case "rollback":
		inc, err := strconv.ParseUint(a.word(1), 10, 64)
		if err != nil {
			return "", err
		}
		n.Rollback(inc - 1)
	case "swarm":
		if n.k == nil {
			return "down", nil
		}
		return n.swarm(), nil
	}
	return "", nil
}

// swarm tells of the mesh as the node sees it.
func (n *Node) swarm() string {
	s := n.k.Swarm(n.now())
	var b strings.Builder
	fmt.Fprintf(&b, "incarnation %d, %d repairs, health factor %d, profile %s\n", s.Incarnation, s.Repairs, s.HealthFactor, s.Profile)
	fmt.Fprintf(&b, "%d neighbours, %d suspect, %d other nodes known", s.Neighbors, s.Suspects, s.Origins)
	if s.Twin {
		b.WriteString("\nanother node runs under this key")
	}
	for _, p := range n.k.Peers(n.now()) {
		for _, g := range p.Grey {
			fmt.Fprintf(&b, "\n%s does not deliver to %s", n.w.nameOf(g.Hop), n.w.nameOf(p.Node))
		}
		if p.Barred {
			fmt.Fprintf(&b, "\n%s is barred: %s", n.w.nameOf(p.Node), p.LastDemerit)
		}
	}
	return b.String()
}
