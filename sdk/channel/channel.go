package channel

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"nethost/sdk"
	"nethost/sdk/name"
)

// Limits.
const (
	// MaxEvent bounds the data of one event on a reliable channel, in bytes.
	MaxEvent = 256 << 10
	// MaxMessage bounds it on an unreliable one: it has to be one message.
	MaxMessage = sdk.MaxMessage - 1<<10
	// MaxHeader bounds the first line of a stream, in bytes.
	MaxHeader = 16 << 10
	// MaxRecord bounds one record, its length included.
	MaxRecord = MaxEvent + 1<<10
)

// ErrRecord is wrapped by every error of the Parse functions.
var ErrRecord = errors.New("malformed record")

// Formats of what follows the first line.
const (
	Lines  = "lines"  // publish: each line is an event
	Raw    = "raw"    // publish: all of it is one event
	JSON   = "json"   // subscribe: each event a line of JSON
	Frames = "frames" // both: records (H3)
)

// Publish is the first line of a stream to channels.pub (H1).
type Publish struct {
	Channel string `json:"channel"`
	Format  string `json:"format,omitempty"` // Lines (default), Raw or Frames
	// Token permits it: a chain as text. None is needed on an open channel.
	Token string `json:"token,omitempty"`
}

// Published is the answer to it, when the stream ends.
type Published struct {
	Channel string `json:"channel"`
	Epoch   uint32 `json:"epoch"`
	// Events is how many were published by this stream, Last the sequence of the last
	// one.
	Events uint64 `json:"events"`
	Last   uint64 `json:"last"`
	// Subscribers is how many there are now: applications of this node and other
	// nodes.
	Subscribers int `json:"subscribers"`
}

// Subscribe is the first line of a stream to channels.sub (H2).
type Subscribe struct {
	Pattern string `json:"pattern"`
	Format  string `json:"format,omitempty"` // JSON (default) or Frames
	Token   string `json:"token,omitempty"`
	// Group makes the subscriber a member of a queue group: each event goes to one
	// member of it.
	Group string `json:"group,omitempty"`
	// Max ends the stream after so many events, WaitS after so many seconds; 0: never.
	Max   uint64  `json:"max,omitempty"`
	WaitS float64 `json:"wait_s,omitempty"`
	// Parents asks for the causal parent of each event.
	Parents bool `json:"parents,omitempty"`
	// Ring is how many events wait for a slow subscriber; 0: 4096.
	Ring int `json:"ring,omitempty"`
}

// EventID names one event of the whole mesh.
type EventID struct {
	Channel   string
	Publisher sdk.NodeID
	// Epoch counts the starts of the publisher, Seq its events in this channel since
	// then, from 1.
	Epoch uint32
	Seq   uint64
}

// Event is one event as a subscriber gets it.
type Event struct {
	EventID
	// Hops is 0 when the publisher is this node, else the number of nodes that handed
	// it on as an event: 1.
	Hops uint8
	// Missed is how many events of this channel and publisher were lost for this
	// subscriber right before this one.
	Missed uint64
	// Parent is what the publisher named as the cause; nil: nothing, or not asked for.
	Parent *EventID
	Data   []byte
}

// Notice is something a subscriber is told that is no event.
type Notice struct {
	// Notice is "ready" (the subscription stands at this node), "joined" (it stands at
	// a publisher), "left" (a publisher went), "refused" (Text says why).
	Notice    string `json:"notice"`
	Channel   string `json:"channel,omitempty"`
	Publisher string `json:"publisher,omitempty"`
	Code      uint32 `json:"code,omitempty"`
	Text      string `json:"text,omitempty"`
}

// Kinds of records.
const (
	KindEvent  = 1
	KindNotice = 2
)

const (
	flagParent = 1
	idMin      = 32 + 4 + 8 + 1
)

// AppendEventID appends publisher 32, epoch u32, sequence u64, length u8, channel.
func AppendEventID(b []byte, id *EventID) []byte {
	b = append(b, id.Publisher[:]...)
	b = binary.LittleEndian.AppendUint32(b, id.Epoch)
	b = binary.LittleEndian.AppendUint64(b, id.Seq)
	return append(append(b, byte(len(id.Channel))), id.Channel...)
}

