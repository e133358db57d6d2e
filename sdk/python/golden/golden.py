#!/usr/bin/env python3
"""Holds nethost.py to the golden vectors of ABI 1: says what it read of an event, and
writes the golden effects when a message asks for them. For tests alone."""
import os
import sys

sys.path.insert(0, os.environ.get("NETHOST_MODULE_DIR", "."))
import nethost
from nethost import Class, Code, Kind, LogLevel, Open


def describe(ev):
    s = f"kind={ev.kind} flags={ev.flags} peer={ev.peer} id={ev.id} version={ev.version[0]}.{ev.version[1]} ref={ev.ref} arg={ev.arg}"
    if ev.kind == Kind.STATE:
        key, value = nethost.parse_state(ev.data)
        return s + f" key={key.decode()} value={value.decode()}"
    if ev.kind == Kind.CONFIG:
        return s + " pairs=" + ",".join(f"{k}:{v}" for k, v in nethost.parse_pairs(ev.data).items())
    if ev.kind == Kind.START:
        p = nethost.parse_start(ev.data)
        return s + (f" reason={p.reason} self={p.node.hex()} memory={p.memory_limit} state={p.state_limit} previous={p.previous}"
                    f" entropy={p.entropy.hex()} secret={p.secret.hex()} grants={','.join(p.grants)}")
    if ev.kind in (Kind.PEER_UP, Kind.PEER_UPDATE):
        p = nethost.parse_peer(ev.data)
        return s + f" node={p.node.hex()} rtt={p.rtt} mtu={p.mtu}"
    if ev.kind == Kind.STREAM_OPEN:
        o = nethost.parse_open(ev.data)
        return s + f" from={o.origin} hops={o.hops} deadline={o.deadline} principal={o.principal.hex()} method={o.method} meta={o.meta.hex()}"
    if ev.kind == Kind.ANNOUNCE_CHANGED:
        return s + " tags=" + ",".join(nethost.parse_tags(ev.data))
    return s + " data=" + ev.data.hex()


def effects(env):
    node = b"\xaa" + bytes(30) + b"\xbb"
    env.send(7, 0x1001, b"message")
    env.send(7, 0x1001, b"", Class.BULK)
    env.send_many(0x1001, [7, 8], b"to many", Class.BULK)
    env.connect(env.new_ref(), node)
    env.open_peer(7, 0x1001, Open("add", deadline=1_000_000_000))
    env.open_module(0x0C00, Open("find", hops=1))
    env.write(3, b"12345678")
    env.write(3, b"", fin=True)
    env.credit(3, 1000)
    env.reset(5, Code.OVERLOADED, "later")
    env.after(1, 50_000_000)
    env.after(1, 1)
    env.cancel_timer(1)
    env.put(b"key", b"value")
    env.delete(b"key")
    env.commit(7)
    env.post(9, b"note")
    env.announce(["telemetry:cpu"])
    env.sign(11, b"statement")
    env.verify(13, node, b"\x01" + bytes(62) + b"\x02", b"statement")
    env.log(LogLevel.WARN, "careful")
    env.count("packets", 3)
    env.penalize(7, 10, "rude")
    env.drained()


class Golden(nethost.Module):
    name, release = "golden-python", "1.0.0"
    subprotocols = [nethost.Subprotocol(0xF114, "1.0")]

    def handle(self, env, ev):
        if ev.kind == Kind.MESSAGE and ev.data == b"effects":
            effects(env)
        elif ev.kind == Kind.MESSAGE and ev.data == b"hold":
            env.try_send(15, 7, 0x1001, b"if there is room", nethost.Class.BULK)
            env.send_within(20_000_000, 7, 0x1001, b"now or never")
        elif ev.kind != Kind.FLUSH:
            env.log(LogLevel.INFO, describe(ev))
        elif env.wall:
            env.log(LogLevel.INFO, f"now={env.now} wall={env.wall}")


if __name__ == "__main__":
    nethost.serve(Golden())
