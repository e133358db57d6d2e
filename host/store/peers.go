package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	peersFile = "peers.json"

	// MaxPeers is how many neighbours are remembered, and PeerAge for how long.
	MaxPeers = 64
	PeerAge  = 30 * 24 * time.Hour
)

// Peer is a neighbour that was authenticated at an address.
type Peer struct {
	Node string    `json:"node"`
	Addr string    `json:"addr"`
	Seen time.Time `json:"seen"`
}

// LoadPeers reads the neighbours of last time from dir, without those that were not
// seen for PeerAge. None is no error; a damaged file is one, and the node does well
// without.
func LoadPeers(dir string, now time.Time) ([]Peer, error) {
	path := filepath.Join(dir, peersFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var list []Peer
	if err == nil {
		err = json.Unmarshal(b, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("peer cache %s: %w", path, err)
	}
	return fresh(list, now), nil
}

// SavePeers replaces the neighbours in dir: those of now are seen now, and of the
// others the most recent stay.
func SavePeers(dir string, now time.Time, seen []Peer) error {
	old, _ := LoadPeers(dir, now)
	list := slices.Clone(seen)
	for _, p := range old {
		if !slices.ContainsFunc(seen, func(s Peer) bool { return s.Node == p.Node }) {
			list = append(list, p)
		}
	}
	b, err := json.MarshalIndent(fresh(list, now), "", " ")
	if err != nil {
		return err
	}
	return Replace(filepath.Join(dir, peersFile), append(b, '\n'))
}

// fresh sorts, newest first, and drops what is too old or too much.
func fresh(list []Peer, now time.Time) []Peer {
	list = slices.DeleteFunc(list, func(p Peer) bool { return now.Sub(p.Seen) > PeerAge })
	slices.SortStableFunc(list, func(a, b Peer) int { return b.Seen.Compare(a.Seen) })
	return list[:min(len(list), MaxPeers)]
}
