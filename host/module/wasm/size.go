package wasm

import "nethost/host/module"

var _ module.Sizer = (*instance)(nil)

// Memory is the linear memory of the guest, in bytes.
func (i *instance) Memory() uint64 { return uint64(i.mem.Size()) }
