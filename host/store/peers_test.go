package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"nethost/host/store"
)

// The cache keeps the newest, forgets with age, and is private and bounded.
func TestPeers(t *testing.T) {
	dir, now := t.TempDir(), time.Unix(1e9, 0)
	if list, err := store.LoadPeers(dir, now); err != nil || list != nil {
		t.Fatalf("none yet: %v, %v", list, err)
	}
	var many []store.Peer
	for i := range store.MaxPeers + 3 {
		many = append(many, store.Peer{Node: fmt.Sprint("n", i), Addr: "192.0.2.1:1", Seen: now})
	}
	if err := store.SavePeers(dir, now, many); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	if err := store.SavePeers(dir, now, []store.Peer{{Node: "n0", Addr: "192.0.2.2:2", Seen: now}}); err != nil {
		t.Fatal(err)
	}
	list, err := store.LoadPeers(dir, now)
	if err != nil || len(list) != store.MaxPeers || list[0].Addr != "192.0.2.2:2" {
		t.Fatalf("%d peers, %v", len(list), err)
	}
	for _, p := range list[1:] {
		if p.Node == "n0" {
			t.Error("n0 is there twice")
		}
	}
	if list, _ := store.LoadPeers(dir, now.Add(store.PeerAge)); len(list) != 1 {
		t.Errorf("%d peers a month later, want the one seen since", len(list))
	}
	path := filepath.Join(dir, "peers.json")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info, err)
	}
	os.WriteFile(path, []byte("{"), 0o600)
	if _, err := store.LoadPeers(dir, now); err == nil {
		t.Error("a damaged cache was read")
	}
}
