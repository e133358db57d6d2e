//! A nethost module in Rust, compiled to WebAssembly.
//!
//! ```ignore
//! use nethost::{Class, Env, Event, Kind, Module};
//!
//! #[derive(Default)]
//! struct Echo;
//!
//! impl Module for Echo {
//!     fn handle(&mut self, env: &mut Env, ev: &Event) {
//!         if ev.kind == Kind::MESSAGE {
//!             env.send(ev.peer, ev.id, Class::Realtime, ev.data);
//!         }
//!     }
//! }
//!
//! nethost::module!(Echo::default());
//! ```
//!
//! A module gets one event at a time and writes what it wants done into [`Env`]; the
//! host does that when the batch of events is over, and answers with later events. A
//! batch ends with [`Kind::FLUSH`]. A module has no clock, thread, socket or file.
//!
//! The crate has no dependencies and needs `alloc` alone. It keeps ABI 1
//! (sdk/abi/SPEC.md; the clauses are named where they are kept). Bytes that break it,
//! and more than a batch may hold (1 MiB, 8192 effects), panic: the host throws the
//! instance away and starts a fresh one.
#![no_std]

extern crate alloc;

mod env;
mod event;
#[doc(hidden)]
pub mod guest;

pub use env::{Class, Env, LogLevel};
pub use event::{pairs, state_entry, tags, Event, Kind, Open, Origin, PeerInfo, Start, StartReason, Tags, Version};

/// A session with a peer, until its [`Kind::PEER_DOWN`].
pub type Peer = u32;
/// A subprotocol.
pub type Id = u16;
/// A stream, a timer or a question. Ours are odd, the host's even.
pub type Ref = u64;
/// A node's public key.
pub type NodeId = [u8; 32];

/// Events in, effects out.
pub trait Module {
    fn handle(&mut self, env: &mut Env, ev: &Event);
}

/// Why a peer went away: arg of [`Kind::PEER_DOWN`].
pub mod down {
    pub const GOODBYE: u64 = 1;
    pub const DEAD: u64 = 2;
    /// It restarted; a new session follows.
    pub const REPLACED: u64 = 3;
    /// The id is no longer agreed.
    pub const AGREEMENT: u64 = 4;
    /// This host closed the session.
    pub const LOCAL: u64 = 5;
    /// A rule of one of the two operators forbids it.
    pub const DENIED: u64 = 6;
}

/// Why a stream was reset or a connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Code {
    Cancelled = 0,
    Unimplemented = 1,
    UnsupportedId = 2,
    PermissionDenied = 3,
    Overloaded = 4,
    ModuleRestarted = 5,
    Draining = 6,
    DeadlineExceeded = 7,
    PeerGone = 8,
    NoRoute = 9,
    FlowControl = 10,
    InvalidArgument = 11,
    NotFound = 12,
    Internal = 13,
    HandshakeFailed = 14,
}

/// Limits of ABI 1 (A5), in bytes where nothing else is said.
pub mod limits {
    pub const BATCH_EVENTS: u32 = 256;
    pub const BATCH_BYTES: usize = 256 << 10;
    pub const EFFECTS: u32 = 8192;
    pub const EFFECT_BYTES: usize = 1 << 20;
    pub const MESSAGE: usize = 64 << 10;
    pub const STREAM_DATA: usize = 64 << 10;
    pub const INITIAL_CREDIT: u64 = 256 << 10;
    pub const OPEN: usize = 4 << 10;
    pub const STATE_KEY: usize = 1 << 10;
    pub const STATE_VALUE: usize = 64 << 10;
    pub const LOG: usize = 1 << 10;
    /// The shortest timer, in nanoseconds.
    pub const MIN_TIMER: u64 = 1_000_000;
}

/// Makes the exports of a guest (A6) around the module that the expression gives.
#[macro_export]
macro_rules! module {
    ($new:expr) => {
        static NETHOST_GUEST: $crate::guest::Cell = $crate::guest::Cell::new();

        #[no_mangle]
        pub extern "C" fn nethost_abi_1() {}

        #[no_mangle]
        pub extern "C" fn nethost_buffer(n: u32) -> *mut u8 {
            NETHOST_GUEST.buffer(n)
        }

        #[no_mangle]
        pub extern "C" fn nethost_handle(at: *const u8, n: u32) -> u64 {
            NETHOST_GUEST.handle(at, n, || $crate::guest::boxed($new))
        }
    };
}
