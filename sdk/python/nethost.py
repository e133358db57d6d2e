"""A nethost module in Python: a program that nethost starts beside itself.

    #!/usr/bin/env python3
    import os, sys
    sys.path.insert(0, os.environ.get("NETHOST_MODULE_DIR", "."))  # where nethost.py lies
    import nethost
    from nethost import Kind

    class Echo(nethost.Module):
        name, release = "echo", "1.0.0"
        subprotocols = [nethost.Subprotocol(0x0007, "1.0")]

        def handle(self, env, ev):
            if ev.kind == Kind.MESSAGE:
                env.send(ev.peer, ev.id, ev.data)

    nethost.serve(Echo())

A module gets one event at a time and writes what it wants done into env; the host
does that when the batch of events is over, and answers with later events. A batch ends
with Kind.FLUSH. Slow things (disks, networks, devices) belong into env.work, which runs
them on a thread and brings the result back as Kind.POSTED.

What is printed goes to the module's log. The file needs grpcio and nothing else. It
keeps ABI 1 (sdk/abi/SPEC.md; the clauses are named where they are kept); bytes that
break it raise Malformed, and the program ends: the host starts a fresh one.
"""

import concurrent.futures
import json
import os
import socket
import struct
import sys
import threading
from dataclasses import dataclass
from enum import IntEnum
from typing import Callable, Dict, Iterable, List, NamedTuple, Sequence, Set, Tuple, Union

__all__ = ["Class", "Code", "DownReason", "Env", "Event", "Kind", "LogLevel", "Malformed", "Module", "Open", "Origin", "PeerInfo", "Start", "StartReason", "Subprotocol",
           "parse_open", "parse_pairs", "parse_peer", "parse_start", "parse_state", "parse_tags", "serve"]


class Kind(IntEnum):
    """What happened, with the fields that mean something (A3). Others may come: skip them."""

    STATE = 1  # data: parse_state; one for each key, before START
    CONFIG = 2  # data: parse_pairs; before START
    START = 3  # data: parse_start
    DRAIN = 4  # arg: nanoseconds left; answer env.drained() when nothing is pending
    STOP = 5
    FLUSH = 6  # the last of every batch
    PEER_UP = 10  # peer id version; data: parse_peer
    PEER_UPDATE = 11  # the same
    PEER_DOWN = 12  # peer id; arg: DownReason
    CONNECT_FAILED = 13  # ref; arg: Code; data: text
    MESSAGE = 20  # peer id version; data: the message
    DROPPED = 21  # peer; arg: how many of our messages; data: class, reason
    OVERLOAD = 22  # peer; arg: how many messages for us
    UNSUPPORTED = 23  # peer id
    WOULD_BLOCK = 24  # ref peer id, bulk: a try_send was not taken
    WRITABLE = 25  # peer, bulk: the queue has room again
    STREAM_OPEN = 30  # ref peer id version; arg: bytes we may write; data: parse_open
    STREAM_DATA = 31  # ref, fin; data
    STREAM_CREDIT = 32  # ref; arg: so many bytes more may be written
    STREAM_RESET = 33  # ref; arg: Code; data: text
    TIMER = 40  # ref
    POSTED = 41  # ref; data
    COMMITTED = 42  # ref
    SIGNED = 43  # ref; data: 64 bytes
    VERIFIED = 44  # ref; arg: 1 or 0
    ANNOUNCE_CHANGED = 45  # id; data: parse_tags
    DENIED = 46  # ref; arg: kind of the effect; data: the grant it wants
    ROUTE = 47  # arg: cost in us, FIN: no longer reachable; data: node id


class Code(IntEnum):
    """Why a stream was reset or a connection failed."""

    CANCELLED = 0
    UNIMPLEMENTED = 1
    UNSUPPORTED_ID = 2
    PERMISSION_DENIED = 3
    OVERLOADED = 4
    MODULE_RESTARTED = 5
    DRAINING = 6
    DEADLINE_EXCEEDED = 7
    PEER_GONE = 8
    NO_ROUTE = 9
    FLOW_CONTROL = 10
    INVALID_ARGUMENT = 11
    NOT_FOUND = 12
    INTERNAL = 13
    HANDSHAKE_FAILED = 14


