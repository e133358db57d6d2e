package module

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"nethost/host/identity"
	"nethost/sdk"
)

const (
	// SignatureName is the signature's file in the folder of a package. That of
	// a bare NAME.wasm is NAME.wasm.sig beside it.
	SignatureName = "module.sig"

	domainModule  = "nethost v1 module"
	domainComment = "nethost v1 module comment"

	publisherPrefix  = "ed25519:"
	untrustedPrefix  = "untrusted comment: "
	trustedPrefix    = "trusted comment: "
	signatureMagic   = "NH"
	maxSignatureFile = 2048
	maxComment       = 200
)

// PublisherText writes a publisher's public key as module.toml has it.
func PublisherText(key sdk.NodeID) string { return publisherPrefix + key.String() }

// ParsePublisher reads "ed25519:" and the public key in 52 letters and digits. A
// key with which signatures prove nothing (a point of small order) is refused.
func ParsePublisher(s string) (sdk.NodeID, error) {
	text, ok := strings.CutPrefix(s, publisherPrefix)
	if !ok {
		return sdk.NodeID{}, fmt.Errorf("publisher %q: want \"ed25519:\" and the key that `nethost module keygen` prints", s)
	}
	key, err := sdk.ParseNodeID(text)
	if err == nil {
		err = identity.CheckNodeID(key)
	}
	if err != nil {
		return sdk.NodeID{}, fmt.Errorf("publisher %q: %w", s, err)
	}
	return key, nil
}

// Signature is a publisher's statement about one package: what module.sig holds.
type Signature struct {
	Publisher sdk.NodeID
	Comment   string // signed too
	sig       [64]byte
	global    [64]byte
}

// Sign makes the signature of a package: of the text of its manifest and of the
// digest of its artifact (K2.1). The comment is one line of at most 200 printable
// characters.
func Sign(key *identity.Key, manifest []byte, artifact [32]byte, comment string) (*Signature, error) {
	if err := checkComment(comment); err != nil {
		return nil, err
	}
	s := &Signature{Publisher: key.ID(), Comment: comment, sig: key.Sign(domainModule, manifest, artifact[:])}
	s.global = key.Sign(domainComment, s.sig[:], []byte(comment))
	return s, nil
}

func checkComment(s string) error {
	if len(s) > maxComment || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return fmt.Errorf("comment: want at most %d printable ASCII characters in one line", maxComment)
	}
	return nil
}

// Errors of Signature.Verify.
var (
	errOtherPackage = errors.New("the signature is not of this module.toml and artifact: they were changed after signing, or it belongs to another package")
	errComment      = errors.New("the trusted comment is not the one that was signed")
)

// Verify says whether the signature is of this manifest and artifact. It knows
// nothing of trust.
func (s *Signature) Verify(manifest []byte, artifact [32]byte) error {
	if !identity.Verify(s.Publisher, domainModule, s.sig[:], manifest, artifact[:]) {
		return errOtherPackage
	}
	if !identity.Verify(s.Publisher, domainComment, s.global[:], s.sig[:], []byte(s.Comment)) {
		return errComment
	}
	return nil
}

// Text is the file: four lines, as those of minisign (K2.2).
func (s *Signature) Text() []byte {
	body := append([]byte(signatureMagic), s.Publisher[:]...)
	body = append(body, s.sig[:]...)
	enc := base64.StdEncoding
	return fmt.Appendf(nil, "%snethost module, signed by %s\n%s\n%s%s\n%s\n", untrustedPrefix, PublisherText(s.Publisher),
		enc.EncodeToString(body), trustedPrefix, s.Comment, enc.EncodeToString(s.global[:]))
}

// ParseSignature reads module.sig. Its error is a *LineError. It checks the form
// alone: Verify checks the signature.
func ParseSignature(text []byte) (*Signature, error) {
	if len(text) > maxSignatureFile {
		return nil, &LineError{0, fmt.Sprintf("a signature has at most %d bytes", maxSignatureFile)}
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) != 5 || lines[4] != "" {
		return nil, &LineError{min(len(lines), 5), "want exactly four lines, each with a newline: is the file whole?"}
	}
	comment, ok := strings.CutPrefix(lines[0], untrustedPrefix)
	if !ok || checkComment(comment) != nil {
		return nil, &LineError{1, fmt.Sprintf("want %q and a comment", untrustedPrefix)}
	}
	s := &Signature{}
	body, err := decode64(lines[1], len(signatureMagic)+len(s.Publisher)+len(s.sig))
	if err != nil {
		return nil, &LineError{2, err.Error()}
	}
	if string(body[:2]) != signatureMagic {
		return nil, &LineError{2, "not a signature of nethost (minisign's own cannot be used: what is signed differs)"}
	}
	copy(s.Publisher[:], body[2:])
	copy(s.sig[:], body[2+len(s.Publisher):])
	if err := identity.CheckNodeID(s.Publisher); err != nil {
		return nil, &LineError{2, "publisher's key: " + err.Error()}
	}
	if s.Comment, ok = strings.CutPrefix(lines[2], trustedPrefix); !ok {
		return nil, &LineError{3, fmt.Sprintf("want %q and a comment", trustedPrefix)}
	}
	if err := checkComment(s.Comment); err != nil {
		return nil, &LineError{3, err.Error()}
	}
	global, err := decode64(lines[3], len(s.global))
	if err != nil {
		return nil, &LineError{4, err.Error()}
	}
	copy(s.global[:], global)
	return s, nil
}

// decode64 reads base64 of exactly n bytes in its only form.
func decode64(s string, n int) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != n || strings.ContainsAny(s, "\r\n") {
		return nil, fmt.Errorf("want %d bytes in base64: is the file whole?", n)
	}
	return b, nil
}
