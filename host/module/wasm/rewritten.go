package wasm

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"

	"lukechampine.com/blake3"
)

// rewriterVersion names what Rewrite makes of a binary. It must change whenever
// that does: what an earlier build kept is not used then.
const rewriterVersion = 1

// rewriteCache keeps rewritten binaries in a directory that only the host can
// reach. A file is BLAKE3 of the rest, the length of the report, the report, the
// binary.
type rewriteCache struct{ dir string }

// keptReport is a Report as it is kept.
type keptReport struct {
	Report
	Imports []keptImport
}

type keptImport struct {
	Name            string
	Params, Results []byte
}

// rewrite is Rewrite of a binary whose digest is known, from the cache if it is
// there. A file that cannot be read or is damaged is made anew.
func (c rewriteCache) rewrite(bin []byte, digest [32]byte, o Options) ([]byte, *Report, error) {
	path := ""
	if c.dir != "" {
		path = filepath.Join(c.dir, cacheName(digest, o))
		if b, err := os.ReadFile(path); err == nil {
			if out, rep, ok := parseKept(b); ok {
				return out, rep, nil
			}
		}
	}
	out, rep, err := Rewrite(bin, o)
	if err == nil && path != "" {
		c.keep(path, out, rep)
	}
	return out, rep, err
}

func cacheName(digest [32]byte, o Options) string {
	b := binary.LittleEndian.AppendUint32(digest[:], rewriterVersion)
	b = binary.LittleEndian.AppendUint32(b, o.MemoryPages)
	b = binary.LittleEndian.AppendUint64(b, uint64(o.InitFuel))
	b = binary.LittleEndian.AppendUint32(b, uint32(o.StackBytes))
	sum := blake3.Sum256(b)
	return "rewritten-" + hex.EncodeToString(sum[:16])
}

// keep writes a file for the next start. Without it that start takes longer, which
// is all that a failure means.
func (c rewriteCache) keep(path string, out []byte, rep *Report) {
	k := keptReport{Report: *rep}
	for _, im := range rep.imports {
		k.Imports = append(k.Imports, keptImport{im.name, im.typ.params, im.typ.results})
	}
	text, err := json.Marshal(k)
	if err != nil {
		return
	}
	b := make([]byte, 32, 36+len(text)+len(out))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
	b = append(append(b, text...), out...)
	sum := blake3.Sum256(b[32:])
	copy(b, sum[:])
	f, err := os.CreateTemp(c.dir, "rewritten-*.tmp")
	if err != nil {
		return
	}
	_, werr := f.Write(b)
	if cerr := f.Close(); werr != nil || cerr != nil || os.Rename(f.Name(), path) != nil {
		_ = os.Remove(f.Name())
	}
}

func parseKept(b []byte) ([]byte, *Report, bool) {
	if len(b) < 36 || blake3.Sum256(b[32:]) != [32]byte(b) {
		return nil, nil, false
	}
	n := uint64(binary.LittleEndian.Uint32(b[32:]))
	if n > uint64(len(b)-36) {
		return nil, nil, false
	}
	var k keptReport
	if json.Unmarshal(b[36:36+n], &k) != nil {
		return nil, nil, false
	}
	for _, im := range k.Imports {
		k.imports = append(k.imports, importFunc{im.Name, funcType{im.Params, im.Results}})
	}
	return b[36+n:], &k.Report, true
}
