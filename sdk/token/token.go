package token

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"nethost/sdk"
	"nethost/sdk/name"
)

// Limits (T1, T2).
const (
	// MaxSubjects bounds the nodes that one token names.
	MaxSubjects = 16
	// MaxLinks bounds the tokens of a chain.
	MaxLinks = 8
	// MaxDepth is the greatest depth: links that may follow.
	MaxDepth = MaxLinks - 1
	// MaxToken bounds one encoded token, in bytes.
	MaxToken = fixedLen + 16 + MaxSubjects*32 + name.MaxLen
	// MaxChain bounds an encoded chain, in bytes.
	MaxChain = 5 + MaxLinks*(2+MaxToken)
)

// fixedLen is the length of what every token has: magic, flags, depth, scope,
// generation, issuer, parent, nonce, the two counts and the signature.
const fixedLen = 4 + 1 + 1 + 2 + 8 + 32 + 32 + 16 + 1 + 1 + ed25519.SignatureSize

// Domain separates the signature of a token from every other of the same key. It
// is made as those of package host/identity are: the domain, a zero byte, the
// length of the signed part as u32 little endian, the part (T1.4).
const Domain = "nethost token v1"

// maxUnix bounds the end of a token's time, in Unix seconds: some 34 000 years.
const maxUnix = 1 << 40

const (
	magic        = "NHT1"
	chainMagic   = "NHC1"
	textPrefix   = "nht1."
	flagValidity = 1
)

// Errors of parsing.
var (
	// ErrToken is wrapped when bytes or text are no token or chain.
	ErrToken = errors.New("not a token")
)

// Token is one link of a chain.
type Token struct {
	// Issuer says what follows, and signs.
	Issuer sdk.NodeID
	// Subjects may use the token, or hand it on: 1 to MaxSubjects, ascending.
	Subjects []sdk.NodeID
	// Scope is what may be done. With Delegate, Subjects may issue further links.
	Scope Scope
	// Resource is a name, or a pattern of names (package name).
	Resource string
	// Generation is compared with the issuer's floor: below it the token is void.
	Generation uint64
	// Depth is how many links may follow this one at most.
	Depth uint8
	// NotBefore and NotAfter are Unix seconds, both 0 when the token has no end.
	NotBefore, NotAfter int64
	// Nonce makes two tokens of the same content differ.
	Nonce [16]byte
	// Parent is the digest of the link before this one, zero in a root (T2.3).
	Parent [32]byte
	// Sig is the issuer's signature.
	Sig [64]byte
}

// Chain is a root and what was derived from it, root first.
type Chain []Token

// Fault says what is wrong with a token whoever signed it, "" when nothing (T1.3).
func (t *Token) fault() string {
	switch {
	case len(t.Subjects) == 0 || len(t.Subjects) > MaxSubjects:
		return fmt.Sprintf("%d subjects, want 1 to %d", len(t.Subjects), MaxSubjects)
	case !slices.IsSortedFunc(t.Subjects, sdk.NodeID.Compare) || len(slices.Compact(slices.Clone(t.Subjects))) != len(t.Subjects):
		return "the subjects are not in ascending order, each once"
	case t.Subjects[0].IsZero() || t.Issuer.IsZero():
		return "the zero id is nobody's"
	case t.Scope == 0 || t.Scope&^AllScopes != 0:
		return fmt.Sprintf("scope %#x, want at least one known bit and no other", uint16(t.Scope))
	case t.Depth > MaxDepth:
		return fmt.Sprintf("depth %d, the limit is %d", t.Depth, MaxDepth)
	case t.Depth > 0 && t.Scope&Delegate == 0:
		return "links may follow, but the scope lacks delegate"
	case (t.NotBefore != 0 || t.NotAfter != 0) && (t.NotBefore < 0 || t.NotAfter <= t.NotBefore || t.NotAfter > maxUnix):
		return "its time ends before it begins, or is no time"
	}
	if err := name.CheckPattern(t.Resource); err != nil {
		return err.Error()
	}
	return ""
}

