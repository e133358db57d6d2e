use crate::{limits, Id, NodeId, Peer, Ref};

/// What happened. Skip what you do not know: a newer host may send it (A3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(pub u16);

/// The kinds, with the fields that mean something.
impl Kind {
    /// data: [`state_entry`]; one for each key, before Start
    pub const STATE: Kind = Kind(1);
    /// data: [`pairs`]; before Start
    pub const CONFIG: Kind = Kind(2);
    /// data: [`Start::parse`]
    pub const START: Kind = Kind(3);
    /// arg: nanoseconds left; answer `Env::drained` when nothing is pending
    pub const DRAIN: Kind = Kind(4);
    pub const STOP: Kind = Kind(5);
    /// the last of every batch
    pub const FLUSH: Kind = Kind(6);
    /// peer id version; data: [`PeerInfo::parse`]
    pub const PEER_UP: Kind = Kind(10);
    /// the same
    pub const PEER_UPDATE: Kind = Kind(11);
    /// peer id; arg: [`crate::down`]
    pub const PEER_DOWN: Kind = Kind(12);
    /// reference; arg: code; data: text
    pub const CONNECT_FAILED: Kind = Kind(13);
    /// peer id version; data: the message
    pub const MESSAGE: Kind = Kind(20);
    /// peer; arg: how many of our messages; data: class, reason
    pub const DROPPED: Kind = Kind(21);
    /// peer; arg: how many messages for us
    pub const OVERLOAD: Kind = Kind(22);
    /// peer id
    pub const UNSUPPORTED: Kind = Kind(23);
    /// reference peer id, bulk: a [`crate::Env::try_send`] was not taken
    pub const WOULD_BLOCK: Kind = Kind(24);
    /// peer, bulk: the queue has room again
    pub const WRITABLE: Kind = Kind(25);
    /// reference peer id version; arg: bytes we may write; data: [`Open::parse`]
    pub const STREAM_OPEN: Kind = Kind(30);
    /// reference, [`Event::fin`]; data
    pub const STREAM_DATA: Kind = Kind(31);
    /// reference; arg: so many bytes more may be written
    pub const STREAM_CREDIT: Kind = Kind(32);
    /// reference; arg: code; data: text
    pub const STREAM_RESET: Kind = Kind(33);
    /// reference
    pub const TIMER: Kind = Kind(40);
    /// reference; data
    pub const POSTED: Kind = Kind(41);
    /// reference
    pub const COMMITTED: Kind = Kind(42);
    /// reference; data: 64 bytes
    pub const SIGNED: Kind = Kind(43);
    /// reference; arg: 1 or 0
    pub const VERIFIED: Kind = Kind(44);
    /// id; data: [`tags`]
    pub const ANNOUNCE_CHANGED: Kind = Kind(45);
    /// reference; arg: kind of the effect; data: the grant it wants
    pub const DENIED: Kind = Kind(46);
    /// arg: cost in us, FIN: no longer reachable; data: node id
    pub const ROUTE: Kind = Kind(47);
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version {
    pub major: u8,
    pub minor: u8,
}

/// One thing that happened, flat, as in the ABI.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    pub kind: Kind,
    pub flags: u16,
    pub peer: Peer,
    pub id: Id,
    pub version: Version,
    pub reference: Ref,
    pub arg: u64,
    pub data: &'a [u8],
}

impl Event<'_> {
    /// The far end's side of the stream ends with these bytes.
    pub fn fin(&self) -> bool {
        self.flags & 1 != 0
    }
}

/// Who opened a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Peer,
    App,
    Module,
    Unknown(u8),
}

/// A stream open: what was asked for, and by whom (A4.4).
#[derive(Clone, Copy, Debug)]
pub struct Open<'a> {
    pub from: Origin,
    pub hops: u8,
    /// nanoseconds left, 0 none
    pub deadline: i64,
    pub principal: &'a [u8],
    pub method: &'a str,
    pub meta: &'a [u8],
}

