//! The machinery behind `module!`; nothing for authors.
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::UnsafeCell;

use crate::env::{Env, HEADER, MAGIC};
use crate::event::{u32_at, u64_at, Event, Kind, Version};
use crate::{limits, Module};

/// One instance is one guest, and a guest has one thread.
pub struct Cell(UnsafeCell<Guest>);

// Exports are called by the host alone, one at a time.
unsafe impl Sync for Cell {}

struct Guest {
    module: Option<Box<dyn Module>>,
    input: Vec<u64>, // so that it is 8-aligned (A6.2)
    env: Env,
}

pub fn boxed<M: Module + 'static>(m: M) -> Box<dyn Module> {
    Box::new(m)
}

impl Cell {
    pub const fn new() -> Cell {
        Cell(UnsafeCell::new(Guest { module: None, input: Vec::new(), env: Env::new() }))
    }

    pub fn buffer(&self, n: u32) -> *mut u8 {
        let g = unsafe { &mut *self.0.get() };
        assert!(n as usize <= limits::BATCH_BYTES, "the host asks for room above the limit of a batch");
        let words = (n as usize + 7) / 8;
        if words > g.input.len() {
            g.input = Vec::new(); // what is in it is over
            g.input.resize(words, 0);
        }
        g.input.as_mut_ptr() as *mut u8
    }

    pub fn handle(&self, at: *const u8, n: u32, new: impl FnOnce() -> Box<dyn Module>) -> u64 {
        let g = unsafe { &mut *self.0.get() };
        let n = n as usize;
        assert!(at == g.input.as_ptr() as *const u8 && n <= g.input.len() * 8, "the batch is not in the buffer");
        let batch = unsafe { core::slice::from_raw_parts(at, n) };
        let module = g.module.get_or_insert_with(new);
        let sequence = run(batch, module.as_mut(), &mut g.env);
        let out = g.env.effects(sequence);
        if out.is_empty() {
            return 0;
        }
        (out.as_ptr() as usize as u64) << 32 | out.len() as u64
    }
}

fn run(batch: &[u8], module: &mut dyn Module, env: &mut Env) -> u64 {
    assert!(batch.len() >= HEADER && batch.len() <= limits::BATCH_BYTES, "malformed batch");
    let minor = 0xffff_u64 << 32; // A1.2
    assert!(u64_at(batch, 0) & !minor == MAGIC && u32_at(batch, 12) as usize == batch.len(), "malformed batch"); // A1.1, A1.3, A1.5
    let count = u32_at(batch, 8);
    assert!(count <= limits::BATCH_EVENTS, "malformed batch"); // A5.1
    env.begin(u64_at(batch, 24) as i64, u64_at(batch, 32) as i64);
    let mut rest = &batch[HEADER..];
    for _ in 0..count {
        assert!(rest.len() >= 32, "malformed record"); // A2.3
        let (head, after) = rest.split_at(32);
        let size = u32_at(head, 4) as usize;
        assert!(size <= after.len() && (size + 7) / 8 * 8 <= after.len(), "malformed record");
        let (padded, next) = after.split_at((size + 7) / 8 * 8);
        let (data, padding) = padded.split_at(size);
        assert!(padding.iter().all(|b| *b == 0), "malformed record"); // A2.2
        rest = next;
        let ev = Event {
            kind: Kind(u32_at(head, 0) as u16),
            flags: (u32_at(head, 0) >> 16) as u16,
            peer: u32_at(head, 8),
            id: u32_at(head, 12) as u16,
            version: Version { major: head[14], minor: head[15] },
            reference: u64_at(head, 16),
            arg: u64_at(head, 24),
            data,
        };
        env.backpressure(&ev);
        module.handle(env, &ev);
    }
    assert!(rest.is_empty(), "malformed batch"); // A1.4
    u64_at(batch, 16)
}
