package wasm

// frame estimate of a function, in bytes of native stack (W5.2): return address,
// saved registers and spill area, one slot a local, and a share for temporaries.
const (
	frameBase  = 96
	frameLocal = 8
)

// emit appends size and bytes of the metered body. whole is the function that
// a direct body falls back on.
func (f *meter) emit(out []byte, fn bodyParts, whole uint32) []byte {
	body := fn.body
	count64, count32 := fn.locals, fn.locals+1 // the two scratch locals
	frame := int64(frameBase) + frameLocal*int64(fn.locals) + int64(len(body)-fn.code)/16
	b := f.buf[:0]
	b = append(append(appendU32(b, fn.groups+2), fn.decls...), 1, valI64[0], 1, valI32[0])
	if f.calls {
		b = appendStackEntry(b, f.stack, count32, frame)
		b = append(b, opBlock)
		b = appendS64(b, f.types.blockOf(fn.typ))
	}
	if f.direct {
		b = f.appendGuard(b, whole)
	}
	p := fn.code
	for _, c := range f.patches {
		b = append(b, body[p:c.at]...)
		p = c.at
		switch c.kind {
		case patchCharge:
			if s := &f.segments[c.arg]; !s.pooled && s.cost > 0 {
				f.charges++
				b = appendCharge(b, f.fuel, count64, int64(s.cost))
			}
		case patchBulk:
			b = appendBulkCharge(b, f.fuel, count64, count32, c.arg)
		case patchReturn:
			if f.calls {
				b = appendU32(append(b, opBr), c.arg)
				p = c.end
			}
		case patchJump:
			b = appendU32(append(b, opBr), c.arg)
			p = c.end
		case patchTable:
			b = f.disp.appendTable(b, int(c.arg))
			p = c.end
		}
	}
	b = append(b, body[p:]...)
	if f.calls {
		b = appendStackExit(b, f.stack, frame)
	}
	f.buf = b
	return append(appendU32(out, uint32(len(b))), b...)
}

// appendCharge: fuel -= n; if fuel < 0 { unreachable }. Neutral to the operand
// stack, so it can stand anywhere.
func appendCharge(b []byte, fuel, scratch uint32, n int64) []byte {
	b = appendU32(append(b, opGlobalGet), fuel)
	b = appendS64(append(b, opI64Const), n)
	return appendSettle(b, fuel, scratch)
}

// appendBulkCharge charges the length on top of the operand stack, shifted right,
// and leaves it there.
func appendBulkCharge(b []byte, fuel, scratch64, scratch32, shift uint32) []byte {
	b = appendU32(append(b, opLocalTee), scratch32)
	b = appendU32(append(b, opGlobalGet), fuel)
	b = appendU32(append(b, opLocalGet), scratch32)
	b = append(b, opI64ExtendU, opI64Const, byte(shift), opI64ShrU)
	return appendSettle(b, fuel, scratch64)
}

func appendSettle(b []byte, fuel, scratch uint32) []byte {
	b = append(b, opI64Sub, opLocalTee)
	b = appendU32(b, scratch)
	b = appendU32(append(b, opGlobalSet), fuel)
	b = appendU32(append(b, opLocalGet), scratch)
	return append(b, opI64Const, 0, opI64LtS, opIf, blockEmpty, opUnreachable, opEnd)
}

func appendStackEntry(b []byte, stack, scratch uint32, frame int64) []byte {
	b = appendU32(append(b, opGlobalGet), stack)
	b = appendS64(append(b, opI32Const), frame)
	b = append(b, opI32Sub, opLocalTee)
	b = appendU32(b, scratch)
	b = appendU32(append(b, opGlobalSet), stack)
	b = appendU32(append(b, opLocalGet), scratch)
	return append(b, opI32Const, 0, opI32LtS, opIf, blockEmpty, opUnreachable, opEnd)
}

func appendStackExit(b []byte, stack uint32, frame int64) []byte {
	b = appendU32(append(b, opGlobalGet), stack)
	b = appendS64(append(b, opI32Const), frame)
	b = append(b, opI32Add)
	b = appendU32(append(b, opGlobalSet), stack)
	return append(b, opEnd)
}

// typeTable appends block types for functions of several results behind the
// types of the binary, so that nothing is renumbered.
type typeTable struct {
	known int
	extra []string // results
}

func (t *typeTable) blockOf(f funcType) int64 {
	switch len(f.results) {
	case 0:
		return blockEmpty - 0x80 // one signed byte
	case 1:
		return int64(f.results[0]) - 0x80
	}
	for i, r := range t.extra {
		if r == string(f.results) {
			return int64(t.known + i)
		}
	}
	t.extra = append(t.extra, string(f.results))
	return int64(t.known + len(t.extra) - 1)
}