class Class(IntEnum):
    REALTIME = 0
    BULK = 1


class Origin(IntEnum):
    """Who opened a stream."""

    PEER = 1
    APP = 2
    MODULE = 3


class DownReason(IntEnum):
    """Why a peer went away: arg of PEER_DOWN."""

    GOODBYE = 1
    DEAD = 2
    REPLACED = 3  # it restarted; a new session follows
    AGREEMENT = 4  # the id is no longer agreed
    LOCAL = 5  # this host closed the session
    DENIED = 6  # a rule of one of the two operators forbids it


class StartReason(IntEnum):
    FRESH = 1  # first start of this package, or of the host
    RESTART = 2  # the instance before this one crashed
    UPGRADE = 3  # this version takes over from Start.previous


class LogLevel(IntEnum):
    DEBUG = 0
    INFO = 4
    WARN = 8
    ERROR = 12


# Limits of ABI 1 (A5), in bytes where nothing else is said.
MAX_BATCH_EVENTS = 256
MAX_BATCH_BYTES = 256 << 10
MAX_EFFECTS = 8192
MAX_EFFECT_BYTES = 1 << 20
MAX_MESSAGE = 64 << 10
MAX_STREAM_DATA = 64 << 10
INITIAL_CREDIT = 256 << 10
MAX_OPEN = 4 << 10
MAX_STATE_KEY = 1 << 10
MAX_STATE_VALUE = 64 << 10
MAX_LOG = 1 << 10
MAX_WORK_RESULT = MAX_BATCH_BYTES - 40 - 2 * 32 - 8
MIN_TIMER = 1_000_000  # nanoseconds

Bytes = Union[bytes, bytearray, memoryview]


class Malformed(ValueError):
    """Bytes that break ABI 1."""


class Event(NamedTuple):
    """One thing that happened, flat, as in the ABI. data is a copy: keep it if you like."""

    kind: int
    flags: int
    peer: int  # a session with a peer, until its PEER_DOWN
    id: int  # a subprotocol
    version: Tuple[int, int]
    ref: int  # a stream, a timer or a question. Ours are odd, the host's even
    arg: int
    data: bytes

    @property
    def fin(self) -> bool:
        """The far end's side of the stream ends with these bytes."""
        return bool(self.flags & 1)


@dataclass
class Open:
    """A stream open: what was asked for, and by whom (A4.4). The host fills in origin and principal."""

    method: str = ""
    meta: bytes = b""
    deadline: int = 0  # nanoseconds left, 0 none
    hops: int = 0
    origin: int = 0
    principal: bytes = b""


@dataclass
class Start:
    """The payload of START (A4.3)."""

    reason: int
    node: bytes  # our node id, 32 bytes
    memory_limit: int  # bytes, 0 none
    state_limit: int  # bytes, 0 not granted
    previous: str
    entropy: bytes
    secret: bytes
    grants: List[str]


@dataclass
class PeerInfo:
    """The payload of PEER_UP and PEER_UPDATE (A4.5)."""

    node: bytes  # 32 bytes
    rtt: int  # nanoseconds, 0 not measured
    mtu: int  # largest message that fits one packet, in bytes


class Subprotocol(NamedTuple):
    """What a module speaks. min_peer is the oldest version of a peer it still understands."""

    id: int
    version: str
    min_peer: str = ""
    required: bool = False


def _take16(b: bytes, at: int) -> Tuple[bytes, int]:
    if len(b) < at + 2:
        raise Malformed("a payload ends inside a length")
    (n,) = struct.unpack_from("<H", b, at)
    if len(b) < at + 2 + n:
        raise Malformed("a payload is shorter than its lengths say")
    return b[at + 2:at + 2 + n], at + 2 + n


