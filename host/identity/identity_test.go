package identity

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"nethost/sdk"
)

func seed(b byte) [32]byte { return [32]byte(bytes.Repeat([]byte{b}, 32)) }

func TestKeyVector(t *testing.T) {
	k := NewKey(seed(1))
	if got, want := hex.EncodeToString(k.id[:]), "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"; got != want {
		t.Errorf("id %s, want %s", got, want)
	}
	if k.Seed() != seed(1) {
		t.Error("the seed did not come back")
	}
	// W1.5
	if got, want := uint64(RIDOf(k.ID())), uint64(0x7fd88f39db1a5683); got != want {
		t.Errorf("rid %#x, want %#x", got, want)
	}
	if err := CheckNodeID(k.ID()); err != nil {
		t.Error(err)
	}
}

func TestSignDomains(t *testing.T) {
	k, other := NewKey(seed(1)), NewKey(seed(2))
	sig := k.Sign("d1", []byte("ab"), []byte("c"))
	if !Verify(k.ID(), "d1", sig[:], []byte("ab"), []byte("c")) {
		t.Fatal("own signature refused")
	}
	for name, ok := range map[string]bool{
		"another node":   Verify(other.ID(), "d1", sig[:], []byte("ab"), []byte("c")),
		"another domain": Verify(k.ID(), "d2", sig[:], []byte("ab"), []byte("c")),
		"other parts":    Verify(k.ID(), "d1", sig[:], []byte("a"), []byte("bc")),
		"one part":       Verify(k.ID(), "d1", sig[:], []byte("abc")),
		"short":          Verify(k.ID(), "d1", sig[:63], []byte("ab"), []byte("c")),
		"no signature":   Verify(k.ID(), "d1", nil, []byte("ab"), []byte("c")),
		"empty domain":   Verify(k.ID(), "", sig[:], []byte("ab"), []byte("c")),
		"zero id":        Verify(sdk.NodeID{}, "d1", sig[:], []byte("ab"), []byte("c")),
	} {
		if ok {
			t.Errorf("%s: accepted", name)
		}
	}
	for i := range sig {
		bad := sig
		bad[i] ^= 1
		if Verify(k.ID(), "d1", bad[:], []byte("ab"), []byte("c")) {
			t.Errorf("accepted with byte %d changed", i)
		}
	}
	for _, domain := range []string{"", "a\x00b"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("domain %q did not panic", domain)
				}
			}()
			k.Sign(domain)
		}()
	}
	// The signed bytes as the comment of Sign states them.
	if !ed25519.Verify(ed25519.PublicKey(k.id[:]), []byte("d1\x00\x02\x00\x00\x00ab\x01\x00\x00\x00c"), sig[:]) {
		t.Error("the signed bytes are not what is documented")
	}
}

// lowOrder are the eight points of small order and their other encodings.
var lowOrder = []string{
	"0100000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
}

func TestCheckNodeIDRefuses(t *testing.T) {
	for _, s := range lowOrder {
		b, _ := hex.DecodeString(s)
		id := sdk.NodeID(b)
		if err := CheckNodeID(id); !errors.Is(err, ErrNodeID) {
			t.Errorf("%s: %v", s, err)
		}
		// A signature anybody can make for the neutral point: R = A = 1, S = 0.
		sig := append([]byte{1}, make([]byte, 63)...)
		if Verify(id, "d", sig) {
			t.Errorf("%s: a signature by nobody is accepted", s)
		}
	}
}

// A second opinion on the curve equation: what ed25519 itself accepts as a key
// of a signature is what CheckNodeID accepts.
func TestCheckNodeIDOnCurve(t *testing.T) {
	on := 0
	for i := range 200 {
		k := NewKey([32]byte{byte(i), 1})
		if err := CheckNodeID(k.ID()); err != nil {
			t.Fatalf("own key: %v", err)
		}
		id := sdk.NodeID{byte(i), 2, 3}
		if CheckNodeID(id) == nil {
			on++
		}
	}
	if on < 60 || on > 140 {
		t.Errorf("%d of 200 arbitrary numbers are points, want about half", on)
	}
	// y = 2 is not on the curve, y = 3 is; both are well known.
	if CheckNodeID(sdk.NodeID{2}) == nil || CheckNodeID(sdk.NodeID{3}) != nil {
		t.Error("y = 2 or y = 3 is judged wrongly")
	}
}