// appendBody appends what the issuer signs (T1.2).
func (t *Token) appendBody(b []byte) []byte {
	b = append(b, magic...)
	validity := t.NotBefore != 0 || t.NotAfter != 0
	if validity {
		b = append(b, flagValidity)
	} else {
		b = append(b, 0)
	}
	b = append(b, t.Depth)
	b = binary.LittleEndian.AppendUint16(b, uint16(t.Scope))
	b = binary.LittleEndian.AppendUint64(b, t.Generation)
	b = append(b, t.Issuer[:]...)
	b = append(b, t.Parent[:]...)
	b = append(b, t.Nonce[:]...)
	if validity {
		b = binary.LittleEndian.AppendUint64(b, uint64(t.NotBefore))
		b = binary.LittleEndian.AppendUint64(b, uint64(t.NotAfter))
	}
	b = append(b, byte(len(t.Subjects)))
	for _, s := range t.Subjects {
		b = append(b, s[:]...)
	}
	b = append(b, byte(len(t.Resource)))
	return append(b, t.Resource...)
}

// Append appends the token's bytes (T1.2).
func (t *Token) Append(b []byte) []byte { return append(t.appendBody(b), t.Sig[:]...) }

// Digest is the SHA-256 of the token's bytes, signature included: what the next
// link names as its parent.
func (t *Token) Digest() [32]byte { return sha256.Sum256(t.Append(nil)) }

// Parse reads what Append wrote, to the last byte, in its one spelling.
func Parse(b []byte) (Token, error) {
	var t Token
	bad := func(why string) (Token, error) { return Token{}, fmt.Errorf("%w: %s", ErrToken, why) }
	if len(b) < fixedLen || len(b) > MaxToken {
		return bad(fmt.Sprintf("%d bytes, want %d to %d", len(b), fixedLen, MaxToken))
	}
	if string(b[:4]) != magic {
		return bad("it does not begin with " + magic)
	}
	flags := b[4]
	if flags&^flagValidity != 0 {
		return bad("unknown flags")
	}
	t.Depth, t.Scope, t.Generation = b[5], Scope(binary.LittleEndian.Uint16(b[6:])), binary.LittleEndian.Uint64(b[8:])
	copy(t.Issuer[:], b[16:])
	copy(t.Parent[:], b[48:])
	copy(t.Nonce[:], b[80:])
	r := b[96:]
	if flags&flagValidity != 0 {
		if len(r) < 16 {
			return bad("it ends early")
		}
		t.NotBefore, t.NotAfter = int64(binary.LittleEndian.Uint64(r)), int64(binary.LittleEndian.Uint64(r[8:]))
		if r = r[16:]; t.NotBefore == 0 && t.NotAfter == 0 {
			return bad("a time that says nothing")
		}
	}
	if len(r) < 1 || len(r) < 1+int(r[0])*32+1 {
		return bad("it ends early")
	}
	n := int(r[0])
	for r = r[1:]; n > 0; n, r = n-1, r[32:] {
		t.Subjects = append(t.Subjects, sdk.NodeID(r[:32]))
	}
	if len(r) != 1+int(r[0])+len(t.Sig) {
		return bad("its length is not what it says")
	}
	t.Resource = string(r[1 : 1+int(r[0])])
	copy(t.Sig[:], r[1+int(r[0]):])
	if why := t.fault(); why != "" {
		return bad(why)
	}
	return t, nil
}