def _put16(b: Bytes) -> bytes:
    if len(b) > 0xFFFF:
        raise ValueError("an element of a payload is longer than 65535 bytes")
    return struct.pack("<H", len(b)) + bytes(b)


def parse_tags(b: bytes) -> List[str]:
    """A list of short strings (A4.2)."""
    tags, at = [], 0
    while at < len(b):
        tag, at = _take16(b, at)
        tags.append(tag.decode("utf-8", "replace"))
    return tags


def parse_pairs(b: bytes) -> Dict[str, str]:
    """The module's configuration (A4.2)."""
    tags = parse_tags(b)
    if len(tags) % 2:
        raise Malformed("a key without a value")
    return dict(zip(tags[::2], tags[1::2]))


def parse_state(b: bytes) -> Tuple[bytes, bytes]:
    """Key and value of a STATE event (A4.1)."""
    key, at = _take16(b, 0)
    if not 1 <= len(key) <= MAX_STATE_KEY or len(b) - at > MAX_STATE_VALUE:
        raise Malformed("a state entry of a forbidden size")
    return key, b[at:]


def parse_open(b: bytes) -> Open:
    """The payload of STREAM_OPEN (A4.4)."""
    if not 10 <= len(b) <= MAX_OPEN:
        raise Malformed("an open of a forbidden size")
    origin, hops, deadline = struct.unpack_from("<BBq", b)
    principal, at = _take16(b, 10)
    method, at = _take16(b, at)
    meta, at = _take16(b, at)
    if at != len(b) or deadline < 0:
        raise Malformed("an open with bytes left over, or a negative deadline")
    return Open(method.decode("utf-8", "replace"), meta, deadline, hops, origin, principal)


def parse_start(b: bytes) -> Start:
    """The payload of START (A4.3)."""
    if len(b) < 49:
        raise Malformed("a start that is too short")
    reason, node, memory, state = struct.unpack_from("<B32sQQ", b)
    previous, at = _take16(b, 49)
    entropy, at = _take16(b, at)
    secret, at = _take16(b, at)
    return Start(reason, node, memory, state, previous.decode("utf-8", "replace"), entropy, secret, parse_tags(b[at:]))


def parse_peer(b: bytes) -> PeerInfo:
    """The payload of PEER_UP and PEER_UPDATE (A4.5)."""
    if len(b) != 44:
        raise Malformed("peer info of a wrong size")
    return PeerInfo(*struct.unpack("<32sqI", b))


_HEADER = struct.Struct("<4sHHIIQqq")
_RECORD = struct.Struct("<HHIIHBBQQ")
_FIN, _BULK, _MODULE = 1, 2, 8


