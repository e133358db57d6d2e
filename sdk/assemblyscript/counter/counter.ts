// counter, subprotocol 0x1001: a number that peers and applications add to, kept across
// restarts. The same module as subprotocols/wasm/counter.
//
// Every call is one stream: open with a method, data, FIN; the answer is a decimal
// number. "get" (or no method) answers the value, "add" adds the number in the data,
// "messages" answers how many messages arrived.
import { Code, Env, Event, Kind, LogLevel, Module, Open, Start, StateEntry, bytes, serve, text } from "./nethost";
export { nethost_abi_1, nethost_buffer, nethost_handle } from "./nethost";

// A signed 64-bit number has at most 20 characters, and people put a newline behind it.
const maxArgument = 32;
const maxCalls = 4096;

class Call {
  data: Array<u8> = [];
  constructor(public method: string) {}
}

class Number64 {
  constructor(public value: i64) {}
}

// Reads a decimal number of 64 bits; null: it is none.
function parse(data: Array<u8>): Number64 | null {
  let end = data.length, i = 0;
  while (end > 0 && (data[end - 1] == 10 || data[end - 1] == 13)) end--;
  const minus = end > 0 && data[0] == 45;
  if (end > 0 && (minus || data[0] == 43)) i = 1;
  if (i == end) return null;
  let n: i64 = 0; // kept negative: there is one negative number more
  for (; i < end; i++) {
    const digit = <i64>data[i] - 48;
    if (digit < 0 || digit > 9 || n < (i64.MIN_VALUE + digit) / 10) return null;
    n = n * 10 - digit;
  }
  if (minus) return new Number64(n);
  return n == i64.MIN_VALUE ? null : new Number64(-n);
}

function array(b: Uint8Array): Array<u8> {
  const out = new Array<u8>(b.length);
  for (let i = 0; i < b.length; i++) out[i] = b[i];
  return out;
}

class Counter extends Module {
  value: i64 = 0;
  messages: i64 = 0;
  changed: bool = false; // since the last put
  kept: bool = false; // the grant state is held
  calls: Map<u64, Call> = new Map();

  handle(env: Env, ev: Event): void {
    if (ev.kind == Kind.State) this.restore(env, ev.data);
    else if (ev.kind == Kind.Start) {
      const s = Start.parse(ev.data);
      this.kept = s !== null && s.stateLimit > 0;
    } else if (ev.kind == Kind.Message) {
      this.messages++;
      this.changed = true;
      env.counter("messages", 1);
    } else if (ev.kind == Kind.StreamOpen) this.open(env, ev);
    else if (ev.kind == Kind.StreamData) this.data(env, ev);
    else if (ev.kind == Kind.StreamReset) this.calls.delete(ev.ref);
    else if (ev.kind == Kind.Drain) env.drained();
    else if (ev.kind == Kind.Flush) {
      if (this.kept && this.changed) {
        env.put(bytes("value"), bytes(this.value.toString()));
        env.put(bytes("messages"), bytes(this.messages.toString()));
      }
      this.changed = false;
    }
  }

  restore(env: Env, entry: Uint8Array): void {
    const e = StateEntry.parse(entry);
    let n: Number64 | null = null;
    if (e !== null) n = parse(array(e.value));
    if (e === null || n === null) env.log(LogLevel.Warn, "a state entry is not a number: starting it from 0");
    else if (text(e.key) == "value") this.value = n.value;
    else if (text(e.key) == "messages") this.messages = n.value;
  }

  open(env: Env, ev: Event): void {
    const o = Open.parse(ev.data);
    if (o === null) env.reset(ev.ref, Code.InvalidArgument, "malformed open");
    else if (o.method != "" && o.method != "get" && o.method != "add" && o.method != "messages")
      env.reset(ev.ref, Code.Unimplemented, "counter has the methods get, add and messages");
    else if (this.calls.size == maxCalls) env.reset(ev.ref, Code.Overloaded, "too many calls at once: try again later");
    else this.calls.set(ev.ref, new Call(o.method));
  }

  data(env: Env, ev: Event): void {
    if (!this.calls.has(ev.ref)) return;
    const call = this.calls.get(ev.ref);
    if (call.data.length + ev.data.length > maxArgument) {
      this.refuse(env, ev.ref, "more than 32 bytes of data: want one decimal number");
      return;
    }
    for (let i = 0; i < ev.data.length; i++) call.data.push(ev.data[i]);
    if (!ev.fin) return;
    if (call.method == "add") {
      const n = parse(call.data);
      if (n === null) {
        this.refuse(env, ev.ref, "not a decimal number of 64 bits");
        return;
      }
      const sum = this.value + n.value; // wraps
      if ((n.value > 0 && sum < this.value) || (n.value < 0 && sum > this.value)) {
        this.refuse(env, ev.ref, "the sum does not fit 64 bits");
        return;
      }
      this.value = sum;
      this.changed = true;
    }
    this.calls.delete(ev.ref);
    env.write(ev.ref, bytes((call.method == "messages" ? this.messages : this.value).toString()), true);
  }

  refuse(env: Env, ref: u64, why: string): void {
    this.calls.delete(ref);
    env.reset(ref, Code.InvalidArgument, why);
  }
}

serve(new Counter());
