// A nethost module in AssemblyScript, compiled to WebAssembly.
//
//     import { Class, Env, Event, Kind, Module, serve } from "./nethost";
//     export { nethost_abi_1, nethost_buffer, nethost_handle } from "./nethost";
//
//     class Echo extends Module {
//       handle(env: Env, ev: Event): void {
//         if (ev.kind == Kind.Message) env.send(ev.peer, ev.id, Class.Realtime, ev.data);
//       }
//     }
//     serve(new Echo());
//
// A module gets one event at a time and writes what it wants done into Env; the host
// does that when the batch of events is over, and answers with later events. A batch
// ends with Kind.Flush. A module has no clock, thread, socket or file. What ev.data
// holds is valid until handle returns: slice() what is kept.
//
// The file keeps ABI 1 (sdk/abi/SPEC.md; the clauses are named where they are kept).
// Bytes that break it, and more than a batch may hold (1 MiB, 8192 effects), trap: the
// host throws the instance away and starts a fresh one.

/** What happened, with the fields that mean something (A3). Skip what you do not know. */
export namespace Kind {
  /** data: StateEntry.parse; one for each key, before Start */
  export const State: u16 = 1;
  /** data: tags, keys and values in turn; before Start */
  export const Config: u16 = 2;
  /** data: Start.parse */
  export const Start: u16 = 3;
  /** arg: nanoseconds left; answer env.drained() when nothing is pending */
  export const Drain: u16 = 4;
  export const Stop: u16 = 5;
  /** the last of every batch */
  export const Flush: u16 = 6;
  /** peer id major minor; data: PeerInfo.parse */
  export const PeerUp: u16 = 10;
  /** the same */
  export const PeerUpdate: u16 = 11;
  /** peer id; arg: DownReason */
  export const PeerDown: u16 = 12;
  /** ref; arg: code; data: text */
  export const ConnectFailed: u16 = 13;
  /** peer id major minor; data: the message */
  export const Message: u16 = 20;
  /** peer; arg: how many of our messages; data: class, reason */
  export const Dropped: u16 = 21;
  /** peer; arg: how many messages for us */
  export const Overload: u16 = 22;
  /** peer id */
  export const Unsupported: u16 = 23;
  /** ref peer id, bulk: a trySend was not taken */
  export const WouldBlock: u16 = 24;
  /** peer, bulk: the queue has room again */
  export const Writable: u16 = 25;
  /** ref peer id major minor; arg: bytes we may write; data: Open.parse */
  export const StreamOpen: u16 = 30;
  /** ref, fin; data */
  export const StreamData: u16 = 31;
  /** ref; arg: so many bytes more may be written */
  export const StreamCredit: u16 = 32;
  /** ref; arg: code; data: text */
  export const StreamReset: u16 = 33;
  /** ref */
  export const Timer: u16 = 40;
  /** ref; data */
  export const Posted: u16 = 41;
  /** ref */
  export const Committed: u16 = 42;
  /** ref; data: 64 bytes */
  export const Signed: u16 = 43;
  /** ref; arg: 1 or 0 */
  export const Verified: u16 = 44;
  /** id; data: tags */
  export const AnnounceChanged: u16 = 45;
  /** ref; arg: kind of the effect; data: the grant it wants */
  export const Denied: u16 = 46;
  /** arg: cost in us, FIN: no longer reachable; data: node id */
  export const Route: u16 = 47;
}

export enum Class { Realtime, Bulk }
export enum Origin { Peer = 1, App = 2, Module = 3 }
/** Why a peer went away: arg of PeerDown. Replaced: a new session follows; Denied: by a rule of one of the two operators. */
export enum DownReason { Goodbye = 1, Dead = 2, Replaced = 3, Agreement = 4, Local = 5, Denied = 6 }
export enum StartReason { Fresh = 1, Restart = 2, Upgrade = 3 }
export enum LogLevel { Debug = 0, Info = 4, Warn = 8, Error = 12 }

/** Why a stream was reset or a connection failed. */
export enum Code {
  Cancelled, Unimplemented, UnsupportedID, PermissionDenied, Overloaded, ModuleRestarted, Draining, DeadlineExceeded,
  PeerGone, NoRoute, FlowControl, InvalidArgument, NotFound, Internal, HandshakeFailed,
}