class Env:
    """What a module writes its effects into. Use it inside handle only."""

    def __init__(self) -> None:
        self.now = 0
        """Monotonic nanoseconds; stands still during a batch."""
        self.wall = 0
        """Unix nanoseconds, 0 without the grant wall."""
        self._out: List[bytes] = []
        self._size = _HEADER.size
        self._count = 0
        self._last = -1
        self._full: Set[Tuple[int, bool]] = set()  # queues (A8.3)
        self._work: List[Tuple[int, Callable[[], Bytes]]] = []

    def _begin(self, now: int, wall: int) -> None:
        self.now, self.wall = now, wall
        self._out, self._size, self._count = [], _HEADER.size, 0

    def _effects(self, sequence: int) -> bytes:
        return b"".join([_HEADER.pack(b"NHB1", 0, 0, self._count, self._size, sequence, 0, 0), *self._out])

    def _emit(self, kind: int, flags: int = 0, peer: int = 0, id: int = 0, ref: int = 0, arg: int = 0, data: Bytes = b"") -> None:
        pad = -len(data) % 8
        self._size += _RECORD.size + len(data) + pad
        self._count += 1
        if self._size > MAX_EFFECT_BYTES or self._count > MAX_EFFECTS:  # A5.2
            raise OverflowError(f"more than {MAX_EFFECTS} effects or {MAX_EFFECT_BYTES} bytes in one batch: spread the work over several, for example with env.post")
        self._out += (_RECORD.pack(kind, flags, len(data), peer, id, 0, 0, ref, arg), bytes(data), bytes(pad))

    def new_ref(self) -> int:
        """A fresh odd reference."""
        self._last += 2
        return self._last

    def send(self, peer: int, id: int, message: Bytes, cls: Class = Class.REALTIME) -> None:
        """A message of at most 64 KiB. It may be lost."""
        self._emit(1, _BULK if cls == Class.BULK else 0, peer, id, data=message)

    def try_send(self, ref: int, peer: int, id: int, message: Bytes, cls: Class = Class.REALTIME, within: int = 0) -> bool:
        """send that holds back: False means that the host's queue to the peer is full and
        nothing was written; WRITABLE says when to try again. True is no promise: WOULD_BLOCK
        with ref says that the message was not taken after all. ref 0 takes a fresh one;
        within is as in send_within, 0 for none."""
        if (peer, cls == Class.BULK) in self._full:
            return False
        self._emit(1, _BULK if cls == Class.BULK else 0, peer, id, ref or self.new_ref(), max(within, 0), message)
        return True

    def send_within(self, within: int, peer: int, id: int, message: Bytes, cls: Class = Class.REALTIME) -> None:
        """A message that is worth nothing when it has not left after so many nanoseconds."""
        self._emit(1, _BULK if cls == Class.BULK else 0, peer, id, arg=max(within, 1), data=message)

    def _backpressure(self, ev: Event) -> None:
        if ev.kind == Kind.WOULD_BLOCK:
            self._full.add((ev.peer, bool(ev.flags & _BULK)))
        elif ev.kind == Kind.WRITABLE:
            self._full.discard((ev.peer, bool(ev.flags & _BULK)))
        elif ev.kind == Kind.PEER_DOWN:
            self._full -= {(ev.peer, False), (ev.peer, True)}

    def send_many(self, id: int, peers: Sequence[int], message: Bytes, cls: Class = Class.REALTIME) -> None:
        """One message to many peers."""
        self._emit(2, _BULK if cls == Class.BULK else 0, id=id, data=struct.pack(f"<I{len(peers)}I", len(peers), *peers) + bytes(message))

    def connect(self, ref: int, node: bytes) -> None:
        """Asks for a session; the answer is PEER_UP or CONNECT_FAILED."""
        self._emit(3, ref=ref, data=node)

    def open_peer(self, peer: int, id: int, o: Open) -> int:
        """Opens a stream to a peer's module."""
        return self._open(0, peer, id, o)

    def open_module(self, id: int, o: Open) -> int:
        """Opens a stream to a module of this node; needs the grant call."""
        return self._open(_MODULE, 0, id, o)

    def _open(self, flags: int, peer: int, id: int, o: Open) -> int:
        ref = self.new_ref()
        head = struct.pack("<BBq", o.origin, o.hops, o.deadline)
        self._emit(10, flags, peer, id, ref, data=head + _put16(o.principal) + _put16(o.method.encode()) + _put16(o.meta))
        return ref

    def write(self, ref: int, data: Bytes, fin: bool = False) -> None:
        """Writes stream bytes of any length; stay within the credit. fin ends our side."""
        while len(data) > MAX_STREAM_DATA:
            self._emit(11, ref=ref, data=data[:MAX_STREAM_DATA])
            data = data[MAX_STREAM_DATA:]
        self._emit(11, _FIN if fin else 0, ref=ref, data=data)

    def credit(self, ref: int, consumed: int) -> None:
        """Says that so many bytes were consumed: when they are done with, not before."""
        self._emit(12, ref=ref, arg=consumed)

    def reset(self, ref: int, code: Code, text: str = "") -> None:
        """Abandons a stream in both directions."""
        self._emit(13, ref=ref, arg=code, data=text.encode())

    def after(self, ref: int, nanoseconds: int) -> None:
        """Arms a timer, at least 1 ms; replaces an earlier one of that ref."""
        self._emit(20, ref=ref, arg=max(nanoseconds, MIN_TIMER))

    def cancel_timer(self, ref: int) -> None:
        self._emit(20, ref=ref)

    def put(self, key: Bytes, value: Bytes) -> None:
        """Stores a state entry, committed with the batch; needs the grant state."""
        self._emit(21, data=_put16(key) + bytes(value))

    def delete(self, key: Bytes) -> None:
        self._emit(22, data=key)

    def commit(self, ref: int) -> None:
        """Answers COMMITTED when this batch is on disk."""
        self._emit(23, ref=ref)

    def post(self, ref: int, data: Bytes = b"") -> None:
        """Comes back as POSTED."""
        self._emit(24, ref=ref, data=data)

    def work(self, ref: int, do: Callable[[], Bytes]) -> None:
        """Runs do on a thread once this batch is answered; what it returns comes back as POSTED. It must not touch env or the module."""
        self._work.append((ref, do))

    def announce(self, tags: Iterable[str]) -> None:
        """Replaces this module's capability tags."""
        self._emit(25, data=b"".join(_put16(t.encode()) for t in tags))

    def sign(self, ref: int, data: Bytes) -> None:
        """Answers SIGNED."""
        self._emit(26, ref=ref, data=data)

    def verify(self, ref: int, key: bytes, signature: bytes, data: Bytes) -> None:
        """Answers VERIFIED."""
        if len(key) != 32 or len(signature) != 64:
            raise ValueError("a key has 32 bytes and a signature 64")
        self._emit(27, ref=ref, data=key + signature + bytes(data))

    def log(self, level: LogLevel, text: str) -> None:
        """Writes one line to the module's log, cut at 1024 bytes."""
        self._emit(28, arg=level, data=text.encode()[:MAX_LOG])

    def count(self, name: str, delta: int = 1) -> None:
        """Adds to one of the module's own counters."""
        self._emit(29, arg=delta, data=name.encode())

    def penalize(self, peer: int, weight: int, reason: str) -> None:
        """Lowers the reputation of a peer."""
        self._emit(30, peer=peer, arg=weight, data=reason.encode())

    def drained(self) -> None:
        """Answers DRAIN: nothing is pending any more."""
        self._emit(31)


