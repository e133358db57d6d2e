package capability

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"nethost/sdk"
	"nethost/sdk/gossip"
)

// Limits of an announcement (C2.2).
const (
	MaxAnnouncement = 32 << 10
	MaxTags         = 1024
	maxTTL          = 24 * time.Hour
)

const (
	magic    = "NHA1"
	headLen  = 4 + 32 + 8 + 8 + 4 + 2
	sigLen   = 64
	moduleID = "capability"
)

var errAnnouncement = errors.New("no announcement")

// announcement is what a node says about itself.
type announcement struct {
	node    sdk.NodeID
	version gossip.Version // incarnation, counter
	ttl     time.Duration
	tags    []string // ascending, each once
	sig     [sigLen]byte
}

// appendBody appends what the node signs (C2.1).
func (a *announcement) appendBody(b []byte) []byte {
	b = append(append(b, magic...), a.node[:]...)
	b = binary.LittleEndian.AppendUint64(b, a.version[0])
	b = binary.LittleEndian.AppendUint64(b, a.version[1])
	b = binary.LittleEndian.AppendUint32(b, uint32(a.ttl/time.Second))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(a.tags)))
	return sdk.AppendTags(b, a.tags)
}

func (a *announcement) append(b []byte) []byte { return append(a.appendBody(b), a.sig[:]...) }

// parseAnnouncement reads the one spelling of an announcement. The tags are parts of
// b, so that one that is kept is held once.
func parseAnnouncement(b string) (announcement, error) {
	var a announcement
	if len(b) < headLen+sigLen || len(b) > MaxAnnouncement || string(b[:4]) != magic {
		return a, fmt.Errorf("%w: %d bytes, want %d to %d that begin with %s", errAnnouncement, len(b), headLen+sigLen, MaxAnnouncement, magic)
	}
	copy(a.node[:], b[4:])
	head := []byte(b[36:headLen])
	a.version = gossip.Version{binary.LittleEndian.Uint64(head), binary.LittleEndian.Uint64(head[8:])}
	a.ttl = time.Duration(binary.LittleEndian.Uint32(head[16:])) * time.Second
	n := int(binary.LittleEndian.Uint16(head[20:]))
	copy(a.sig[:], b[len(b)-sigLen:])
	text := b[headLen : len(b)-sigLen]
	if n > MaxTags || a.version[0] == 0 || a.ttl <= 0 || a.ttl > maxTTL {
		return a, fmt.Errorf("%w: %d tags, incarnation %d, lifetime %v", errAnnouncement, n, a.version[0], a.ttl)
	}
	a.tags = make([]string, 0, n)
	for range n {
		if len(text) < 2 || len(text)-2 < int(text[0])|int(text[1])<<8 {
			return a, fmt.Errorf("%w: it ends early", errAnnouncement)
		}
		size := int(text[0]) | int(text[1])<<8
		t := text[2 : 2+size]
		text = text[2+size:]
		if err := checkTag(t); err != nil {
			return a, fmt.Errorf("%w: %w", errAnnouncement, err)
		}
		if k := len(a.tags); k > 0 && a.tags[k-1] >= t {
			return a, fmt.Errorf("%w: its tags are not in ascending order, each once", errAnnouncement)
		}
		a.tags = append(a.tags, t)
	}
	if text != "" {
		return a, fmt.Errorf("%w: bytes behind its tags", errAnnouncement)
	}
	return a, nil
}

// statement is parseAnnouncement for the gossip.
func statement(body []byte) (gossip.Statement, error) {
	a, err := parseAnnouncement(string(body))
	if err != nil {
		return gossip.Statement{}, err
	}
	return gossip.Statement{Key: gossip.Key(a.node), Version: a.version, Signer: a.node, Sig: a.sig,
		Signed: sdk.AppendSigned(nil, "", moduleID, ID, body[:len(body)-sigLen])}, nil
}

// merge puts the tags of all slots into one list, ascending, each once.
func merge(slots ...[]string) []string {
	var all []string
	for _, s := range slots {
		all = append(all, s...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