/** Limits of ABI 1 (A5), in bytes where nothing else is said. */
export namespace Limits {
  export const BatchEvents: u32 = 256;
  export const BatchBytes: u32 = 256 << 10;
  export const Effects: u32 = 8192;
  export const EffectBytes: u32 = 1 << 20;
  export const Message: i32 = 64 << 10;
  export const StreamData: i32 = 64 << 10;
  export const InitialCredit: u64 = 256 << 10;
  export const Open: i32 = 4 << 10;
  export const StateKey: i32 = 1 << 10;
  export const StateValue: i32 = 64 << 10;
  export const Log: i32 = 1 << 10;
  /** The shortest timer, in nanoseconds. */
  export const MinTimer: u64 = 1000000;
}

/** One thing that happened, flat, as in the ABI. */
export class Event {
  kind: u16 = 0;
  flags: u16 = 0;
  /** A session with a peer, until its PeerDown. */
  peer: u32 = 0;
  /** A subprotocol. */
  id: u16 = 0;
  major: u8 = 0;
  minor: u8 = 0;
  /** A stream, a timer or a question. Ours are odd, the host's even. */
  ref: u64 = 0;
  arg: u64 = 0;
  data: Uint8Array = new Uint8Array(0);

  /** The far end's side of the stream ends with these bytes. */
  get fin(): bool { return (this.flags & 1) != 0; }
}

/** Events in, effects out. */
export abstract class Module {
  abstract handle(env: Env, ev: Event): void;
}

/** UTF-8 of a text. */
export function bytes(text: string): Uint8Array {
  return Uint8Array.wrap(String.UTF8.encode(text));
}

/** Text of UTF-8. */
export function text(b: Uint8Array): string {
  return String.UTF8.decodeUnsafe(b.dataStart, b.byteLength);
}

// Reader takes a payload apart; ok turns false on the first thing that is not there.
class Reader {
  at: i32 = 0;
  ok: bool = true;
  constructor(public b: Uint8Array) {}

  get left(): i32 { return this.b.length - this.at; }

  take(n: i32): Uint8Array {
    if (!this.ok || n > this.left) {
      this.ok = false;
      return new Uint8Array(0);
    }
    this.at += n;
    return this.b.subarray(this.at - n, this.at);
  }

  take16(): Uint8Array {
    const n = this.take(2);
    return this.ok ? this.take(<i32>load<u16>(n.dataStart)) : n;
  }

  u8(): u8 {
    const b = this.take(1);
    return this.ok ? b[0] : 0;
  }

  u64(): u64 {
    const b = this.take(8);
    return this.ok ? load<u64>(b.dataStart) : 0;
  }
}

/** A list of short strings (A4.2); null: malformed. */
export function tags(b: Uint8Array): Array<string> | null {
  const r = new Reader(b), out = new Array<string>();
  while (r.ok && r.left > 0) out.push(text(r.take16()));
  return r.ok ? out : null;
}

/** Key and value of a State event (A4.1). */
export class StateEntry {
  constructor(public key: Uint8Array, public value: Uint8Array) {}
  /** null: malformed */
  static parse(b: Uint8Array): StateEntry | null {
    const r = new Reader(b), key = r.take16(), value = r.take(r.left);
    if (!r.ok || key.length == 0 || key.length > Limits.StateKey || value.length > Limits.StateValue) return null;
    return new StateEntry(key, value);
  }
}

/** A stream open: what was asked for, and by whom (A4.4). */
export class Open {
  from: u8 = 0;
  hops: u8 = 0;
  /** nanoseconds left, 0 none */
  deadline: i64 = 0;
  principal: Uint8Array = new Uint8Array(0);
  meta: Uint8Array = new Uint8Array(0);
  constructor(public method: string) {}
  /** null: malformed */
  static parse(b: Uint8Array): Open | null {
    if (b.length > Limits.Open) return null;
    const r = new Reader(b), o = new Open("");
    o.from = r.u8();
    o.hops = r.u8();
    o.deadline = <i64>r.u64();
    o.principal = r.take16();
    o.method = text(r.take16());
    o.meta = r.take16();
    return r.ok && r.left == 0 && o.deadline >= 0 ? o : null;
  }
}