class Module:
    """Events in, effects out. The facts must be those of module.toml."""

    name = ""
    release = ""
    subprotocols: Sequence[Subprotocol] = ()
    methods: Sequence[str] = ()

    def handle(self, env: Env, ev: Event) -> None:
        raise NotImplementedError


def run(module: Module, env: Env, batch: bytes) -> bytes:
    """Hands a batch of events to the module and gives the batch of its effects. Tests use it."""
    if not _HEADER.size <= len(batch) <= MAX_BATCH_BYTES:
        raise Malformed(f"a batch of {len(batch)} bytes")
    magic, _, flags, count, size, sequence, now, wall = _HEADER.unpack_from(batch)
    if magic != b"NHB1" or flags or size != len(batch) or count > MAX_BATCH_EVENTS:  # A1, A5.1
        raise Malformed("a batch whose header is wrong")
    env._begin(now, wall)
    at = _HEADER.size
    for _ in range(count):
        if len(batch) - at < _RECORD.size:  # A2.3
            raise Malformed("a batch ends inside a record")
        kind, flags, n, peer, id, major, minor, ref, arg = _RECORD.unpack_from(batch, at)
        begin = at + _RECORD.size
        at = begin + n + -n % 8
        if at > len(batch) or any(batch[begin + n:at]):  # A2.2
            raise Malformed("a record runs past its batch, or its padding is not zero")
        ev = Event(kind, flags, peer, id, (major, minor), ref, arg, batch[begin:begin + n])
        env._backpressure(ev)
        module.handle(env, ev)
    if at != len(batch):  # A1.4
        raise Malformed("bytes behind the last record")
    return env._effects(sequence)


