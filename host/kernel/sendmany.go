package kernel

import (
	"encoding/binary"

	"nethost/sdk"
)

// sendMany is one Send to each peer of a list: the message was written once. What
// happens to one does not change what happens to the others.
func (k *Kernel) sendMany(slot int, f *sdk.Effect) {
	list, msg, ok := sdk.CutSendMany(f.Payload)
	if !ok {
		return
	}
	one := *f
	one.Kind, one.Payload, one.Ref = sdk.OpSend, msg, 0
	for ; len(list) > 0; list = list[4:] {
		one.Peer = sdk.Peer(binary.LittleEndian.Uint32(list))
		k.send(slot, &one)
	}
}
