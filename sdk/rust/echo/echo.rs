//! echo, subprotocol 0x0007: whatever arrives goes back. The same module as
//! subprotocols/builtin/echo, whose README has the clauses.
use std::collections::{HashMap, VecDeque};

use nethost::{Class, Env, Event, Kind, Module, Ref};

/// What one batch writes from held bytes, so that its effects stay under the limit
/// however many streams get credit at once (E6).
const DRAIN_BUDGET: usize = 512 << 10;

#[derive(Default)]
struct Echo {
    streams: HashMap<Ref, Stream>,
    ready: VecDeque<Ref>, // hold bytes and got credit; in order of arrival
    draining: bool,
}

#[derive(Default)]
struct Stream {
    credit: u64,    // bytes the far end still takes
    held: Vec<u8>,  // arrived, not yet written: at most the credit we gave
    fin: bool,      // the far end ended its side
    queued: bool,
}

impl Stream {
    /// Writes what credit and limit allow of data, which is all there is to write, and
    /// gives as much credit back (E3, E4, E5). Says how much, and whether that was the end.
    fn put(&mut self, env: &mut Env, reference: Ref, data: &[u8], limit: usize) -> (usize, bool) {
        let n = (data.len().min(limit) as u64).min(self.credit) as usize;
        let fin = self.fin && n == data.len();
        if n > 0 || fin {
            env.write(reference, &data[..n], fin);
            self.credit -= n as u64;
        }
        if n > 0 && !self.fin {
            env.credit(reference, n as u64);
        }
        (n, fin)
    }
}

impl Echo {
    fn data(&mut self, env: &mut Env, ev: &Event) {
        if let Some(s) = self.streams.get_mut(&ev.reference) {
            s.fin = ev.fin();
            let (n, end) = if s.held.is_empty() { s.put(env, ev.reference, ev.data, ev.data.len()) } else { (0, false) };
            s.held.extend_from_slice(&ev.data[n..]);
            if end {
                self.streams.remove(&ev.reference);
            }
        }
    }

    fn drain(&mut self, env: &mut Env) {
        let mut left = DRAIN_BUDGET;
        while left > 0 {
            let reference = match self.ready.front() {
                Some(r) => *r,
                None => break,
            };
            let mut over = true;
            if let Some(s) = self.streams.get_mut(&reference) {
                let held = std::mem::take(&mut s.held);
                let (n, end) = s.put(env, reference, &held, left);
                s.held = held;
                s.held.drain(..n);
                left -= n;
                over = end || s.held.is_empty() || s.credit == 0;
                s.queued = !over;
                if end {
                    self.streams.remove(&reference);
                }
            }
            if over {
                self.ready.pop_front();
            }
        }
        if !self.ready.is_empty() {
            let reference = env.new_ref();
            env.post(reference, &[]);
        } else if self.draining && self.streams.is_empty() {
            self.draining = false;
            env.drained();
        }
    }
}

impl Module for Echo {
    fn handle(&mut self, env: &mut Env, ev: &Event) {
        match ev.kind {
            Kind::MESSAGE => env.send(ev.peer, ev.id, Class::Realtime, ev.data),
            Kind::STREAM_OPEN => {
                self.streams.insert(ev.reference, Stream { credit: ev.arg, ..Default::default() });
            }
            Kind::STREAM_DATA => self.data(env, ev),
            Kind::STREAM_CREDIT => {
                if let Some(s) = self.streams.get_mut(&ev.reference) {
                    s.credit += ev.arg;
                    if !s.held.is_empty() && !s.queued {
                        s.queued = true;
                        self.ready.push_back(ev.reference);
                    }
                }
            }
            Kind::STREAM_RESET => {
                self.streams.remove(&ev.reference);
            }
            Kind::DRAIN => self.draining = true,
            Kind::FLUSH if self.draining || !self.ready.is_empty() => self.drain(env),
            _ => {}
        }
    }
}

nethost::module!(Echo::default());