class _Link:
    """The data socket (A7): frames of a u32 length and a batch."""

    def __init__(self, conn: socket.socket) -> None:
        self._conn = conn
        self._in = conn.makefile("rb", buffering=1 << 18)
        self._lock = threading.Lock()

    def read(self) -> bytes:
        """b"" at the end."""
        head = self._in.read(4)
        if len(head) < 4:
            return b""
        (n,) = struct.unpack("<I", head)
        if n > MAX_BATCH_BYTES:  # A7.1
            raise Malformed(f"a frame of {n} bytes")
        batch = self._in.read(n)
        return batch if len(batch) == n else b""

    def write(self, batch: bytes) -> None:
        with self._lock:
            self._conn.sendall(struct.pack("<I", len(batch)) + batch)


def serve(module: Module) -> None:
    """Runs the module until the host ends it. Does not return."""
    if os.environ.get("NETHOST_PLUGIN_COOKIE") != "e2a0d1b7-nethost-module":
        sys.exit("This program is a nethost module: put its folder into a plugin directory, and nethost starts it.")
    conn = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    conn.connect(os.environ["NETHOST_DATA_SOCKET"])
    control = _serve_control(module)
    link, env = _Link(conn), Env()
    code = 0
    try:
        with concurrent.futures.ThreadPoolExecutor(max_workers=max(4, 2 * (os.cpu_count() or 1))) as pool:
            while batch := link.read():
                link.write(run(module, env, batch))
                work, env._work = env._work, []
                for ref, do in work:  # after the answer, so that no result overtakes the batch that asked
                    pool.submit(_work, link, ref, do)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the host is gone
    except Exception:
        import traceback

        traceback.print_exc()
        code = 1
    control.stop(None)
    sys.stderr.flush()
    os._exit(code)  # threads of the module must not keep it alive


def _work(link: _Link, ref: int, do: Callable[[], Bytes]) -> None:
    try:
        result = do()
        if len(result) > MAX_WORK_RESULT:
            raise OverflowError(f"a function given to env.work returned {len(result)} bytes; at most {MAX_WORK_RESULT} fit one event")
        env = Env()
        env.post(ref, result)
        link.write(env._effects(0))  # A6.8
    except (BrokenPipeError, ConnectionResetError):
        pass
    except Exception:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def _description(module: Module) -> bytes:
    return json.dumps({
        "name": module.name, "release": module.release, "methods": list(module.methods),
        "subprotocols": [{"id": f"0x{s.id:04x}", "version": s.version, "min_peer": s.min_peer or s.version, "required": s.required} for s in module.subprotocols],
    }).encode()


def _varint(n: int) -> bytes:
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def _serve_control(module: Module):
    """The gRPC half that go-plugin wants: health, Describe and shutdown."""
    import grpc

    text = _description(module)
    unary = grpc.unary_unary_rpc_method_handler
    serving = unary(lambda *_: b"\x08\x01")  # HealthCheckResponse{status: SERVING}
    describe = unary(lambda *_: b"\x0a" + _varint(len(text)) + text)  # StringValue
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=2))

    def shutdown(*_):
        server.stop(0.1)
        return b""

    server.add_generic_rpc_handlers((
        grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": serving}),
        grpc.method_handlers_generic_handler("nethost.plugin.v1.Module", {"Describe": describe}),
        grpc.method_handlers_generic_handler("plugin.GRPCController", {"Shutdown": unary(shutdown)}),
    ))
    path = os.path.join(os.environ.get("PLUGIN_UNIX_SOCKET_DIR") or os.getcwd(), f"control-{os.getpid()}")
    server.add_insecure_port("unix:" + path)
    server.start()
    print(f"1|1|unix|{path}|grpc", flush=True)
    return server
