// Holds nethost.ts to the golden vectors of ABI 1: says what it read of an event, and
// writes the golden effects when a message asks for them. For tests alone.
import { Class, Code, Env, Event, Kind, LogLevel, Module, Open, PeerInfo, Start, StateEntry, bytes, serve, tags, text } from "./nethost";
export { nethost_abi_1, nethost_buffer, nethost_handle } from "./nethost";

function hex(b: Uint8Array): string {
  let s = "";
  for (let i = 0; i < b.length; i++) s += (b[i] < 16 ? "0" : "") + b[i].toString(16);
  return s;
}

function describe(env: Env, ev: Event): string {
  const s = `kind=${ev.kind} flags=${ev.flags} peer=${ev.peer} id=${ev.id} version=${ev.major}.${ev.minor} ref=${ev.ref} arg=${ev.arg}`;
  if (ev.kind == Kind.State) {
    const e = StateEntry.parse(ev.data)!;
    return s + ` key=${text(e.key)} value=${text(e.value)}`;
  }
  if (ev.kind == Kind.Config) {
    const all = tags(ev.data)!, pairs = new Array<string>();
    for (let i = 0; i < all.length; i += 2) pairs.push(all[i] + ":" + all[i + 1]);
    return s + " pairs=" + pairs.join(",");
  }
  if (ev.kind == Kind.Start) {
    const p = Start.parse(ev.data)!;
    return s + ` reason=${p.reason} self=${hex(p.self)} memory=${p.memoryLimit} state=${p.stateLimit} previous=${p.previous}` +
      ` entropy=${hex(p.entropy)} secret=${hex(p.secret)} grants=${p.grants.join(",")}`;
  }
  if (ev.kind == Kind.PeerUp || ev.kind == Kind.PeerUpdate) {
    const p = PeerInfo.parse(ev.data)!;
    return s + ` node=${hex(p.node)} rtt=${p.rtt} mtu=${p.mtu}`;
  }
  if (ev.kind == Kind.StreamOpen) {
    const o = Open.parse(ev.data)!;
    return s + ` from=${o.from} hops=${o.hops} deadline=${o.deadline} principal=${hex(o.principal)} method=${o.method} meta=${hex(o.meta)}`;
  }
  if (ev.kind == Kind.AnnounceChanged) return s + " tags=" + tags(ev.data)!.join(",");
  return s + " data=" + hex(ev.data);
}

function effects(env: Env): void {
  const node = new Uint8Array(32), signature = new Uint8Array(64);
  node[0] = 0xaa;
  node[31] = 0xbb;
  signature[0] = 1;
  signature[63] = 2;
  const none = new Uint8Array(0), add = new Open("add"), find = new Open("find");
  add.deadline = 1000000000;
  find.hops = 1;
  env.send(7, 0x1001, Class.Realtime, bytes("message"));
  env.send(7, 0x1001, Class.Bulk, none);
  env.sendMany(0x1001, Class.Bulk, [7, 8], bytes("to many"));
  env.connect(env.newRef(), node);
  env.openPeer(7, 0x1001, add);
  env.openModule(0x0c00, find);
  env.write(3, bytes("12345678"), false);
  env.write(3, none, true);
  env.credit(3, 1000);
  env.reset(5, Code.Overloaded, "later");
  env.after(1, 50000000);
  env.after(1, 1);
  env.cancelTimer(1);
  env.put(bytes("key"), bytes("value"));
  env.delete(bytes("key"));
  env.commit(7);
  env.post(9, bytes("note"));
  env.announce(["telemetry:cpu"]);
  env.sign(11, bytes("statement"));
  env.verify(13, node, signature, bytes("statement"));
  env.log(LogLevel.Warn, "careful");
  env.counter("packets", 3);
  env.penalize(7, 10, "rude");
  env.drained();
}

class Golden extends Module {
  handle(env: Env, ev: Event): void {
    if (ev.kind == Kind.Message && text(ev.data) == "effects") effects(env);
    else if (ev.kind == Kind.Message && text(ev.data) == "hold") {
      env.trySend(15, 7, 0x1001, Class.Bulk, 0, bytes("if there is room"));
      env.sendWithin(20000000, 7, 0x1001, Class.Realtime, bytes("now or never"));
    } else if (ev.kind != Kind.Flush) env.log(LogLevel.Info, describe(env, ev));
    else if (env.wall != 0) env.log(LogLevel.Info, `now=${env.now} wall=${env.wall}`);
  }
}

serve(new Golden());
