package invite

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"nethost/host/identity"
	"nethost/host/kernel"
	"nethost/host/store"
	"nethost/host/wire"
	"nethost/sdk"
)

// Bounds of a Book.
const (
	MaxInvites = 64   // kept, those that are over included
	MaxUses    = 1000 // of one invite
	MaxExpires = 365 * 24 * time.Hour
)

// Errors a caller may test for with errors.Is.
var (
	ErrNone = errors.New("no such invite")
	ErrFull = fmt.Errorf("there are %d invites that may still be used: revoke one", MaxInvites)
)

// Record is an invite as the book keeps it: its key, but not its secret, so that the
// text cannot be made again.
type Record struct {
	ID      uint64    `json:"-"`
	PSK     [32]byte  `json:"-"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	Uses    int       `json:"uses"` // at most
	// Redeemed lists the nodes that have the key. A node that asks again, because
	// the answer was lost, costs no further use.
	Redeemed []string `json:"redeemed,omitempty"`
	Revoked  bool     `json:"revoked,omitempty"`
}

// onDisk is a Record with its key.
type onDisk struct {
	ID  string `json:"id"`
	PSK string `json:"psk"`
	Record
}

// State says whether the invite may be used at a time, and if not, why.
func (r *Record) State(now time.Time) wire.InviteStatus {
	switch {
	case r.Revoked:
		return wire.InviteRevoked
	case !now.Before(r.Expires):
		return wire.InviteExpired
	case len(r.Redeemed) >= r.Uses:
		return wire.InviteUsed
	}
	return wire.InviteGranted
}

// IDText names an invite for people.
func IDText(id uint64) string { return fmt.Sprintf("%016x", id) }

// Book is a node's invites. It is safe for concurrent use; each change is on disk
// when its method returns.
type Book struct {
	path string
	now  func() time.Time

	mu   sync.Mutex
	list []Record // oldest first
}

// Open reads the book at path; there need not be one. now is the inviter's clock.
func Open(path string, now func() time.Time) (*Book, error) {
	b := &Book{path: path, now: now}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("invites: %w", err)
	}
	var list []onDisk
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, b.damaged(err)
	}
	for _, d := range list[:min(len(list), MaxInvites)] {
		id, err := strconv.ParseUint(d.ID, 16, 64)
		psk, err2 := hex.DecodeString(d.PSK)
		if err := errors.Join(err, err2); err != nil || len(psk) != 32 || id == 0 {
			return nil, b.damaged(err)
		}
		d.Record.ID, d.Record.PSK = id, [32]byte(psk)
		b.list = append(b.list, d.Record)
	}
	return b, nil
}

func (b *Book) damaged(err error) error {
	return fmt.Errorf("invites file %s is damaged (%v): remove it, which revokes all invites, or restore it", b.path, err)
}

// save writes list and makes it the book's. The caller holds b.mu.
func (b *Book) save(list []Record) error {
	out := make([]onDisk, 0, len(list))
	for _, r := range list {
		out = append(out, onDisk{IDText(r.ID), hex.EncodeToString(r.PSK[:]), r})
	}
	text, err := json.MarshalIndent(out, "", " ")
	if err == nil {
		err = store.Replace(b.path, append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("invites: %w", err)
	}
	b.list = list
	return nil
}

// Create makes an invite for uses nodes that is good until expires from now.
func (b *Book) Create(expires time.Duration, uses int) (secret [32]byte, r Record, err error) {
	if expires <= 0 || expires > MaxExpires {
		return secret, r, fmt.Errorf("an invite may last up to %v, not %v", MaxExpires, expires)
	}
	if uses < 1 || uses > MaxUses {
		return secret, r, fmt.Errorf("an invite may have 1 to %d uses, not %d", MaxUses, uses)
	}
	if _, err := rand.Read(secret[:]); err != nil {
		return secret, r, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	list := slices.Clone(b.list)
	if len(list) >= MaxInvites { // the oldest that is over makes room
		i := slices.IndexFunc(list, func(r Record) bool { return r.State(now) != wire.InviteGranted })
		if i < 0 {
			return secret, r, ErrFull
		}
		list = slices.Delete(list, i, i+1)
	}
	r = Record{Created: now.UTC().Truncate(time.Second), Expires: now.Add(expires).UTC(), Uses: uses}
	r.PSK, r.ID = identity.InviteKey(secret)
	return secret, r, b.save(append(list, r))
}

// change alters the invite with an id.
func (b *Book) change(id uint64, f func(r *Record) bool) error {
	list := slices.Clone(b.list)
	i := slices.IndexFunc(list, func(r Record) bool { return r.ID == id })
	if i < 0 {
		return fmt.Errorf("%w: %s; `nethost invite ls` lists them", ErrNone, IDText(id))
	}
	if !f(&list[i]) {
		return nil
	}
	return b.save(list)
}

// Revoke ends an invite.
func (b *Book) Revoke(id uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.change(id, func(r *Record) bool {
		r.Revoked = true
		return true
	})
}

// Redeem spends a use on node, durably, or says why not.
func (b *Book) Redeem(id uint64, node sdk.NodeID) wire.InviteStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	var status wire.InviteStatus
	err := b.change(id, func(r *Record) bool {
		status = r.State(b.now())
		if status == wire.InviteUsed && slices.Contains(r.Redeemed, node.String()) {
			status = wire.InviteGranted
		}
		if status != wire.InviteGranted || slices.Contains(r.Redeemed, node.String()) {
			return false
		}
		r.Redeemed = append(slices.Clone(r.Redeemed), node.String())
		return true
	})
	switch {
	case errors.Is(err, ErrNone):
		return wire.InviteRevoked
	case err != nil:
		return wire.InviteFailed
	}
	return status
}

// List gives the invites, oldest first.
func (b *Book) List() []Record {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.list)
}

// Keys is what the kernel admits. Those that are over stay: who holds one hears
// why it is refused.
func (b *Book) Keys() []kernel.Invite {
	var keys []kernel.Invite
	for _, r := range b.List() {
		keys = append(keys, kernel.Invite{ID: r.ID, PSK: r.PSK})
	}
	return keys
}
