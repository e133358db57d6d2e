use alloc::vec::Vec;

use crate::{limits, Code, Event, Id, Kind, NodeId, Open, Origin, Peer, Ref};

/// How urgent a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Realtime,
    Bulk,
}

#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub enum LogLevel {
    Debug = 0,
    Info = 4,
    Warn = 8,
    Error = 12,
}

const FIN: u16 = 1;
const BULK: u16 = 2;
const MODULE: u16 = 8;
pub(crate) const HEADER: usize = 40;
pub(crate) const MAGIC: u64 = 0x3142_484e; // "NHB1", minor 0, no flags

/// What a module writes its effects into. What is given to it is copied.
pub struct Env {
    out: Vec<u8>,
    count: u32,
    now: i64,
    wall: i64,
    last: Ref,
    full: Vec<(Peer, bool)>, // queues (A8.3)
}

impl Env {
    pub(crate) const fn new() -> Env {
        Env { out: Vec::new(), count: 0, now: 0, wall: 0, last: 0, full: Vec::new() }
    }

    pub(crate) fn begin(&mut self, now: i64, wall: i64) {
        self.now = now;
        self.wall = wall;
        self.count = 0;
        self.out.clear();
        self.out.resize(HEADER, 0);
    }

    pub(crate) fn effects(&mut self, sequence: u64) -> &[u8] {
        if self.count == 0 {
            return &[];
        }
        let size = self.out.len() as u32;
        self.out[0..8].copy_from_slice(&MAGIC.to_le_bytes());
        self.out[8..12].copy_from_slice(&self.count.to_le_bytes());
        self.out[12..16].copy_from_slice(&size.to_le_bytes());
        self.out[16..24].copy_from_slice(&sequence.to_le_bytes()); // A1.6
        &self.out
    }

    /// Monotonic nanoseconds; stands still during a batch.
    pub fn now(&self) -> i64 {
        self.now
    }

    /// Unix nanoseconds, 0 without the grant wall.
    pub fn wall(&self) -> i64 {
        self.wall
    }

    /// A fresh odd reference.
    pub fn new_ref(&mut self) -> Ref {
        self.last = if self.last == 0 { 1 } else { self.last + 2 };
        self.last
    }

    fn emit(&mut self, kind: u16, flags: u16, peer: Peer, id: Id, reference: Ref, arg: u64, parts: &[&[u8]]) {
        let size: usize = parts.iter().map(|p| p.len()).sum();
        let end = self.out.len() + 32 + (size + 7) / 8 * 8;
        assert!(self.count < limits::EFFECTS && end <= limits::EFFECT_BYTES, "more effects than a batch may hold"); // A5.2
        self.out.extend_from_slice(&kind.to_le_bytes());
        self.out.extend_from_slice(&flags.to_le_bytes());
        self.out.extend_from_slice(&(size as u32).to_le_bytes());
        self.out.extend_from_slice(&peer.to_le_bytes());
        self.out.extend_from_slice(&id.to_le_bytes());
        self.out.extend_from_slice(&[0, 0]);
        self.out.extend_from_slice(&reference.to_le_bytes());
        self.out.extend_from_slice(&arg.to_le_bytes());
        for p in parts {
            self.out.extend_from_slice(p);
        }
        self.out.resize(end, 0); // A2.2
        self.count += 1;
    }

    /// A message of at most 64 KiB. It may be lost.
    pub fn send(&mut self, peer: Peer, id: Id, class: Class, message: &[u8]) {
        self.emit(1, bulk(class), peer, id, 0, 0, &[message]);
    }

    /// send that holds back: false means that the host's queue to the peer is full and
    /// nothing was written; [`crate::Kind::WRITABLE`] says when to try again. True is no promise:
    /// [`crate::Kind::WOULD_BLOCK`] with the reference says that the message was not taken after
    /// all. Reference 0 takes a fresh one; within is as in send_within, 0 for none.
    pub fn try_send(&mut self, reference: Ref, peer: Peer, id: Id, class: Class, within: u64, message: &[u8]) -> bool {
        if self.full.contains(&(peer, bulk(class) != 0)) {
            return false;
        }
        let reference = if reference == 0 { self.new_ref() } else { reference };
        self.emit(1, bulk(class), peer, id, reference, within, &[message]);
        true
    }

    /// A message that is worth nothing when it has not left after so many nanoseconds.
    pub fn send_within(&mut self, within: u64, peer: Peer, id: Id, class: Class, message: &[u8]) {
        self.emit(1, bulk(class), peer, id, 0, within.max(1), &[message]);
    }

    pub(crate) fn backpressure(&mut self, ev: &Event) {
        let queue = (ev.peer, ev.flags & BULK != 0);
        match ev.kind {
            Kind::WOULD_BLOCK if !self.full.contains(&queue) => self.full.push(queue),
            Kind::WRITABLE => self.full.retain(|q| *q != queue),
            Kind::PEER_DOWN => self.full.retain(|q| q.0 != ev.peer),
            _ => {}
        }
    }

    /// One message to many peers.
    pub fn send_many(&mut self, id: Id, class: Class, peers: &[Peer], message: &[u8]) {
        let mut list = Vec::with_capacity(4 + 4 * peers.len());
        list.extend_from_slice(&(peers.len() as u32).to_le_bytes());
        for p in peers {
            list.extend_from_slice(&p.to_le_bytes());
        }
        self.emit(2, bulk(class), 0, id, 0, 0, &[&list, message]);
    }

