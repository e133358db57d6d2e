package identity

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"lukechampine.com/blake3"

	"nethost/sdk"
)

// Invite is what one machine tells another so that it can fetch the network key
// (SPEC.md). It holds a secret: print Text to the person who asked, nothing else.
type Invite struct {
	Node    sdk.NodeID // who redeems it
	Secret  [32]byte
	Network string   // the network key's Fingerprint
	Addrs   []string // where Node is, "host:port"; 1 to MaxInviteAddrs
}

// ErrInvite is wrapped by every error of ParseInvite and Invite.Text.
var ErrInvite = errors.New("not an invite")

const (
	invitePrefix   = "nethost-invite:"
	inviteVersion  = 1
	inviteSum      = 4
	inviteNetwork  = 5 // bytes of the fingerprint
	maxInviteName  = 253
	inviteAddrIPv4 = 4
	inviteAddrIPv6 = 6
	inviteAddrName = 1

	// MaxInviteAddrs is how many addresses an invite can hold.
	MaxInviteAddrs = 8
)

// InviteKey derives the pre-shared key of an invite and its id from the secret
// (I2.1). The id is never 0.
func InviteKey(secret [32]byte) (psk [32]byte, id uint64) {
	var b [8]byte
	blake3.DeriveKey(psk[:], "nethost invite v1", secret[:])
	blake3.DeriveKey(b[:], "nethost invite v1 id", secret[:])
	return psk, max(1, binary.LittleEndian.Uint64(b[:]))
}

// Format keeps the secret out of logs, whatever the verb.
func (i Invite) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "invite of %s", i.Node.Short()) }

// Text writes the invite out as one line. It fails on an address that is none.
func (i Invite) Text() (string, error) {
	network, err := networkEncoding().DecodeString(i.Network)
	if err != nil || len(network) != inviteNetwork {
		return "", fmt.Errorf("%w: %q is not the fingerprint of a network key", ErrInvite, i.Network)
	}
	if len(i.Addrs) == 0 || len(i.Addrs) > MaxInviteAddrs {
		return "", fmt.Errorf("%w: it has %d addresses, want 1 to %d", ErrInvite, len(i.Addrs), MaxInviteAddrs)
	}
	b := append([]byte{inviteVersion}, i.Node[:]...)
	b = append(append(b, i.Secret[:]...), network...)
	b = append(b, byte(len(i.Addrs)))
	for _, a := range i.Addrs {
		if b, err = appendInviteAddr(b, a); err != nil {
			return "", err
		}
	}
	return invitePrefix + networkEncoding().EncodeToString(append(b, inviteChecksum(b)...)), nil
}

func inviteChecksum(b []byte) []byte {
	h := blake3.Sum256(append([]byte("nethost v1 invite checksum\x00"), b...))
	return h[:inviteSum]
}

// appendInviteAddr writes an address (I1.2).
func appendInviteAddr(b []byte, addr string) ([]byte, error) {
	at := strings.LastIndexByte(addr, ':')
	if at < 1 {
		return nil, fmt.Errorf("%w: %q is not HOST:PORT", ErrInvite, addr)
	}
	port, err := strconv.ParseUint(addr[at+1:], 10, 16)
	if err != nil || port == 0 {
		return nil, fmt.Errorf("%w: the port of %q is not a number from 1 to 65535", ErrInvite, addr)
	}
	name := strings.TrimSuffix(strings.TrimPrefix(addr[:at], "["), "]")
	ip, err := netip.ParseAddr(name)
	switch ip = ip.Unmap(); {
	case err == nil && ip.Zone() != "":
		return nil, fmt.Errorf("%w: %q has a zone, which means nothing elsewhere", ErrInvite, addr)
	case err == nil && ip.Is4():
		b = append(append(b, inviteAddrIPv4), ip.AsSlice()...)
	case err == nil:
		b = append(append(b, inviteAddrIPv6), ip.AsSlice()...)
	case !inviteName(name):
		return nil, fmt.Errorf("%w: %q is no name of a host", ErrInvite, name)
	default:
		b = append(append(b, inviteAddrName, byte(len(name))), name...)
	}
	return binary.LittleEndian.AppendUint16(b, uint16(port)), nil
}

// inviteName reports whether s can be a DNS name: no byte of it does anything to
// a terminal or a configuration file.
func inviteName(s string) bool {
	return len(s) > 0 && len(s) <= maxInviteName && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == ""
}

// parseInviteAddr reads one address and gives what follows it.
func parseInviteAddr(b []byte) (addr string, rest []byte, ok bool) {
	if len(b) < 2 {
		return "", nil, false
	}
	tag, b, n := b[0], b[1:], 4
	switch tag {
	case inviteAddrIPv4:
	case inviteAddrIPv6:
		n = 16
	case inviteAddrName:
		n, b = int(b[0]), b[1:]
	default:
		return "", nil, false
	}
	if len(b) < n+2 {
		return "", nil, false
	}
	name := string(b[:n])
	if tag != inviteAddrName {
		ip, _ := netip.AddrFromSlice(b[:n])
		if name = ip.String(); tag == inviteAddrIPv6 {
			name = "[" + name + "]"
		}
	}
	return name + ":" + strconv.Itoa(int(binary.LittleEndian.Uint16(b[n:]))), b[n+2:], true
}

// ParseInvite reads what Text writes, and nothing else; white space around it is
// forgiven. Errors never quote the text.
func ParseInvite(s string) (Invite, error) {
	bad := func(why string) (Invite, error) { return Invite{}, fmt.Errorf("%w: %s", ErrInvite, why) }
	s = strings.TrimSpace(s)
	body, ok := strings.CutPrefix(s, invitePrefix)
	if !ok {
		return bad(fmt.Sprintf("it does not begin with %q", invitePrefix))
	}
	b, err := networkEncoding().DecodeString(body)
	if err != nil {
		return bad("it has characters other than a-z and 2-7, or was not copied whole")
	}
	const head = 1 + 32 + 32 + inviteNetwork + 1
	if len(b) > 0 && b[0] != inviteVersion {
		return bad(fmt.Sprintf("it is of version %d, this nethost knows %d", b[0], inviteVersion))
	}
	if len(b) < head+inviteSum {
		return bad("it is too short: was it copied whole?")
	}
	b, sum := b[:len(b)-inviteSum], b[len(b)-inviteSum:]
	if !bytes.Equal(sum, inviteChecksum(b)) {
		return bad("the checksum is wrong: was it copied whole?")
	}
	i := Invite{Node: sdk.NodeID(b[1:33]), Secret: [32]byte(b[33:65]), Network: networkEncoding().EncodeToString(b[65 : 65+inviteNetwork])}
	if err := CheckNodeID(i.Node); err != nil {
		return bad(err.Error())
	}
	rest := b[head:]
	for range b[head-1] {
		var addr string
		if addr, rest, ok = parseInviteAddr(rest); !ok {
			return bad("an address in it is malformed")
		}
		i.Addrs = append(i.Addrs, addr)
	}
	if text, err := i.Text(); err != nil || text != s || len(rest) > 0 || slices.Contains(i.Addrs, "") {
		return bad("it is not written as nethost writes it")
	}
	return i, nil
}
