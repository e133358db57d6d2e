package process

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"sync/atomic"

	"nethost/sdk/plugin"
)

// maxNoise bounds the line that is waited for, in bytes.
const maxNoise = 64 << 10

// handshakeReader lets go-plugin see the one line of stdout that is its handshake.
// What is printed before it, by an interpreter or a library, and after it, goes to
// the log.
type handshakeReader struct {
	r     io.ReadCloser
	noise io.Writer
	past  bool
	buf   []byte       // read and not yet known to be a whole line
	ready []byte       // for go-plugin
	said  atomic.Int64 // the version of the launch protocol in the handshake; 0: none yet
}

// Read implements io.Reader.
func (h *handshakeReader) Read(b []byte) (int, error) {
	for {
		if len(h.ready) > 0 {
			n := copy(b, h.ready)
			h.ready = h.ready[n:]
			return n, nil
		}
		chunk := make([]byte, 4096)
		n, err := h.r.Read(chunk)
		if h.past {
			h.noise.Write(chunk[:n])
		} else {
			h.buf = append(h.buf, chunk[:n]...)
			h.lines()
		}
		if err != nil && len(h.ready) == 0 {
			h.noise.Write(h.buf)
			h.buf = nil
			return 0, err
		}
	}
}

// lines looks through what was read.
func (h *handshakeReader) lines() {
	for !h.past {
		i := bytes.IndexByte(h.buf, '\n')
		if i < 0 {
			if len(h.buf) > maxNoise {
				h.noise.Write(h.buf)
				h.buf = h.buf[:0]
			}
			return
		}
		line := h.buf[:i+1]
		if v, ok := launchVersion(line); ok {
			h.said.Store(v)
			h.ready, h.past = bytes.Clone(line), true
		} else {
			h.noise.Write(line)
		}
		h.buf = h.buf[i+1:]
	}
	h.noise.Write(h.buf)
	h.buf = nil
}

// launchVersion reads the version of the launch protocol from a handshake: go-plugin's
// own version, ours, network, address, "grpc", and more, divided by "|".
func launchVersion(line []byte) (int64, bool) {
	parts := bytes.SplitN(bytes.TrimSpace(line), []byte{'|'}, 6)
	if len(parts) < 5 {
		return 0, false
	}
	_, err := strconv.ParseUint(string(parts[0]), 10, 31)
	v, verr := strconv.ParseUint(string(parts[1]), 10, 31)
	return int64(v), err == nil && verr == nil && v > 0
}

// mismatch explains a handshake of another version, nil when there was none.
func (h *handshakeReader) mismatch(artifact string) error {
	v := h.said.Load()
	switch {
	case v == 0 || v == plugin.ProtocolVersion:
		return nil
	case v > plugin.ProtocolVersion:
		return fmt.Errorf("%s speaks version %d of the launch protocol, this nethost speaks %d: update nethost, or build the module with an SDK of this release", artifact, v, plugin.ProtocolVersion)
	}
	return fmt.Errorf("%s speaks version %d of the launch protocol, this nethost speaks %d: build the module again with an SDK of this release", artifact, v, plugin.ProtocolVersion)
}

// Close implements io.Closer.
func (h *handshakeReader) Close() error { return h.r.Close() }