/** The payload of Start (A4.3). */
export class Start {
  reason: u8 = 0;
  /** our node id, 32 bytes */
  self: Uint8Array = new Uint8Array(0);
  /** bytes */
  memoryLimit: u64 = 0;
  /** bytes; 0: not granted */
  stateLimit: u64 = 0;
  previous: string = "";
  entropy: Uint8Array = new Uint8Array(0);
  secret: Uint8Array = new Uint8Array(0);
  grants: Array<string> = [];
  /** null: malformed */
  static parse(b: Uint8Array): Start | null {
    const r = new Reader(b), s = new Start();
    s.reason = r.u8();
    s.self = r.take(32);
    s.memoryLimit = r.u64();
    s.stateLimit = r.u64();
    s.previous = text(r.take16());
    s.entropy = r.take16();
    s.secret = r.take16();
    const grants = tags(r.take(r.left));
    if (!r.ok || grants === null) return null;
    s.grants = grants;
    return s;
  }
}

/** The payload of PeerUp and PeerUpdate (A4.5). */
export class PeerInfo {
  /** 32 bytes */
  node: Uint8Array = new Uint8Array(0);
  /** nanoseconds, 0 not measured */
  rtt: i64 = 0;
  /** largest message that fits one packet, in bytes */
  mtu: u32 = 0;
  /** null: malformed */
  static parse(b: Uint8Array): PeerInfo | null {
    if (b.length != 44) return null;
    const p = new PeerInfo();
    p.node = b.subarray(0, 32);
    p.rtt = load<i64>(b.dataStart + 32);
    p.mtu = load<u32>(b.dataStart + 40);
    return p;
  }
}

const HEADER: u32 = 40;
const RECORD: u32 = 32;
const MAGIC: u64 = 0x3142484e; // "NHB1", minor 0, no flags

// One instance is one guest, so these belong to the file. The buffers stay where they are.
const input = new ArrayBuffer(Limits.BatchBytes); // 8-aligned (A6.2)
const output = new ArrayBuffer(Limits.EffectBytes);
const nothing = new Uint8Array(0);
let served: Module | null = null;

/** What a module writes its effects into. What is given to it is copied. */
export class Env {
  private size: u32 = HEADER;
  private count: u32 = 0;
  private last: u64 = 0;
  private full: Set<u64> = new Set<u64>(); // queues (A8.3)
  /** Monotonic nanoseconds; stands still during a batch. */
  now: i64 = 0;
  /** Unix nanoseconds, 0 without the grant wall. */
  wall: i64 = 0;

  /** A fresh odd reference. */
  newRef(): u64 { return this.last = this.last == 0 ? 1 : this.last + 2; }

  /** @internal */
  begin(now: i64, wall: i64): void {
    this.now = now;
    this.wall = wall;
    this.count = 0;
    this.size = HEADER;
  }

  /** @internal */
  finish(sequence: u64): u64 {
    if (this.count == 0) return 0;
    const p = changetype<usize>(output);
    store<u64>(p, MAGIC);
    store<u32>(p, this.count, 8);
    store<u32>(p, this.size, 12);
    store<u64>(p, sequence, 16); // A1.6
    store<u64>(p, 0, 24);
    store<u64>(p, 0, 32);
    return (<u64>p << 32) | this.size;
  }

  // Starts an effect whose payload has n bytes and returns where they go.
  private room(kind: u16, flags: u16, peer: u32, id: u16, ref: u64, arg: u64, n: i32): usize {
    assert(this.count < Limits.Effects && <u32>n <= Limits.EffectBytes, "more effects than a batch may hold");
    const end = this.size + RECORD + ((<u32>n + 7) & ~7);
    assert(end <= Limits.EffectBytes, "more effects than a batch may hold"); // A5.2
    const p = changetype<usize>(output) + this.size;
    store<u16>(p, kind);
    store<u16>(p, flags, 2);
    store<u32>(p, n, 4);
    store<u32>(p, peer, 8);
    store<u32>(p, id, 12);
    store<u64>(p, ref, 16);
    store<u64>(p, arg, 24);
    if (n & 7) store<u64>(changetype<usize>(output) + end - 8, 0); // A2.2
    this.size = end;
    this.count++;
    return p + RECORD;
  }

  private emit(kind: u16, flags: u16, peer: u32, id: u16, ref: u64, arg: u64, data: Uint8Array): void {
    copy(this.room(kind, flags, peer, id, ref, arg, data.length), data);
  }

  /** A message of at most 64 KiB. It may be lost. */
  send(peer: u32, id: u16, class_: Class, message: Uint8Array): void {
    this.emit(1, class_ == Class.Bulk ? 2 : 0, peer, id, 0, 0, message);
  }

