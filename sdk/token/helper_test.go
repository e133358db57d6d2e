package token

import (
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"nethost/sdk"
)

// key gives the nth key.
func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(append(make([]byte, 31), n))
}

func id(n byte) sdk.NodeID { return sdk.NodeID(key(n).Public().(ed25519.PublicKey)) }

// tok is a token of key by for key to.
func tok(scope Scope, resource string, depth uint8, to ...byte) Token {
	t := Token{Scope: scope, Resource: resource, Depth: depth, Generation: 5}
	for _, n := range to {
		t.Subjects = append(t.Subjects, id(n))
	}
	return t
}

// must signs links: the first by key 1, each next by the first subject before it.
func must(t testing.TB, signers []byte, links ...Token) Chain {
	t.Helper()
	var c Chain
	for i, l := range links {
		if i > 0 {
			l.Parent = c[i-1].Digest()
		}
		if err := l.Sign(key(signers[i])); err != nil {
			t.Fatal(err)
		}
		c = append(c, l)
	}
	return c
}

// three is a good chain: 1 for 2, 2 for 3, 3 for 4.
func three(t testing.TB) Chain {
	return must(t, []byte{1, 2, 3}, tok(Publish|Subscribe|Delegate, "sensors/**", 7, 2), tok(Publish|Subscribe|Delegate, "sensors/*", 3, 3),
		tok(Publish, "sensors/a", 0, 4))
}

func request() Request {
	return Request{Presenter: id(4), Scope: Publish, Resource: "sensors/a", Roots: []sdk.NodeID{id(9), id(1)}, Wall: time.Unix(1_000_000, 0)}
}

func refused(t *testing.T, what string, err error, want Reason, link int) {
	t.Helper()
	var r *Refusal
	if want == OK {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return
	}
	if !errors.As(err, &r) || r.Reason != want || r.Link != link || r.Error() == "" {
		t.Errorf("%s: %v, want %q at link %d", what, err, want, link)
	}
}
