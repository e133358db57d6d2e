//! Holds the crate to the golden vectors of ABI 1: says what it read of an event, and
//! writes the golden effects when a message asks for them. For tests alone.
use std::fmt::Write;

use nethost::{pairs, state_entry, tags, Class, Code, Env, Event, Kind, LogLevel, Module, NodeId, Open, Origin, PeerInfo, Start, StartReason};

struct Golden;

fn hex(b: &[u8]) -> String {
    b.iter().fold(String::new(), |s, c| s + &format!("{:02x}", c))
}

fn text(b: &[u8]) -> &str {
    std::str::from_utf8(b).expect("text")
}

fn list<'a>(each: impl Iterator<Item = &'a [u8]>) -> String {
    each.map(text).collect::<Vec<_>>().join(",")
}

fn describe(ev: &Event) -> String {
    let mut s = format!(
        "kind={} flags={} peer={} id={} version={}.{} ref={} arg={}",
        ev.kind.0, ev.flags, ev.peer, ev.id, ev.version.major, ev.version.minor, ev.reference, ev.arg
    );
    match ev.kind {
        Kind::STATE => {
            let (key, value) = state_entry(ev.data).expect("state");
            write!(s, " key={} value={}", text(key), text(value))
        }
        Kind::CONFIG => {
            let all: Vec<String> = pairs(ev.data).expect("config").map(|(k, v)| format!("{}:{}", text(k), text(v))).collect();
            write!(s, " pairs={}", all.join(","))
        }
        Kind::START => {
            let p = Start::parse(ev.data).expect("start");
            let reason = match p.reason {
                StartReason::Fresh => 1,
                StartReason::Restart => 2,
                StartReason::Upgrade => 3,
                StartReason::Unknown(n) => n,
            };
            write!(
                s,
                " reason={} self={} memory={} state={} previous={} entropy={} secret={} grants={}",
                reason,
                hex(&p.node),
                p.memory_limit,
                p.state_limit,
                text(p.previous),
                hex(p.entropy),
                hex(p.secret),
                list(p.grants)
            )
        }
        Kind::PEER_UP | Kind::PEER_UPDATE => {
            let p = PeerInfo::parse(ev.data).expect("peer");
            write!(s, " node={} rtt={} mtu={}", hex(&p.node), p.rtt, p.mtu)
        }
        Kind::STREAM_OPEN => {
            let o = Open::parse(ev.data).expect("open");
            let from = match o.from {
                Origin::Peer => 1,
                Origin::App => 2,
                Origin::Module => 3,
                Origin::Unknown(n) => n,
            };
            write!(s, " from={} hops={} deadline={} principal={} method={} meta={}", from, o.hops, o.deadline, hex(o.principal), o.method, hex(o.meta))
        }
        Kind::ANNOUNCE_CHANGED => write!(s, " tags={}", list(tags(ev.data).expect("tags"))),
        _ => write!(s, " data={}", hex(ev.data)),
    }
    .expect("memory");
    s
}

fn effects(env: &mut Env) {
    let mut node: NodeId = [0; 32];
    node[0] = 0xaa;
    node[31] = 0xbb;
    let mut signature = [0; 64];
    signature[0] = 1;
    signature[63] = 2;
    env.send(7, 0x1001, Class::Realtime, b"message");
    env.send(7, 0x1001, Class::Bulk, &[]);
    env.send_many(0x1001, Class::Bulk, &[7, 8], b"to many");
    let first = env.new_ref();
    env.connect(first, &node);
    env.open_peer(7, 0x1001, &Open { deadline: 1_000_000_000, ..Open::method("add") });
    env.open_module(0x0c00, &Open { hops: 1, ..Open::method("find") });
    env.write(3, b"12345678", false);
    env.write(3, &[], true);
    env.credit(3, 1000);
    env.reset(5, Code::Overloaded, "later");
    env.after(1, 50_000_000);
    env.after(1, 1);
    env.cancel_timer(1);
    env.put(b"key", b"value");
    env.delete(b"key");
    env.commit(7);
    env.post(9, b"note");
    env.announce(&["telemetry:cpu"]);
    env.sign(11, b"statement");
    env.verify(13, &node, &signature, b"statement");
    env.log(LogLevel::Warn, "careful");
    env.count("packets", 3);
    env.penalize(7, 10, "rude");
    env.drained();
}

impl Module for Golden {
    fn handle(&mut self, env: &mut Env, ev: &Event) {
        if ev.kind == Kind::MESSAGE && ev.data == b"effects" {
            effects(env);
        } else if ev.kind == Kind::MESSAGE && ev.data == b"hold" {
            env.try_send(15, 7, 0x1001, Class::Bulk, 0, b"if there is room");
            env.send_within(20_000_000, 7, 0x1001, Class::Realtime, b"now or never");
        } else if ev.kind != Kind::FLUSH {
            env.log(LogLevel::Info, &describe(ev));
        } else if env.wall() != 0 {
            let line = format!("now={} wall={}", env.now(), env.wall());
            env.log(LogLevel::Info, &line);
        }
    }
}

nethost::module!(Golden);