  /**
   * send that holds back: false means that the host's queue to the peer is full and nothing
   * was written; Writable says when to try again. True is no promise: WouldBlock with ref says
   * that the message was not taken after all. ref 0 takes a fresh one; within is as in
   * sendWithin, 0 for none.
   */
  trySend(ref: u64, peer: u32, id: u16, class_: Class, within: u64, message: Uint8Array): bool {
    if (this.full.has(queue(peer, class_ == Class.Bulk))) return false;
    this.emit(1, class_ == Class.Bulk ? 2 : 0, peer, id, ref == 0 ? this.newRef() : ref, within, message);
    return true;
  }

  /** A message that is worth nothing when it has not left after so many nanoseconds. */
  sendWithin(within: u64, peer: u32, id: u16, class_: Class, message: Uint8Array): void {
    this.emit(1, class_ == Class.Bulk ? 2 : 0, peer, id, 0, within == 0 ? 1 : within, message);
  }

  /** @internal */
  backpressure(ev: Event): void {
    if (ev.kind == Kind.WouldBlock) this.full.add(queue(ev.peer, (ev.flags & 2) != 0));
    else if (ev.kind == Kind.Writable) this.full.delete(queue(ev.peer, (ev.flags & 2) != 0));
    else if (ev.kind == Kind.PeerDown) {
      this.full.delete(queue(ev.peer, false));
      this.full.delete(queue(ev.peer, true));
    }
  }

  /** One message to many peers. */
  sendMany(id: u16, class_: Class, peers: Array<u32>, message: Uint8Array): void {
    let p = this.room(2, class_ == Class.Bulk ? 2 : 0, 0, id, 0, 0, 4 + 4 * peers.length + message.length);
    store<u32>(p, peers.length);
    for (let i = 0; i < peers.length; i++) store<u32>(p += 4, peers[i]);
    copy(p + 4, message);
  }

  /** Asks for a session; the answer is PeerUp or ConnectFailed. node has 32 bytes. */
  connect(ref: u64, node: Uint8Array): void { this.emit(3, 0, 0, 0, ref, 0, node); }

  /** Opens a stream to a peer's module. */
  openPeer(peer: u32, id: u16, o: Open): u64 { return this.open(0, peer, id, o); }

  /** Opens a stream to a module of this node; needs the grant call. */
  openModule(id: u16, o: Open): u64 { return this.open(8, 0, id, o); }

  private open(flags: u16, peer: u32, id: u16, o: Open): u64 {
    const ref = this.newRef(), method = bytes(o.method);
    let p = this.room(10, flags, peer, id, ref, 0, 16 + o.principal.length + method.length + o.meta.length);
    store<u8>(p, o.from);
    store<u8>(p, o.hops, 1);
    store<i64>(p, o.deadline, 2);
    copy16(copy16(copy16(p + 10, o.principal), method), o.meta);
    return ref;
  }

  /** Writes stream bytes of any length; stay within the credit. fin ends our side. */
  write(ref: u64, data: Uint8Array, fin: bool): void {
    while (data.length > Limits.StreamData) {
      this.emit(11, 0, 0, 0, ref, 0, data.subarray(0, Limits.StreamData));
      data = data.subarray(Limits.StreamData);
    }
    this.emit(11, fin ? 1 : 0, 0, 0, ref, 0, data);
  }

  /** Says that so many bytes were consumed: when they are done with, not before. */
  credit(ref: u64, consumed: u64): void { this.emit(12, 0, 0, 0, ref, consumed, nothing); }

  /** Abandons a stream in both directions. */
  reset(ref: u64, code: Code, why: string): void { this.emit(13, 0, 0, 0, ref, code, bytes(why)); }

  /** Arms a timer, at least 1 ms; replaces an earlier one of that ref. */
  after(ref: u64, nanoseconds: u64): void { this.emit(20, 0, 0, 0, ref, max(nanoseconds, Limits.MinTimer), nothing); }

  cancelTimer(ref: u64): void { this.emit(20, 0, 0, 0, ref, 0, nothing); }

  /** Stores a state entry, committed with the batch; needs the grant state. */
  put(key: Uint8Array, value: Uint8Array): void {
    copy(copy16(this.room(21, 0, 0, 0, 0, 0, 2 + key.length + value.length), key), value);
  }

  delete(key: Uint8Array): void { this.emit(22, 0, 0, 0, 0, 0, key); }

  /** Answers Committed when this batch is on disk. */
  commit(ref: u64): void { this.emit(23, 0, 0, 0, ref, 0, nothing); }

