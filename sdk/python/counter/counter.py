#!/usr/bin/env python3
"""counter, subprotocol 0x1001: a number that peers and applications add to, kept across
restarts. The same module as subprotocols/wasm/counter.

Every call is one stream: open with a method, data, FIN; the answer is a decimal number.
"get" (or no method) answers the value, "add" adds the number in the data, "messages"
answers how many messages arrived."""
import os
import re
import sys

sys.path.insert(0, os.environ.get("NETHOST_MODULE_DIR", "."))
import nethost
from nethost import Code, Kind, LogLevel

MAX_ARGUMENT = 32  # a signed 64-bit number has at most 20 characters, and people put a newline behind it
NUMBER = re.compile(rb"[+-]?[0-9]+[\r\n]*\Z")


def number(b):
    """The number, or None when there is none of 64 bits."""
    if not NUMBER.match(b):
        return None
    n = int(b)
    return n if -(1 << 63) <= n < 1 << 63 else None


class Counter(nethost.Module):
    name, release, methods = "counter-python", "1.0.0", ["get", "add", "messages"]
    subprotocols = [nethost.Subprotocol(0xF104, "1.0")]

    def __init__(self):
        self.value = self.messages = 0
        self.changed = False  # since the last put
        self.kept = False  # the grant state is held
        self.calls = {}  # ref: (method, data)

    def handle(self, env, ev):
        if ev.kind == Kind.STATE:
            self.restore(env, *nethost.parse_state(ev.data))
        elif ev.kind == Kind.START:
            self.kept = nethost.parse_start(ev.data).state_limit > 0
        elif ev.kind == Kind.MESSAGE:
            self.messages += 1
            self.changed = True
            env.count("messages")
        elif ev.kind == Kind.STREAM_OPEN:
            method = nethost.parse_open(ev.data).method or "get"
            if method in self.methods:
                self.calls[ev.ref] = (method, bytearray())
            else:
                env.reset(ev.ref, Code.UNIMPLEMENTED, "counter has the methods get, add and messages")
        elif ev.kind == Kind.STREAM_DATA and ev.ref in self.calls:
            self.data(env, ev)
        elif ev.kind == Kind.STREAM_RESET:
            self.calls.pop(ev.ref, None)
        elif ev.kind == Kind.DRAIN:
            env.drained()
        elif ev.kind == Kind.FLUSH:
            if self.kept and self.changed:
                env.put(b"value", b"%d" % self.value)
                env.put(b"messages", b"%d" % self.messages)
            self.changed = False

    def restore(self, env, key, value):
        n = number(value)
        if n is None:
            env.log(LogLevel.WARN, f"state entry {key!r} is not a number: starting it from 0")
        elif key == b"value":
            self.value = n
        elif key == b"messages":
            self.messages = n

    def data(self, env, ev):
        method, data = self.calls[ev.ref]
        data += ev.data
        if len(data) > MAX_ARGUMENT:
            return self.refuse(env, ev.ref, f"more than {MAX_ARGUMENT} bytes of data: want one decimal number")
        if not ev.fin:
            return
        if method == "add":
            n = number(data)
            if n is None:
                return self.refuse(env, ev.ref, f"{bytes(data)!r} is not a decimal number of 64 bits")
            if not -(1 << 63) <= self.value + n < 1 << 63:
                return self.refuse(env, ev.ref, f"{self.value} + {n} does not fit 64 bits")
            self.value += n
            self.changed = True
        del self.calls[ev.ref]
        env.write(ev.ref, b"%d" % (self.messages if method == "messages" else self.value), fin=True)

    def refuse(self, env, ref, why):
        del self.calls[ref]
        env.reset(ref, Code.INVALID_ARGUMENT, why)


if __name__ == "__main__":
    nethost.serve(Counter())