impl<'a> Open<'a> {
    /// An open of a method, for `Env::open_peer` and `Env::open_module`.
    pub fn method(method: &'a str) -> Open<'a> {
        Open { from: Origin::Unknown(0), hops: 0, deadline: 0, principal: &[], method, meta: &[] }
    }

    pub fn parse(b: &'a [u8]) -> Option<Open<'a>> {
        if b.len() < 10 || b.len() > limits::OPEN {
            return None;
        }
        let mut rest = &b[10..];
        let o = Open {
            from: match b[0] {
                1 => Origin::Peer,
                2 => Origin::App,
                3 => Origin::Module,
                n => Origin::Unknown(n),
            },
            hops: b[1],
            deadline: u64_at(b, 2) as i64,
            principal: take16(&mut rest)?,
            method: core::str::from_utf8(take16(&mut rest)?).ok()?,
            meta: take16(&mut rest)?,
        };
        (rest.is_empty() && o.deadline >= 0).then(|| o)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartReason {
    /// first start of this package, or of the host
    Fresh,
    /// the instance before this one crashed
    Restart,
    /// this version takes over from `Start::previous`
    Upgrade,
    Unknown(u8),
}

/// The payload of Start (A4.3).
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    pub reason: StartReason,
    pub node: NodeId,
    /// bytes
    pub memory_limit: u64,
    /// bytes; 0: not granted
    pub state_limit: u64,
    pub previous: &'a [u8],
    pub entropy: &'a [u8],
    pub secret: &'a [u8],
    pub grants: Tags<'a>,
}

impl<'a> Start<'a> {
    pub fn parse(b: &'a [u8]) -> Option<Start<'a>> {
        if b.len() < 49 {
            return None;
        }
        let mut rest = &b[49..];
        Some(Start {
            reason: match b[0] {
                1 => StartReason::Fresh,
                2 => StartReason::Restart,
                3 => StartReason::Upgrade,
                n => StartReason::Unknown(n),
            },
            node: node_at(b, 1),
            memory_limit: u64_at(b, 33),
            state_limit: u64_at(b, 41),
            previous: take16(&mut rest)?,
            entropy: take16(&mut rest)?,
            secret: take16(&mut rest)?,
            grants: tags(rest)?,
        })
    }
}

/// The payload of PeerUp and PeerUpdate (A4.5).
#[derive(Clone, Copy, Debug)]
pub struct PeerInfo {
    pub node: NodeId,
    /// nanoseconds, 0 not measured
    pub rtt: i64,
    /// largest message that fits one packet, in bytes
    pub mtu: u32,
}

impl PeerInfo {
    pub fn parse(b: &[u8]) -> Option<PeerInfo> {
        (b.len() == 44).then(|| PeerInfo { node: node_at(b, 0), rtt: u64_at(b, 32) as i64, mtu: u32_at(b, 40) })
    }
}

/// Key and value of a State event (A4.1).
pub fn state_entry(b: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = b;
    let key = take16(&mut rest)?;
    (!key.is_empty() && key.len() <= limits::STATE_KEY && rest.len() <= limits::STATE_VALUE).then(|| (key, rest))
}

/// A list of short strings (A4.2), checked; iterate over it.
pub fn tags(b: &[u8]) -> Option<Tags<'_>> {
    let mut rest = b;
    while !rest.is_empty() {
        take16(&mut rest)?;
    }
    Some(Tags(b))
}

/// Keys and values of a Config event, in turn (A4.2).
pub fn pairs(b: &[u8]) -> Option<impl Iterator<Item = (&[u8], &[u8])>> {
    let list = tags(b)?;
    if list.count() % 2 != 0 {
        return None;
    }
    let mut each = list;
    Some(core::iter::from_fn(move || Some((each.next()?, each.next()?))))
}

#[derive(Clone, Copy, Debug)]
pub struct Tags<'a>(&'a [u8]);

impl<'a> Iterator for Tags<'a> {
    type Item = &'a [u8];
    fn next(&mut self) -> Option<&'a [u8]> {
        take16(&mut self.0)
    }
}

pub(crate) fn u64_at(b: &[u8], at: usize) -> u64 {
    let mut v = [0; 8];
    v.copy_from_slice(&b[at..at + 8]);
    u64::from_le_bytes(v)
}

pub(crate) fn u32_at(b: &[u8], at: usize) -> u32 {
    let mut v = [0; 4];
    v.copy_from_slice(&b[at..at + 4]);
    u32::from_le_bytes(v)
}

fn node_at(b: &[u8], at: usize) -> NodeId {
    let mut v = [0; 32];
    v.copy_from_slice(&b[at..at + 32]);
    v
}

fn take16<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let b = *rest;
    let n = u16::from_le_bytes([*b.get(0)?, *b.get(1)?]) as usize;
    let out = b.get(2..2 + n)?;
    *rest = &b[2 + n..];
    Some(out)
}
