package wire

// The messages of a session under an invite (W8). They travel as core messages, and
// such a session has no others.
const (
	MsgInviteRequest = 14
	MsgInviteAnswer  = 15
)

// InviteStatus is what became of an invite.
type InviteStatus uint8

// The statuses.
const (
	InviteGranted InviteStatus = iota // the network key follows
	InviteExpired
	InviteUsed    // as often as it may be
	InviteRevoked // by its owner
	InviteFailed  // the inviter could not record the use
	numInviteStatus
)

// String gives the status in words.
func (s InviteStatus) String() string {
	if s < numInviteStatus {
		return [numInviteStatus]string{"granted", "expired", "used up", "revoked", "failed"}[s]
	}
	return "unknown"
}

// InviteAnswer is the inviter's answer to a request, which has no body.
type InviteAnswer struct {
	Status InviteStatus
	Key    [32]byte // with InviteGranted only
}

// AppendInviteRequest appends a request with its kind byte.
func AppendInviteRequest(b []byte) []byte { return append(b, MsgInviteRequest) }

// AppendInviteAnswer appends a with its kind byte.
func AppendInviteAnswer(b []byte, a InviteAnswer) []byte {
	b = append(b, MsgInviteAnswer, byte(a.Status))
	if a.Status == InviteGranted {
		b = append(b, a.Key[:]...)
	}
	return b
}

// ParseInviteAnswer reads the body of an answer.
func ParseInviteAnswer(body []byte) (a InviteAnswer, ok bool) {
	if len(body) == 0 || body[0] >= byte(numInviteStatus) {
		return a, false
	}
	a.Status = InviteStatus(body[0])
	if a.Status != InviteGranted {
		return a, len(body) == 1
	}
	if len(body) != 33 {
		return a, false
	}
	a.Key = [32]byte(body[1:])
	return a, a.Key != [32]byte{}
}
