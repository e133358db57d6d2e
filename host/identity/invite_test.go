package identity_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"nethost/host/identity"
)

func sampleInvite() identity.Invite {
	return identity.Invite{Node: identity.NewKey([32]byte{1}).ID(), Secret: [32]byte{2, 3}, Network: identity.OpenNetworkKey().Fingerprint(),
		Addrs: []string{"192.0.2.1:7700", "[2001:db8::1]:7700", "home.example.org:7701"}}
}

const goldenInvite = "nethost-invite:ahhmyfih3qo524uvsuocscei6ck23oiejunxhvuw43pqmxlihpkpyaqdaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaamd2wdei3amcmaaacaekb4braaeg3qaaaaaaaaaaaaaaaaaabcqpacedin5wwkltfpbqw24dmmuxg64thcupncmvfui"

// I1.1 to I1.3: the bytes, and nothing else is read.
func TestInviteText(t *testing.T) {
	want := sampleInvite()
	text, err := want.Text()
	if err != nil || text != goldenInvite {
		t.Fatalf("Text() = %q, %v", text, err)
	}
	got, err := identity.ParseInvite(" " + text + "\n")
	if err != nil || got.Node != want.Node || got.Secret != want.Secret || got.Network != want.Network || !slices.Equal(got.Addrs, want.Addrs) {
		t.Fatalf("ParseInvite = %+v, %v", got.Addrs, err)
	}
	for i := range len(text) {
		if _, err := identity.ParseInvite(text[:i]); !errors.Is(err, identity.ErrInvite) {
			t.Errorf("cut at %d: %v", i, err)
		} else if strings.Contains(err.Error(), text[20:40]) {
			t.Errorf("the error quotes the secret")
		}
		b := []byte(text)
		if b[i] = 'a'; text[i] == 'a' {
			b[i] = 'b'
		}
		if _, err := identity.ParseInvite(string(b)); err == nil {
			t.Errorf("character %d changed: accepted", i)
		}
	}
	if s := fmt.Sprintf("%v %+v %s", want, want, want); strings.Contains(s, "\x02\x03") || strings.Contains(s, "2 3") {
		t.Errorf("printing it gives the secret away: %s", s)
	}
}

// I1.2: each address has one form; what is none is refused.
func TestInviteAddresses(t *testing.T) {
	for _, bad := range [][]string{nil, {"x"}, {"x:0"}, {"x:70000"}, {":1"}, {"[fe80::1%eth0]:1"}, {"a b:1"}, {"a\x1b:1"}, slices.Repeat([]string{"a:1"}, 9)} {
		i := sampleInvite()
		i.Addrs = bad
		if _, err := i.Text(); !errors.Is(err, identity.ErrInvite) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// I2.1: derived, not the secret, and the id is never that of the network key.
func TestInviteKey(t *testing.T) {
	psk, id := identity.InviteKey([32]byte{7})
	other, id2 := identity.InviteKey([32]byte{8})
	if psk == other || id == id2 || id == 0 || psk == [32]byte{7} {
		t.Fatal("keys of two secrets are not told apart")
	}
	if got := fmt.Sprintf("%x %016x", psk[:8], id); got != "772485472f8dd273 a00d29a0fec72435" {
		t.Errorf("derived %s", got)
	}
}

func FuzzParseInvite(f *testing.F) {
	text, _ := sampleInvite().Text()
	f.Add(text)
	f.Add("nethost-invite:aaaa")
	f.Fuzz(func(t *testing.T, s string) {
		i, err := identity.ParseInvite(s)
		if err != nil {
			return
		}
		if back, err := i.Text(); err != nil || back != strings.TrimSpace(s) {
			t.Fatalf("%q reads, and writes back as %q, %v", s, back, err)
		}
	})
}