func signed(domain string, body []byte) []byte {
	b := append([]byte(domain), 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	return append(b, body...)
}

// Sign makes t whole: it sorts the subjects, sets Issuer to the key's own id and
// signs. The error says what is wrong with the fields.
func (t *Token) Sign(key ed25519.PrivateKey) error {
	t.Issuer = sdk.NodeID(key.Public().(ed25519.PublicKey))
	slices.SortFunc(t.Subjects, sdk.NodeID.Compare)
	t.Subjects = slices.Compact(t.Subjects)
	if why := t.fault(); why != "" {
		return fmt.Errorf("%w: %s", ErrToken, why)
	}
	t.Sig = [64]byte(ed25519.Sign(key, signed(Domain, t.appendBody(nil))))
	return nil
}

// verify reports whether the issuer signed it.
func (t *Token) verify() bool {
	return ed25519.Verify(t.Issuer[:], signed(Domain, t.appendBody(nil)), t.Sig[:])
}

// Delegate appends a link to a chain: next is signed by key, whose id must be a
// subject of the chain's leaf. It refuses what Verify would refuse of it.
func (c Chain) Delegate(key ed25519.PrivateKey, next Token) (Chain, error) {
	if len(c) == 0 {
		return nil, fmt.Errorf("%w: an empty chain has nothing to hand on", ErrToken)
	}
	leaf := &c[len(c)-1]
	next.Parent = leaf.Digest()
	if err := next.Sign(key); err != nil {
		return nil, err
	}
	out := append(slices.Clone(c), next)
	if r := out.linkFault(len(out) - 1); r != OK {
		return nil, &Refusal{r, len(out) - 1, "it would be refused everywhere"}
	}
	return out, nil
}

// Append appends the chain's bytes (T2.1).
func (c Chain) Append(b []byte) []byte {
	b = append(append(b, chainMagic...), byte(len(c)))
	for i := range c {
		at := len(b)
		b = c[i].Append(append(b, 0, 0))
		binary.LittleEndian.PutUint16(b[at:], uint16(len(b)-at-2))
	}
	return b
}

// ParseChain reads what Append wrote.
func ParseChain(b []byte) (Chain, error) {
	if len(b) < 5 || len(b) > MaxChain || string(b[:4]) != chainMagic {
		return nil, fmt.Errorf("%w: no chain of 5 to %d bytes that begins with %s", ErrToken, MaxChain, chainMagic)
	}
	n := int(b[4])
	if n == 0 || n > MaxLinks {
		return nil, fmt.Errorf("%w: a chain of %d links, want 1 to %d", ErrToken, n, MaxLinks)
	}
	c := make(Chain, 0, n)
	for b = b[5:]; n > 0; n-- {
		if len(b) < 2 || len(b)-2 < int(binary.LittleEndian.Uint16(b)) {
			return nil, fmt.Errorf("%w: the chain ends early", ErrToken)
		}
		size := int(binary.LittleEndian.Uint16(b))
		t, err := Parse(b[2 : 2+size])
		if err != nil {
			return nil, fmt.Errorf("link %d: %w", len(c)+1, err)
		}
		c, b = append(c, t), b[2+size:]
	}
	if len(b) != 0 {
		return nil, fmt.Errorf("%w: bytes behind the chain", ErrToken)
	}
	return c, nil
}

// String is the chain as one word of text (T2.2).
func (c Chain) String() string {
	return textPrefix + base64.RawURLEncoding.EncodeToString(c.Append(nil))
}

// ParseText reads what String writes.
func ParseText(s string) (Chain, error) {
	rest, ok := strings.CutPrefix(s, textPrefix)
	if !ok || len(rest) > base64.RawURLEncoding.EncodedLen(MaxChain) {
		return nil, fmt.Errorf("%w: it does not begin with %q, or is too long", ErrToken, textPrefix)
	}
	if strings.ContainsAny(rest, "\r\n") { // the decoder skips them
		return nil, fmt.Errorf("%w: it holds line breaks", ErrToken)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	if err != nil {
		return nil, fmt.Errorf("%w: what follows %q is not base64url", ErrToken, textPrefix)
	}
	return ParseChain(b)
}

// Window is the time in which every link of the chain is valid, without skew, as
// Unix seconds; end is MaxInt64 when none ends.
func (c Chain) window() (begin, end int64) {
	end = math.MaxInt64
	for i := range c {
		if c[i].NotAfter != 0 {
			begin, end = max(begin, c[i].NotBefore), min(end, c[i].NotAfter)
		}
	}
	return begin, end
}

// Skew is by how much two clocks may differ: a token is good that much before and
// after its time (T3.6).
const Skew = 60 * time.Second
