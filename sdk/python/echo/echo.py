#!/usr/bin/env python3
"""echo, subprotocol 0x0007: whatever arrives goes back. The same module as
subprotocols/builtin/echo, whose README has the clauses."""
import os
import sys
from collections import deque

sys.path.insert(0, os.environ.get("NETHOST_MODULE_DIR", "."))
import nethost
from nethost import Kind

# What one batch writes from held bytes, so that its effects stay under the limit
# however many streams get credit at once (E6).
DRAIN_BUDGET = 512 << 10


class Stream:
    def __init__(self, ref, credit):
        self.ref, self.credit = ref, credit  # credit: bytes the far end still takes
        self.held = bytearray()  # arrived, not yet written: at most the credit we gave
        self.fin = self.queued = self.done = False


class Echo(nethost.Module):
    name, release, methods = "echo-python", "1.0.0", ["echo"]
    subprotocols = [nethost.Subprotocol(0xF004, "1.0")]

    def __init__(self):
        self.streams = {}
        self.ready = deque()  # hold bytes and got credit; in order of arrival
        self.draining = False

    def handle(self, env, ev):
        s = self.streams.get(ev.ref)
        if ev.kind == Kind.MESSAGE:
            env.send(ev.peer, ev.id, ev.data)
        elif ev.kind == Kind.STREAM_OPEN:
            self.streams[ev.ref] = Stream(ev.ref, ev.arg)
        elif ev.kind == Kind.DRAIN:
            self.draining = True
        elif ev.kind == Kind.FLUSH:
            if self.draining or self.ready:
                self.drain(env)
        elif s is None:
            pass
        elif ev.kind == Kind.STREAM_DATA:
            s.fin = ev.fin
            n = 0 if s.held else self.put(env, s, ev.data, len(ev.data))
            s.held += ev.data[n:]
        elif ev.kind == Kind.STREAM_CREDIT:
            s.credit += ev.arg
            if s.held and not s.queued:
                s.queued = True
                self.ready.append(s)
        elif ev.kind == Kind.STREAM_RESET:
            self.end(s)

    def put(self, env, s, b, limit):
        """Writes what credit and limit allow of b, which is all there is to write, and
        gives as much credit back (E3, E4, E5). Returns how much that was."""
        n = min(len(b), limit, s.credit)
        fin = s.fin and n == len(b)
        if n or fin:
            env.write(s.ref, b[:n], fin)
            s.credit -= n
        if fin:
            self.end(s)
        elif n and not s.fin:
            env.credit(s.ref, n)
        return n

    def drain(self, env):
        left = DRAIN_BUDGET
        while self.ready and left > 0:
            s = self.ready[0]
            if not s.done:
                n = self.put(env, s, s.held, left)
                del s.held[:n]
                left -= n
            if s.done or not s.held or not s.credit:
                s.queued = False
                self.ready.popleft()
        if self.ready:
            env.post(env.new_ref())
        elif self.draining and not self.streams:
            self.draining = False
            env.drained()

    def end(self, s):
        s.done = True
        del self.streams[s.ref]


if __name__ == "__main__":
    nethost.serve(Echo())
