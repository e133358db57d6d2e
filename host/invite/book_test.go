package invite_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"nethost/host/identity"
	"nethost/host/invite"
	"nethost/host/wire"
	"nethost/sdk"
)

func node(n byte) sdk.NodeID { return identity.NewKey([32]byte{n}).ID() }

// A use is on disk before it is granted, and stays spent for whoever opens the book
// next; the same node may ask again.
func TestBookSurvives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "invites.json")
	now := time.Unix(1000, 0)
	clock := func() time.Time { return now }
	open := func() *invite.Book {
		b, err := invite.Open(path, clock)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	secret, r, err := open().Create(time.Hour, 1)
	if err != nil {
		t.Fatal(err)
	}
	if psk, id := identity.InviteKey(secret); psk != r.PSK || id != r.ID {
		t.Fatal("the record is of another secret")
	}
	for i, step := range []struct {
		node byte
		want wire.InviteStatus
	}{{1, wire.InviteGranted}, {1, wire.InviteGranted}, {2, wire.InviteUsed}} {
		if got := open().Redeem(r.ID, node(step.node)); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
	_, r2, _ := open().Create(time.Hour, 2)
	if err := open().Revoke(r2.ID); err != nil {
		t.Fatal(err)
	}
	if got := open().Redeem(r2.ID, node(1)); got != wire.InviteRevoked {
		t.Errorf("revoked: %v", got)
	}
	now = now.Add(time.Hour)
	if got := open().Redeem(r.ID, node(1)); got != wire.InviteExpired {
		t.Errorf("an hour later: %v", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := open().Revoke(7); !errors.Is(err, invite.ErrNone) {
		t.Errorf("revoke of none: %v", err)
	}
	os.WriteFile(path, []byte("{"), 0o600)
	if _, err := invite.Open(path, clock); err == nil {
		t.Error("a damaged book was opened")
	}
}

// A use that cannot be recorded is not granted.
func TestBookCannotRecord(t *testing.T) {
	dir := t.TempDir()
	b, err := invite.Open(filepath.Join(dir, "d", "invites.json"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	os.Mkdir(filepath.Join(dir, "d"), 0o700)
	_, r, err := b.Create(time.Hour, 1)
	if err != nil {
		t.Fatal(err)
	}
	os.RemoveAll(filepath.Join(dir, "d"))
	if got := b.Redeem(r.ID, node(1)); got != wire.InviteFailed {
		t.Errorf("redeemed: %v", got)
	}
	if len(b.List()[0].Redeemed) != 0 {
		t.Error("the use counts all the same")
	}
}

// The book is bounded: what is over makes room, what is not does not.
func TestBookBounds(t *testing.T) {
	b, err := invite.Open(filepath.Join(t.TempDir(), "invites.json"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	var third uint64
	for i := range invite.MaxInvites {
		_, r, err := b.Create(time.Hour, 1)
		if err != nil {
			t.Fatal(err)
		}
		if i == 2 {
			third = r.ID
		}
	}
	if _, _, err := b.Create(time.Hour, 1); !errors.Is(err, invite.ErrFull) {
		t.Fatalf("one more: %v", err)
	}
	b.Revoke(third)
	if _, _, err := b.Create(time.Hour, 1); err != nil || len(b.Keys()) != invite.MaxInvites {
		t.Fatalf("after a revocation: %v, %d", err, len(b.Keys()))
	}
	for _, bad := range []struct {
		d time.Duration
		n int
	}{{0, 1}, {-1, 1}, {invite.MaxExpires + 1, 1}, {time.Hour, 0}, {time.Hour, invite.MaxUses + 1}} {
		if _, _, err := b.Create(bad.d, bad.n); err == nil {
			t.Errorf("%v, %d: accepted", bad.d, bad.n)
		}
	}
}