func TestStatic(t *testing.T) {
	k, other := NewKey(seed(1)), NewKey(seed(2))
	s := NewStatic(k, seed(9), 7)
	pub := s.Public
	pub[0] ^= 1
	switch {
	case !VerifyStatic(k.ID(), s.Public, 7, s.Sig[:]):
		t.Error("own static refused")
	case VerifyStatic(k.ID(), s.Public, 8, s.Sig[:]), VerifyStatic(k.ID(), pub, 7, s.Sig[:]),
		VerifyStatic(other.ID(), s.Public, 7, s.Sig[:]), VerifyStatic(k.ID(), s.Public, 7, s.Sig[:10]):
		t.Error("a static key of somebody else is accepted")
	}
}

func TestNetworkKeyText(t *testing.T) {
	k := NetworkKey(seed(5))
	s := k.Text()
	if got, err := ParseNetworkKey(s); err != nil || got != k {
		t.Fatalf("%s: %v", s, err)
	}
	for i := range s {
		for _, c := range []byte("a27zA\n=") {
			bad := s[:i] + string(c) + s[i+1:]
			if got, err := ParseNetworkKey(bad); bad != s && !errors.Is(err, ErrNetworkKey) {
				t.Errorf("%s is accepted as %s", bad, got.Text())
			}
		}
		if _, err := ParseNetworkKey(s[:i]); !errors.Is(err, ErrNetworkKey) {
			t.Errorf("accepted when cut to %d", i)
		}
	}
	if _, err := ParseNetworkKey(NetworkKey{}.Text()); !errors.Is(err, ErrNetworkKey) {
		t.Error("the zero key is accepted")
	}
	if !OpenNetworkKey().IsOpen() || k.IsOpen() {
		t.Error("IsOpen")
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	n := NetworkKey(seed(5))
	k := NewKey(seed(5))
	s := NewStatic(k, seed(5), 1)
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%d", "%q"} {
		for _, v := range []any{n, &n, k, s, struct{ N NetworkKey }{n}} {
			got := fmt.Sprintf(verb, v)
			if strings.Contains(got, "0505") || strings.Contains(got, "5, 5") || strings.Contains(got, "5 5 5") || strings.Contains(got, n.Text()) {
				t.Errorf("%s of %T prints the secret: %s", verb, v, got)
			}
		}
	}
}

func FuzzNetworkKey(f *testing.F) {
	f.Add(NetworkKey(seed(1)).Text())
	f.Add("")
	f.Add(networkPrefix)
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := ParseNetworkKey(s); err == nil && k.Text() != s {
			t.Errorf("%q is another spelling of %q", s, k.Text())
		}
	})
}

func FuzzNodeID(f *testing.F) {
	for _, s := range lowOrder {
		b, _ := hex.DecodeString(s)
		f.Add(b)
	}
	k := NewKey(seed(3))
	f.Add(slices.Clone(k.id[:]))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 32 {
			if err := CheckNodeID(sdk.NodeID(b)); err != nil && !errors.Is(err, ErrNodeID) {
				t.Error(err)
			}
		}
	})
}

func BenchmarkCheckNodeID(b *testing.B) {
	k := NewKey(seed(1))
	for b.Loop() {
		_ = CheckNodeID(k.id)
	}
}

func BenchmarkVerify(b *testing.B) {
	k := NewKey(seed(1))
	msg := make([]byte, 64)
	sig := k.Sign(DomainWave, msg)
	for b.Loop() {
		Verify(k.id, DomainWave, sig[:], msg)
	}
}