    /// Asks for a session; the answer is PeerUp or ConnectFailed.
    pub fn connect(&mut self, reference: Ref, node: &NodeId) {
        self.emit(3, 0, 0, 0, reference, 0, &[node]);
    }

    /// Opens a stream to a peer's module.
    pub fn open_peer(&mut self, peer: Peer, id: Id, o: &Open) -> Ref {
        let reference = self.new_ref();
        self.open(0, peer, id, reference, o);
        reference
    }

    /// Opens a stream to a module of this node; needs the grant call.
    pub fn open_module(&mut self, id: Id, o: &Open) -> Ref {
        let reference = self.new_ref();
        self.open(MODULE, 0, id, reference, o);
        reference
    }

    fn open(&mut self, flags: u16, peer: Peer, id: Id, reference: Ref, o: &Open) {
        let from = match o.from {
            Origin::Peer => 1,
            Origin::App => 2,
            Origin::Module => 3,
            Origin::Unknown(n) => n,
        };
        let (p, m, t) = (len16(o.principal), len16(o.method.as_bytes()), len16(o.meta));
        self.emit(10, flags, peer, id, reference, 0, &[&[from, o.hops], &o.deadline.to_le_bytes(), &p, o.principal, &m, o.method.as_bytes(), &t, o.meta]);
    }

    /// Writes stream bytes of any length; stay within the credit. fin ends our side.
    pub fn write(&mut self, reference: Ref, data: &[u8], fin: bool) {
        let mut data = data;
        while data.len() > limits::STREAM_DATA {
            let (piece, rest) = data.split_at(limits::STREAM_DATA);
            self.emit(11, 0, 0, 0, reference, 0, &[piece]);
            data = rest;
        }
        self.emit(11, if fin { FIN } else { 0 }, 0, 0, reference, 0, &[data]);
    }

    /// Says that so many bytes were consumed: when they are done with, not before.
    pub fn credit(&mut self, reference: Ref, consumed: u64) {
        self.emit(12, 0, 0, 0, reference, consumed, &[]);
    }

    /// Abandons a stream in both directions.
    pub fn reset(&mut self, reference: Ref, code: Code, text: &str) {
        self.emit(13, 0, 0, 0, reference, code as u64, &[text.as_bytes()]);
    }

    /// Arms a timer, at least 1 ms; replaces an earlier one of that reference.
    pub fn after(&mut self, reference: Ref, nanoseconds: u64) {
        self.emit(20, 0, 0, 0, reference, nanoseconds.max(limits::MIN_TIMER), &[]);
    }

    pub fn cancel_timer(&mut self, reference: Ref) {
        self.emit(20, 0, 0, 0, reference, 0, &[]);
    }

    /// Stores a state entry, committed with the batch; needs the grant state.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.emit(21, 0, 0, 0, 0, 0, &[&len16(key), key, value]);
    }

    pub fn delete(&mut self, key: &[u8]) {
        self.emit(22, 0, 0, 0, 0, 0, &[key]);
    }

    /// Answers Committed when this batch is on disk.
    pub fn commit(&mut self, reference: Ref) {
        self.emit(23, 0, 0, 0, reference, 0, &[]);
    }

    /// Comes back as Posted.
    pub fn post(&mut self, reference: Ref, data: &[u8]) {
        self.emit(24, 0, 0, 0, reference, 0, &[data]);
    }

    /// Replaces this module's capability tags.
    pub fn announce(&mut self, tags: &[&str]) {
        let mut list = Vec::new();
        for t in tags {
            list.extend_from_slice(&len16(t.as_bytes()));
            list.extend_from_slice(t.as_bytes());
        }
        self.emit(25, 0, 0, 0, 0, 0, &[&list]);
    }

    /// Answers Signed.
    pub fn sign(&mut self, reference: Ref, data: &[u8]) {
        self.emit(26, 0, 0, 0, reference, 0, &[data]);
    }

    /// Answers Verified.
    pub fn verify(&mut self, reference: Ref, key: &NodeId, signature: &[u8; 64], data: &[u8]) {
        self.emit(27, 0, 0, 0, reference, 0, &[key, signature, data]);
    }

    /// Writes one line to the module's log, cut at 1024 bytes.
    pub fn log(&mut self, level: LogLevel, text: &str) {
        self.emit(28, 0, 0, 0, 0, level as u64, &[&text.as_bytes()[..text.len().min(limits::LOG)]]);
    }

    /// Adds to one of the module's own counters.
    pub fn count(&mut self, name: &str, delta: u64) {
        self.emit(29, 0, 0, 0, 0, delta, &[name.as_bytes()]);
    }

    /// Lowers the reputation of a peer.
    pub fn penalize(&mut self, peer: Peer, weight: u32, reason: &str) {
        self.emit(30, 0, peer, 0, 0, weight as u64, &[reason.as_bytes()]);
    }

    /// Answers Drain: nothing is pending any more.
    pub fn drained(&mut self) {
        self.emit(31, 0, 0, 0, 0, 0, &[]);
    }
}

fn bulk(class: Class) -> u16 {
    if class == Class::Bulk {
        BULK
    } else {
        0
    }
}

fn len16(b: &[u8]) -> [u8; 2] {
    assert!(b.len() <= 0xffff, "an element of a payload is longer than 65535 bytes");
    (b.len() as u16).to_le_bytes()
}
