//! counter, subprotocol 0x1001: a number that peers and applications add to, kept
//! across restarts. The same module as subprotocols/wasm/counter.
//!
//! Every call is one stream: open with a method, data, FIN; the answer is a decimal
//! number. "get" (or no method) answers the value, "add" adds the number in the
//! data, "messages" answers how many messages arrived.
use std::collections::HashMap;

use nethost::{state_entry, Code, Env, Event, Kind, LogLevel, Module, Open, Ref, Start};

/// A signed 64-bit number has at most 20 characters, and people put a newline behind it.
const MAX_ARGUMENT: usize = 32;
const MAX_CALLS: usize = 4096;

#[derive(Clone, Copy, PartialEq)]
enum Method {
    Get,
    Add,
    Messages,
}

#[derive(Default)]
struct Counter {
    value: i64,
    messages: i64,
    changed: bool, // since the last put
    kept: bool,    // the grant state is held
    calls: HashMap<Ref, (Method, Vec<u8>)>,
}

fn number(b: &[u8]) -> Option<i64> {
    std::str::from_utf8(b).ok()?.trim_end_matches(|c| c == '\n' || c == '\r').parse().ok()
}

impl Counter {
    fn restore(&mut self, env: &mut Env, entry: &[u8]) {
        match state_entry(entry).and_then(|(key, val)| Some((key, number(val)?))) {
            Some((b"value", n)) => self.value = n,
            Some((b"messages", n)) => self.messages = n,
            Some(_) => {}
            None => env.log(LogLevel::Warn, "a state entry is not a number: starting it from 0"),
        }
    }

    fn open(&mut self, env: &mut Env, ev: &Event) {
        let method = match Open::parse(ev.data).map(|o| o.method) {
            Some("") | Some("get") => Method::Get,
            Some("add") => Method::Add,
            Some("messages") => Method::Messages,
            Some(_) => return env.reset(ev.reference, Code::Unimplemented, "counter has the methods get, add and messages"),
            None => return env.reset(ev.reference, Code::InvalidArgument, "malformed open"),
        };
        if self.calls.len() == MAX_CALLS {
            return env.reset(ev.reference, Code::Overloaded, "too many calls at once: try again later");
        }
        self.calls.insert(ev.reference, (method, Vec::new()));
    }

    fn data(&mut self, env: &mut Env, ev: &Event) {
        let (method, data) = match self.calls.get_mut(&ev.reference) {
            Some(call) => call,
            None => return,
        };
        data.extend_from_slice(ev.data);
        if data.len() <= MAX_ARGUMENT && !ev.fin() {
            return;
        }
        let answer = match method {
            _ if data.len() > MAX_ARGUMENT => Err("more than 32 bytes of data: want one decimal number"),
            Method::Get => Ok(self.value),
            Method::Messages => Ok(self.messages),
            Method::Add => match number(data) {
                Some(n) => self.value.checked_add(n).ok_or("the sum does not fit 64 bits"),
                None => Err("not a decimal number of 64 bits"),
            },
        };
        if let (Method::Add, Ok(n)) = (*method, answer) {
            self.value = n;
            self.changed = true;
        }
        self.calls.remove(&ev.reference);
        match answer {
            Ok(n) => env.write(ev.reference, n.to_string().as_bytes(), true),
            Err(why) => env.reset(ev.reference, Code::InvalidArgument, why),
        }
    }
}

impl Module for Counter {
    fn handle(&mut self, env: &mut Env, ev: &Event) {
        match ev.kind {
            Kind::STATE => self.restore(env, ev.data),
            Kind::START => self.kept = Start::parse(ev.data).map_or(false, |s| s.state_limit > 0),
            Kind::MESSAGE => {
                self.messages += 1;
                self.changed = true;
                env.count("messages", 1);
            }
            Kind::STREAM_OPEN => self.open(env, ev),
            Kind::STREAM_DATA => self.data(env, ev),
            Kind::STREAM_RESET => {
                self.calls.remove(&ev.reference);
            }
            Kind::DRAIN => env.drained(),
            Kind::FLUSH => {
                if self.kept && self.changed {
                    env.put(b"value", self.value.to_string().as_bytes());
                    env.put(b"messages", self.messages.to_string().as_bytes());
                }
                self.changed = false;
            }
            _ => {}
        }
    }
}

nethost::module!(Counter::default());
