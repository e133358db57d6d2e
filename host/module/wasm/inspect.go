package wasm

import "fmt"

// Inspection is what can be told of a binary without running it.
type Inspection struct {
	Imports   []string // "wasi_snapshot_preview1.fd_write"
	Exports   []string // functions, memories, tables and globals by name
	MemoryMin uint64   // bytes of linear memory it starts with
	MemoryMax uint64   // bytes it may grow to by itself; 0: as far as it is allowed
	Functions int
	Start     bool // it has a start section
	// Refused says why the carrier would not run it, "" if it would. The text
	// completes "the module ...".
	Refused string
}

// Inspect reads a binary as Open would, with so many bytes of memory granted, and
// runs nothing of it. What it cannot parse it says in Refused.
func Inspect(bin []byte, memory uint64) *Inspection {
	in := &Inspection{}
	m, err := parse(bin)
	if err != nil {
		in.Refused = err.Error()
		return in
	}
	for _, f := range m.imports {
		in.Imports = append(in.Imports, wasiModule+"."+f.name)
	}
	for _, e := range m.exports {
		in.Exports = append(in.Exports, e.name)
	}
	in.MemoryMin, in.Functions = uint64(m.memMin)*pageSize, len(m.funcs)
	if m.memHasMax {
		in.MemoryMax = uint64(m.memMax) * pageSize
	}
	for _, s := range m.sections {
		in.Start = in.Start || s.id == secStart
	}
	pages := uint32(min(memory/pageSize, 1<<16))
	if _, _, err := Rewrite(bin, Options{MemoryPages: pages, InitFuel: startFuel, StackBytes: stackBytes}); err != nil {
		in.Refused = fmt.Sprint(err)
	}
	return in
}
