package identity

import (
	"encoding/base32"
	"errors"
	"fmt"
	"strings"

	"lukechampine.com/blake3"
)

// NetworkKey admits to a network: the pre-shared key of its handshakes.
type NetworkKey [32]byte

// OpenNetworkKey is the published key of networks without one. Everybody knows
// it, so it keeps nobody out.
func OpenNetworkKey() NetworkKey { return NetworkKey([]byte("nethost v1 open network: no key!")) }

// ErrNetworkKey is wrapped by every error of ParseNetworkKey.
var ErrNetworkKey = errors.New("not a network key")

const (
	networkPrefix  = "nhkey1"
	networkSum     = 4  // bytes of checksum
	networkTextLen = 58 // characters after the prefix: (32+4) bytes of base32
)

func networkEncoding() *base32.Encoding {
	return base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
}

// Text writes the key out: "nhkey1" and 58 characters of lower-case base32, the
// key and 4 bytes of checksum. It is the secret itself; for people who should
// not learn it there is String.
func (k NetworkKey) Text() string {
	return networkPrefix + networkEncoding().EncodeToString(append(k[:], k.checksum()...))
}

func (k NetworkKey) checksum() []byte {
	h := blake3.Sum256(append([]byte("nethost v1 network key checksum\x00"), k[:]...))
	return h[:networkSum]
}

// Fingerprint names the key without giving it away: 8 characters.
func (k NetworkKey) Fingerprint() string {
	h := blake3.Sum256(append([]byte("nethost v1 network key fingerprint\x00"), k[:]...))
	return networkEncoding().EncodeToString(h[:5])
}

// String gives the fingerprint, never the key.
func (k NetworkKey) String() string { return "network key " + k.Fingerprint() }

// Format keeps the key out of logs, whatever the verb.
func (k NetworkKey) Format(s fmt.State, _ rune) { fmt.Fprint(s, k.String()) }

// IsOpen reports whether k is the published key.
func (k NetworkKey) IsOpen() bool { return k == OpenNetworkKey() }

// ParseNetworkKey reads what Text writes, and nothing else: a mistyped character
// is found by the checksum. The errors never quote the text, which may be almost
// the secret.
func ParseNetworkKey(s string) (NetworkKey, error) {
	body, ok := strings.CutPrefix(s, networkPrefix)
	if !ok {
		return NetworkKey{}, fmt.Errorf("%w: it does not begin with %q", ErrNetworkKey, networkPrefix)
	}
	if len(body) != networkTextLen {
		return NetworkKey{}, fmt.Errorf("%w: %d characters follow %q, want %d: was it copied whole?",
			ErrNetworkKey, len(body), networkPrefix, networkTextLen)
	}
	b, err := networkEncoding().DecodeString(body)
	if err != nil || len(b) != len(NetworkKey{})+networkSum {
		return NetworkKey{}, fmt.Errorf("%w: it has characters other than a-z and 2-7", ErrNetworkKey)
	}
	k := NetworkKey(b[:len(NetworkKey{})])
	if k.Text() != s {
		return NetworkKey{}, fmt.Errorf("%w: the checksum is wrong, so some character is", ErrNetworkKey)
	}
	if k == (NetworkKey{}) {
		return NetworkKey{}, fmt.Errorf("%w: it is all zero", ErrNetworkKey)
	}
	return k, nil
}
