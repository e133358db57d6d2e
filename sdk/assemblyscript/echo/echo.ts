// echo, subprotocol 0x0007: whatever arrives goes back. The same module as
// subprotocols/builtin/echo, whose README has the clauses.
import { Class, Env, Event, Kind, Module, serve } from "./nethost";
export { nethost_abi_1, nethost_buffer, nethost_handle } from "./nethost";

// What one batch writes from held bytes, so that its effects stay under the limit
// however many streams get credit at once (E6).
const drainBudget: i32 = 512 << 10;

class Stream {
  held: Uint8Array = new Uint8Array(0); // arrived, not yet written: at most the credit we gave
  size: i32 = 0; // of held
  fin: bool = false; // the far end ended its side
  queued: bool = false;
  done: bool = false;
  constructor(public ref: u64, public credit: u64) {}

  hold(b: Uint8Array): void {
    if (this.size + b.length > this.held.length) {
      const larger = new Uint8Array(max(this.size + b.length, 2 * this.held.length));
      larger.set(this.held.subarray(0, this.size));
      this.held = larger;
    }
    this.held.set(b, this.size);
    this.size += b.length;
  }

  forget(n: i32): void {
    this.held.copyWithin(0, n, this.size);
    this.size -= n;
  }
}

class Echo extends Module {
  streams: Map<u64, Stream> = new Map();
  ready: Array<Stream> = []; // hold bytes and got credit; in order of arrival
  draining: bool = false;

  handle(env: Env, ev: Event): void {
    if (ev.kind == Kind.Message) {
      env.send(ev.peer, ev.id, Class.Realtime, ev.data);
    } else if (ev.kind == Kind.StreamOpen) {
      this.streams.set(ev.ref, new Stream(ev.ref, ev.arg));
    } else if (ev.kind == Kind.Drain) {
      this.draining = true;
    } else if (ev.kind == Kind.Flush) {
      if (this.draining || this.ready.length > 0) this.drain(env);
    } else if (this.streams.has(ev.ref)) {
      this.stream(env, ev, this.streams.get(ev.ref));
    }
  }

  stream(env: Env, ev: Event, s: Stream): void {
    if (ev.kind == Kind.StreamData) {
      s.fin = ev.fin;
      const n = s.size == 0 ? this.put(env, s, ev.data, ev.data.length) : 0;
      if (!s.done) s.hold(ev.data.subarray(n));
    } else if (ev.kind == Kind.StreamCredit) {
      s.credit += ev.arg;
      if (s.size > 0 && !s.queued) {
        s.queued = true;
        this.ready.push(s);
      }
    } else if (ev.kind == Kind.StreamReset) {
      this.end(s);
    }
  }

  // Writes what credit and limit allow of b, which is all there is to write, and gives
  // as much credit back (E3, E4, E5). Returns how much that was.
  put(env: Env, s: Stream, b: Uint8Array, limit: i32): i32 {
    const n = <i32>min<u64>(min(b.length, limit), s.credit);
    const fin = s.fin && n == b.length;
    if (n > 0 || fin) {
      env.write(s.ref, b.subarray(0, n), fin);
      s.credit -= n;
    }
    if (fin) this.end(s);
    else if (n > 0 && !s.fin) env.credit(s.ref, n);
    return n;
  }

  drain(env: Env): void {
    let left = drainBudget, over = 0;
    while (over < this.ready.length && left > 0) {
      const s = this.ready[over];
      if (!s.done) {
        const n = this.put(env, s, s.held.subarray(0, s.size), left);
        s.forget(n);
        left -= n;
      }
      if (s.done || s.size == 0 || s.credit == 0) {
        s.queued = false;
        over++;
      }
    }
    this.ready = this.ready.slice(over);
    if (this.ready.length > 0) {
      env.post(env.newRef(), new Uint8Array(0));
    } else if (this.draining && this.streams.size == 0) {
      this.draining = false;
      env.drained();
    }
  }

  end(s: Stream): void {
    s.done = true;
    this.streams.delete(s.ref);
  }
}

serve(new Echo());
