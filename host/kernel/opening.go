package kernel

import (
	"encoding/binary"

	"nethost/host/stream"
	"nethost/sdk"
)

// opening is a stream whose open preamble has not arrived completely.
type opening struct {
	id    sdk.ID
	epoch uint8
	buf   []byte
	timer timer
}

// preamble collects the open of a peer's stream, then offers it to the module.
func (k *Kernel) preamble(p *peer, o *opening, ev *stream.Event) {
	o.buf = append(o.buf, ev.Data...)
	n := 0
	if len(o.buf) >= 2 {
		n = int(binary.LittleEndian.Uint16(o.buf))
	}
	if n > sdk.MaxOpen-2 || ev.FIN && len(o.buf) < 2+n {
		k.endOpening(p, ev.Stream)
		p.mux.Reset(ev.Stream, sdk.InvalidArgument, "malformed open")
		return
	}
	if len(o.buf) < 2+n {
		return
	}
	k.endOpening(p, ev.Stream)
	open, err := sdk.ParseOpen(o.buf[2 : 2+n])
	if err != nil {
		p.mux.Reset(ev.Stream, sdk.InvalidArgument, "malformed open")
		return
	}
	v, slot, ok := k.handler(p, o.id, o.epoch)
	if !ok {
		k.unsupported(p, o.id)
		p.mux.Reset(ev.Stream, sdk.UnsupportedID, "no module here answers to "+o.id.String())
		return
	}
	if d, why := k.rules.refuses(o.id); d != 0 {
		k.drop(d)
		p.mux.Reset(ev.Stream, sdk.PermissionDenied, k.refusal(o.id, why))
		return
	}
	if to, ok := k.rules.redirects(o.id); ok {
		k.redirect(p, o, ev, open, to)
		return
	}
	p.mux.Consumed(ev.Stream, uint64(2+n))
	open.From, open.Principal = sdk.FromPeer, p.id[:]
	pi, code := k.offer(end{kind: endPeer, peer: p, sid: ev.Stream}, slot, o.id, v, open)
	if pi == nil {
		p.mux.Reset(ev.Stream, code, "module "+k.moduleName(slot)+": "+code.String())
		return
	}
	if rest := o.buf[2+n:]; len(rest) > 0 || ev.FIN {
		k.write(pi, 0, rest, ev.FIN)
	}
}

// keep notes the pipe of a stream.
func (p *peer) keep(sid uint64, pi *pipe) {
	if p.streams == nil {
		p.streams = map[uint64]*pipe{}
	}
	p.streams[sid] = pi
}
