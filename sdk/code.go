package sdk

import "fmt"

// Code says why a stream was reset or a connection failed. The set is closed;
// an unknown code reads as Internal.
type Code uint32

// The codes. Their numbers travel between nodes: never renumber.
const (
	Cancelled        Code = 0  // the far end is no longer interested
	Unimplemented    Code = 1  // no such method, or machinery this host lacks
	UnsupportedID    Code = 2  // the peer does not speak the subprotocol
	PermissionDenied Code = 3  // a grant, token or rule says no
	Overloaded       Code = 4  // a mailbox, quota or table is full: try again later
	ModuleRestarted  Code = 5  // the module crashed; a fresh instance is coming
	Draining         Code = 6  // the module or host is about to stop
	DeadlineExceeded Code = 7  // the caller's deadline passed
	PeerGone         Code = 8  // the session ended
	NoRoute          Code = 9  // no path to the node is known
	FlowControl      Code = 10 // more bytes were written than credit allowed
	InvalidArgument  Code = 11 // the request makes no sense
	NotFound         Code = 12 // the thing asked for does not exist
	Internal         Code = 13 // a fault of the answering side
	HandshakeFailed  Code = 14 // the peer refused us, or is not who we dialled
)

var codeNames = [...]string{"cancelled", "unimplemented", "unsupported", "permission denied",
	"overloaded", "module restarted", "draining", "deadline exceeded", "peer gone", "no route",
	"flow control", "invalid argument", "not found", "internal", "handshake failed"}

// String gives the code in words.
func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("code %d", uint32(c))
}

// DownReason says why a peer went away (PeerDown).
type DownReason uint32

// The reasons of a PeerDown.
const (
	DownGoodbye   DownReason = 1 // the peer said goodbye
	DownDead      DownReason = 2 // the peer fell silent
	DownReplaced  DownReason = 3 // the peer restarted; a new session follows
	DownAgreement DownReason = 4 // the id is no longer agreed
	DownLocal     DownReason = 5 // this host closed the session
	DownDenied    DownReason = 6 // a rule of one of the two operators forbids it
)

func (r DownReason) String() string {
	switch r {
	case DownGoodbye:
		return "goodbye"
	case DownDead:
		return "dead"
	case DownReplaced:
		return "replaced"
	case DownAgreement:
		return "no longer agreed"
	case DownLocal:
		return "closed here"
	case DownDenied:
		return "denied by a rule"
	}
	return fmt.Sprintf("reason %d", uint32(r))
}
