package wasm

import "fmt"

// Opcodes the meter looks at. All others are told apart by their immediates only.
const (
	opUnreachable  = 0x00
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opDrop         = 0x1a
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF32Const     = 0x43
	opF64Const     = 0x44
	opI32Eq        = 0x46
	opI32LtS       = 0x48
	opI64LtS       = 0x53
	opI32Add       = 0x6a
	opI32Sub       = 0x6b
	opI64Sub       = 0x7d
	opI64ShrU      = 0x88
	opI64ExtendU   = 0xad
	opRefNull      = 0xd0
	opRefFunc      = 0xd2
	prefixBulk     = 0xfc
	prefixSIMD     = 0xfd
	blockEmpty     = 0x40
)

// Sub-opcodes behind prefixBulk.
const (
	bulkMemoryInit = 8
	bulkDataDrop   = 9
	bulkMemoryCopy = 10
	bulkMemoryFill = 11
	bulkTableInit  = 12
	bulkElemDrop   = 13
	bulkTableCopy  = 14
	bulkTableGrow  = 15
	bulkTableSize  = 16
	bulkTableFill  = 17
)

const opTableSet = 0x26

// instr is one decoded instruction: what the meter needs of it.
type instr struct {
	op  byte
	sub uint32 // sub-opcode behind a prefix
	idx uint32 // label, local, global or type index; value of i32.const
	// labels of br_table, its default last; valid until the next decode.
	labels []uint32
	block  int64 // block type of block, loop and if
}

// next decodes one instruction into in. W2.2: what it does not know, it refuses.
func (r *reader) next(in *instr) {
	*in = instr{op: r.byte(), labels: in.labels[:0]}
	switch op := in.op; {
	case op == opBlock || op == opLoop || op == opIf:
		in.block = r.signed(33)
	case op == opBr || op == opBrIf || op >= opLocalGet && op <= opGlobalSet || op == opCall:
		in.idx = r.u32()
	case op == opBrTable:
		for n := r.count(); n > 0 && r.err == nil; n-- {
			in.labels = append(in.labels, r.u32())
		}
		in.labels = append(in.labels, r.u32())
	case op == opCallIndirect:
		in.idx = r.u32()
		r.u32()
	case op == 0x1c: // select with types
		for n := r.count(); n > 0 && r.err == nil; n-- {
			r.byte()
		}
	case op == 0x25 || op == opTableSet || op == opRefFunc:
		r.u32()
	case op >= 0x28 && op <= 0x3e: // loads and stores
		r.memarg()
	case op == 0x3f || op == opMemoryGrow:
		r.zero()
	case op == opI32Const:
		in.idx = uint32(r.signed(32))
	case op == opI64Const:
		r.signed(64)
	case op == opF32Const:
		r.take(4)
	case op == opF64Const:
		r.take(8)
	case op == opRefNull:
		r.byte()
	case op <= 0x01 || op == opElse || op == opEnd || op == opReturn || op == 0x1a || op == 0x1b,
		op >= 0x45 && op <= 0xc4, op == 0xd1:
		// no immediates
	case op == prefixBulk:
		r.nextBulk(in)
	case op == prefixSIMD:
		r.nextSIMD(in)
	default:
		r.unknown(fmt.Sprintf("0x%02x%s", op, proposalOf(op)))
	}
}

func (r *reader) nextBulk(in *instr) {
	in.sub = r.u32()
	switch in.sub {
	case 0, 1, 2, 3, 4, 5, 6, 7: // saturating truncation
	case bulkMemoryInit:
		r.u32()
		r.zero()
	case bulkMemoryCopy:
		r.zero()
		r.zero()
	case bulkMemoryFill:
		r.zero()
	case bulkTableInit, bulkTableCopy:
		r.u32()
		r.u32()
	case bulkDataDrop, bulkElemDrop, bulkTableGrow, bulkTableSize, bulkTableFill:
		r.u32()
	default:
		r.unknown(fmt.Sprintf("0xfc %d", in.sub))
	}
}

func (r *reader) nextSIMD(in *instr) {
	in.sub = r.u32()
	switch sub := in.sub; {
	case sub <= 11 || sub == 92 || sub == 93: // loads and stores
		r.memarg()
	case sub == 12 || sub == 13: // v128.const, i8x16.shuffle
		r.take(16)
	case sub >= 21 && sub <= 34: // lanes
		r.byte()
	case sub >= 84 && sub <= 91: // loads and stores of a lane
		r.memarg()
		r.byte()
	case sub > 255 || simdHoles[sub]:
		r.unknown(fmt.Sprintf("0xfd %d", sub))
	}
}

// simdHoles are the sub-opcodes of prefixSIMD that WebAssembly 2.0 leaves free
// (relaxed SIMD sits in some of them).
var simdHoles = [256]bool{154: true, 162: true, 165: true, 166: true, 175: true, 176: true, 178: true, 179: true,
	180: true, 187: true, 194: true, 197: true, 198: true, 207: true, 208: true, 210: true, 211: true, 212: true,
	226: true, 238: true}

func (r *reader) memarg() {
	if r.u32() > 31 { // the exponent of an alignment; larger values carry other proposals
		r.unknown("with a multi-memory argument")
	}
	r.u32()
}

func (r *reader) zero() {
	if r.byte() != 0 {
		r.unknown("with a second memory")
	}
}

func (r *reader) unknown(what string) {
	r.fail(fmt.Errorf("uses instruction %s, which this host does not know; build for WebAssembly 2.0 without further proposals", what))
}

func proposalOf(op byte) string {
	switch {
	case op >= 0x06 && op <= 0x0a || op == 0x18 || op == 0x19 || op == 0x1f:
		return " (exception handling)"
	case op == 0x12 || op == 0x13:
		return " (tail call)"
	case op == 0x14 || op == 0x15 || op >= 0xd3 && op <= 0xd6:
		return " (typed function references)"
	case op == 0xfb:
		return " (garbage collection)"
	case op == 0xfe:
		return " (threads)"
	}
	return ""
}

// Weights of instructions, in units of fuel (W4.5). One unit is about one simple
// ALU instruction; the carrier calibrates units to time when it starts.
const (
	weightCall     = 16 // covers a leaf function of at most freeLeaf units, which is not charged itself
	weightIndirect = 20
	weightEntry    = 4
	weightDivide   = 8
	weightMemory   = 2
	weightTable    = 3
	weightGrow     = 512 // leaves native code
	freeLeaf       = 12
	freeLocals     = 24 // parameters included: more, and the leaf pays for them itself
)

func (in *instr) weight() uint64 {
	switch op := in.op; {
	case op == 0x01 || op == opBlock || op == opElse || op == opEnd:
		return 0
	case op == opLoop:
		return 1
	case op == opCall:
		return weightCall
	case op == opCallIndirect:
		return weightIndirect
	case op == opBrTable || op == 0x25 || op == opTableSet:
		return weightTable
	case op >= 0x28 && op <= 0x3e:
		return weightMemory
	case op == opMemoryGrow:
		return weightGrow
	case op >= 0x6d && op <= 0x70, op >= 0x7f && op <= 0x82, // integer division
		op == 0x91, op == 0x95, op == 0x9f, op == 0xa3: // sqrt and division of floats
		return weightDivide
	case op == prefixBulk && in.sub >= bulkMemoryInit:
		return weightDivide
	case op == prefixSIMD:
		return weightMemory
	}
	return 1
}
