package sdk

import "encoding/binary"

// SignDomain stands in front of everything that a node signs for a module, so that
// no module's signature is one of the node itself.
const SignDomain = "nethost module sign v1"

// AppendSigned appends the bytes over which the effect Sign has the node's key sign
// msg: the domain, a zero byte, and then, each behind its length as u32 little
// endian, "publisher/module", the id as u16 little endian, and msg. publisher is
// empty for a module that nobody signed and for those of nethost itself, which hold
// core ids. Who
// checks such a signature gives these bytes to the effect Verify (ABI A4.8).
func AppendSigned(b []byte, publisher, module string, id ID, msg []byte) []byte {
	b = append(append(b, SignDomain...), 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(publisher)+1+len(module)))
	b = append(append(append(b, publisher...), '/'), module...)
	b = binary.LittleEndian.AppendUint32(b, 2)
	b = binary.LittleEndian.AppendUint16(b, uint16(id))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(msg)))
	return append(b, msg...)
}