  /** Comes back as Posted. */
  post(ref: u64, data: Uint8Array): void { this.emit(24, 0, 0, 0, ref, 0, data); }

  /** Replaces this module's capability tags. */
  announce(list: Array<string>): void {
    const all = list.map<Uint8Array>(t => bytes(t));
    let p = this.room(25, 0, 0, 0, 0, 0, all.reduce<i32>((n, t) => n + 2 + t.length, 0));
    for (let i = 0; i < all.length; i++) p = copy16(p, all[i]);
  }

  /** Answers Signed. */
  sign(ref: u64, data: Uint8Array): void { this.emit(26, 0, 0, 0, ref, 0, data); }

  /** Answers Verified. key has 32 bytes, signature 64. */
  verify(ref: u64, key: Uint8Array, signature: Uint8Array, data: Uint8Array): void {
    assert(key.length == 32 && signature.length == 64, "a key has 32 bytes and a signature 64");
    copy(copy(copy(this.room(27, 0, 0, 0, ref, 0, 96 + data.length), key), signature), data);
  }

  /** Writes one line to the module's log, cut at 1024 bytes. */
  log(level: LogLevel, line: string): void {
    const b = bytes(line);
    this.emit(28, 0, 0, 0, 0, level, b.length > Limits.Log ? b.subarray(0, Limits.Log) : b);
  }

  /** Adds to one of the module's own counters. */
  counter(name: string, delta: u64): void { this.emit(29, 0, 0, 0, 0, delta, bytes(name)); }

  /** Lowers the reputation of a peer. */
  penalize(peer: u32, weight: u32, reason: string): void { this.emit(30, 0, peer, 0, 0, weight, bytes(reason)); }

  /** Answers Drain: nothing is pending any more. */
  drained(): void { this.emit(31, 0, 0, 0, 0, 0, nothing); }
}

function queue(peer: u32, bulk: bool): u64 { return (<u64>peer << 1) | (bulk ? 1 : 0); }

function copy(to: usize, b: Uint8Array): usize {
  memory.copy(to, b.dataStart, b.length);
  return to + b.length;
}

function copy16(to: usize, b: Uint8Array): usize {
  assert(b.length <= 0xffff, "an element of a payload is longer than 65535 bytes");
  store<u16>(to, b.length);
  return copy(to + 2, b);
}

const env = new Env();

/** Makes m the module of this guest. Call it once, at the top level. */
export function serve(m: Module): void { served = m; }

/** The marker: which ABI this guest speaks (A6.1). */
export function nethost_abi_1(): void {}

/** Room for a batch (A6.2). */
export function nethost_buffer(n: u32): usize {
  assert(n <= Limits.BatchBytes, "the host asks for room above the limit of a batch");
  return changetype<usize>(input);
}

/** Handles a batch (A6.3). */
export function nethost_handle(b: usize, len: u32): u64 {
  assert(b == changetype<usize>(input) && len >= HEADER && len <= Limits.BatchBytes, "malformed batch");
  const count = load<u32>(b, 8);
  const minor: u64 = 0xffff << 32; // A1.2
  assert((load<u64>(b) & ~minor) == MAGIC && load<u32>(b, 12) == len && count <= Limits.BatchEvents, "malformed batch"); // A1, A5.1
  env.begin(load<i64>(b, 24), load<i64>(b, 32));
  let at = HEADER;
  for (let i: u32 = 0; i < count; i++) {
    assert(len - at >= RECORD, "malformed record"); // A2.3
    const r = b + at, n = load<u32>(r, 4), from = at + RECORD;
    assert(n <= len - from && ((n + 7) & ~7) <= len - from, "malformed record");
    at = from + ((n + 7) & ~7);
    for (let p = from + n; p < at; p++) assert(load<u8>(b + p) == 0, "malformed record"); // A2.2
    const ev = new Event();
    ev.kind = load<u16>(r);
    ev.flags = load<u16>(r, 2);
    ev.peer = load<u32>(r, 8);
    ev.id = load<u16>(r, 12);
    ev.major = load<u8>(r, 14);
    ev.minor = load<u8>(r, 15);
    ev.ref = load<u64>(r, 16);
    ev.arg = load<u64>(r, 24);
    ev.data = Uint8Array.wrap(input, from, n);
    env.backpressure(ev);
    served!.handle(env, ev);
  }
  assert(at == len, "malformed batch"); // A1.4
  return env.finish(load<u64>(b, 16));
}