// TakeEventID reads what AppendEventID wrote, and gives what is behind it.
func TakeEventID(b []byte) (id EventID, rest []byte, err error) {
	if len(b) < idMin || len(b) < idMin+int(b[idMin-1]) {
		return id, nil, fmt.Errorf("%w: an event id is cut short", ErrRecord)
	}
	copy(id.Publisher[:], b)
	id.Epoch, id.Seq = binary.LittleEndian.Uint32(b[32:]), binary.LittleEndian.Uint64(b[36:])
	end := idMin + int(b[idMin-1])
	id.Channel = string(b[idMin:end])
	if err := name.Check(id.Channel); err != nil {
		return EventID{}, nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if id.Publisher.IsZero() || id.Seq == 0 {
		return EventID{}, nil, fmt.Errorf("%w: an event id without a publisher or a sequence", ErrRecord)
	}
	return id, b[end:], nil
}

// AppendBody appends flags u8, the parent if there is one, and data: the part of an
// event that its publisher's application says.
func AppendBody(b []byte, parent *EventID, data []byte) []byte {
	if parent == nil {
		return append(append(b, 0), data...)
	}
	return append(AppendEventID(append(b, flagParent), parent), data...)
}

// ParseBody reads what AppendBody wrote. data aliases b.
func ParseBody(b []byte) (parent *EventID, data []byte, err error) {
	if len(b) == 0 || b[0]&^flagParent != 0 {
		return nil, nil, fmt.Errorf("%w: unknown flags, or none", ErrRecord)
	}
	flags, b := b[0], b[1:]
	if flags&flagParent != 0 {
		var id EventID
		if id, b, err = TakeEventID(b); err != nil {
			return nil, nil, err
		}
		parent = &id
	}
	if len(b) > MaxEvent {
		return nil, nil, fmt.Errorf("%w: an event of %d bytes, the limit is %d", ErrRecord, len(b), MaxEvent)
	}
	return parent, b, nil
}

// AppendPublish appends one record of a publisher: length u32 and AppendBody.
func AppendPublish(b []byte, parent *EventID, data []byte) []byte {
	at := len(b)
	b = AppendBody(append(b, 0, 0, 0, 0), parent, data)
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// TakeRecord gives the first record of b without its length, and what follows. A nil
// record without an error means that it is not there in full yet.
func TakeRecord(b []byte) (rec, rest []byte, err error) {
	if len(b) < 4 {
		return nil, b, nil
	}
	n := binary.LittleEndian.Uint32(b)
	switch {
	case n == 0 || n > MaxRecord-4:
		return nil, nil, fmt.Errorf("%w: a record of %d bytes, want 1 to %d", ErrRecord, n, MaxRecord-4)
	case uint32(len(b)-4) < n:
		return nil, b, nil
	}
	return b[4 : 4+n], b[4+n:], nil
}

// AppendEvent appends an event as a record (H3.1).
func AppendEvent(b []byte, e *Event) []byte {
	at := len(b)
	b = AppendEventID(append(b, 0, 0, 0, 0, KindEvent), &e.EventID)
	b = append(b, e.Hops)
	b = binary.LittleEndian.AppendUint64(b, e.Missed)
	b = AppendBody(b, e.Parent, e.Data)
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// AppendNotice appends a notice as a record.
func AppendNotice(b []byte, n *Notice) []byte {
	at := len(b)
	text, _ := json.Marshal(n)
	b = append(append(b, 0, 0, 0, 0, KindNotice), text...)
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// ParseRecord reads what AppendEvent or AppendNotice wrote, as TakeRecord gives it:
// one of the two results is set. Data aliases rec.
func ParseRecord(rec []byte) (*Event, *Notice, error) {
	if len(rec) == 0 {
		return nil, nil, fmt.Errorf("%w: empty", ErrRecord)
	}
	switch rec[0] {
	case KindEvent:
		var e Event
		var err error
		b := rec[1:]
		if e.EventID, b, err = TakeEventID(b); err != nil {
			return nil, nil, err
		}
		if len(b) < 9 {
			return nil, nil, fmt.Errorf("%w: an event is cut short", ErrRecord)
		}
		e.Hops, e.Missed = b[0], binary.LittleEndian.Uint64(b[1:])
		if e.Parent, e.Data, err = ParseBody(b[9:]); err != nil {
			return nil, nil, err
		}
		return &e, nil, nil
	case KindNotice:
		var n Notice
		if err := json.Unmarshal(rec[1:], &n); err != nil || n.Notice == "" {
			return nil, nil, fmt.Errorf("%w: no notice", ErrRecord)
		}
		return nil, &n, nil
	}
	return nil, nil, fmt.Errorf("%w: kind %d is unknown", ErrRecord, rec[0])
}

// Line is an event as a line of JSON. Text holds the data when it is UTF-8, Data, in
// base64, when it is not.
type Line struct {
	Channel   string      `json:"channel"`
	Publisher string      `json:"publisher"`
	Epoch     uint32      `json:"epoch"`
	Seq       uint64      `json:"seq"`
	Hops      uint8       `json:"hops"`
	Missed    uint64      `json:"missed,omitempty"`
	Parent    *ParentLine `json:"parent,omitempty"`
	Text      *string     `json:"text,omitempty"`
	Data      []byte      `json:"data,omitempty"`
}

// ParentLine is an EventID in JSON.
type ParentLine struct {
	Channel   string `json:"channel"`
	Publisher string `json:"publisher"`
	Epoch     uint32 `json:"epoch"`
	Seq       uint64 `json:"seq"`
}

// LineOf gives the JSON form of an event.
func LineOf(e *Event) Line {
	l := Line{Channel: e.Channel, Publisher: e.Publisher.String(), Epoch: e.Epoch, Seq: e.Seq, Hops: e.Hops, Missed: e.Missed}
	if e.Parent != nil {
		l.Parent = &ParentLine{e.Parent.Channel, e.Parent.Publisher.String(), e.Parent.Epoch, e.Parent.Seq}
	}
	if utf8.Valid(e.Data) {
		s := string(e.Data)
		l.Text = &s
	} else {
		l.Data = e.Data
	}
	return l
}

// AppendLine appends a value as one line of JSON.
func AppendLine(b []byte, v any) []byte {
	text, _ := json.Marshal(v)
	return append(append(b, text...), '\n')
}

// TakeHeader reads the first line of a stream into v, which is a *Publish or a
// *Subscribe. done is false while the line is not there in full: fin says that no
// more comes.
func TakeHeader(b []byte, fin bool, v any) (rest []byte, done bool, err error) {
	line, rest, ok := bytes.Cut(b, []byte("\n"))
	if !ok && !fin && len(b) <= MaxHeader {
		return b, false, nil
	}
	if len(line) > MaxHeader {
		return nil, false, fmt.Errorf("%w: the first line has more than %d bytes", ErrRecord, MaxHeader)
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return nil, false, fmt.Errorf("%w: the first line is no JSON object of this method: %w", ErrRecord, err)
	}
	return rest, true, nil
}
