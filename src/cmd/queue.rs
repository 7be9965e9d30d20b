//! The commands of a transaction between MULTI and EXEC.
//!
//! ```text
//! bytes      [ command | command | command ]     as they came in, framing included: one copy per command
//! items      [ a a a   | a a     | a a a   ]     their arguments, with the hashes that the look stage has made
//! commands   where each of them begins
//! ```
//! Four lists per transaction, not an allocation per argument; and a queue that has done its work is used by the next MULTI
//! of the loop. Large arguments are shared with the buffers that they were received in.

use super::command::{Command, flag};
use crate::resp::args::{Arg, Args, LARGE, Parts};
use bytes::Bytes;

/// Queues that a loop keeps for the next transactions, and the bytes of the largest that it keeps.
const SPARE_COUNT_MAX: usize = 64;
const SPARE_LEN_MAX: usize = 64 << 10;

/// See the module header.
#[derive(Default)]
pub struct Queue {
    bytes: Vec<u8>,
    items: Vec<Arg>,
    large: Vec<Bytes>,
    commands: Vec<Queued>,
    /// What the rows of its commands say, together.
    flags: u32,
    /// A command was refused: EXEC will be, too.
    is_spoiled: bool,
    /// A command may touch more than the keys that it names.
    strays: bool,
}

/// Where a command begins in each list; it ends where the next one begins.
struct Queued {
    row: &'static Command,
    bytes_at: usize,
    items_at: u32,
    large_at: u32,
}

impl Queue {
    /// Number of commands.
    pub fn count(&self) -> usize {
        self.commands.len()
    }
    /// Does one of its commands have one of these flags?
    pub fn has(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }
    /// The flags of its commands.
    pub fn flags(&self) -> u32 {
        self.flags
    }
    pub fn is_spoiled(&self) -> bool {
        self.is_spoiled
    }
    /// Do all of its commands keep to the keys that they name?
    pub fn keeps_to_its_keys(&self) -> bool {
        !self.strays
    }
    /// May a command of it let others run in between (a script that takes too long)?
    pub fn may_yield(&self) -> bool {
        self.has(flag::ALONE)
    }
    /// Bytes of memory that its commands need, as CLIENT LIST shows them.
    pub fn len(&self) -> usize {
        let large: usize = self.large.iter().map(Bytes::len).sum();
        self.bytes.len() + size_of_val(&*self.items) + size_of_val(&*self.commands) + large
    }
    /// Has nothing been queued?
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }
    /// Adds a command, with what it says about itself. A transaction that cannot succeed keeps none.
    /// Cost: a copy of the command's bytes and of its list of arguments.
    #[inline]
    pub fn push(&mut self, row: &'static Command, args: Args<'_>, flags: u32) {
        if self.is_spoiled {
            return;
        }
        let Parts { buf, items, large } = *args.parts();
        let (bytes_at, items_at, large_at) = (self.bytes.len(), self.items.len() as u32, self.large.len() as u32);
        self.commands.push(Queued { row, bytes_at, items_at, large_at });
        let last = items.iter().rev().find(|item| item.offset != LARGE);
        self.bytes.extend_from_slice(&buf[..last.map_or(0, |item| (item.offset + item.len) as usize)]);
        self.items.extend_from_slice(items);
        if !large.is_empty() {
            self.large.extend_from_slice(large);
        }
        self.flags |= flags;
        self.strays |= !row.keeps_to_its_keys;
    }
    /// A command was refused: nothing of this will run.
    pub fn spoil(&mut self) {
        self.clear();
        self.is_spoiled = true;
    }
    /// Command `index`.
    #[inline]
    pub fn get(&self, index: usize) -> (&'static Command, Parts<'_>) {
        let command = &self.commands[index];
        let next = self.commands.get(index + 1);
        let items_end = next.map_or(self.items.len(), |next| next.items_at as usize);
        let large_end = next.map_or(self.large.len(), |next| next.large_at as usize);
        let parts = Parts {
            buf: &self.bytes[command.bytes_at..],
            items: &self.items[command.items_at as usize..items_end],
            large: &self.large[command.large_at as usize..large_end],
        };
        (command.row, parts)
    }
    fn clear(&mut self) {
        self.bytes.clear();
        self.items.clear();
        self.large.clear();
        self.commands.clear();
        (self.flags, self.is_spoiled, self.strays) = (0, false, false);
    }
}

/// Queues that nobody uses at the moment. One per loop.
#[derive(Default)]
pub struct Spares {
    #[expect(clippy::vec_box, reason = "a queue goes to its session and comes back in the same box")]
    queues: Vec<Box<Queue>>,
}

impl Spares {
    /// An empty queue.
    pub fn take(&mut self) -> Box<Queue> {
        self.queues.pop().unwrap_or_default()
    }
    /// Takes back a queue, if there is one, that has done its work.
    pub fn extend(&mut self, queue: Option<Box<Queue>>) {
        queue.into_iter().for_each(|queue| self.put(queue));
    }
    /// Takes back a queue that has done its work.
    pub fn put(&mut self, mut queue: Box<Queue>) {
        if self.queues.len() < SPARE_COUNT_MAX && queue.bytes.capacity() <= SPARE_LEN_MAX {
            queue.clear();
            self.queues.push(queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::table;
    use crate::cmd::testkit::Line;

    fn push(queue: &mut Queue, line: &str) {
        let line = Line::new(line);
        let parts = line.parts();
        let args = Args::of(&parts);
        let row = table::resolve(&args).unwrap();
        queue.push(row, args, row.flags);
    }

    fn words(queue: &Queue, index: usize) -> Vec<String> {
        let (row, parts) = queue.get(index);
        let text = |at| String::from_utf8_lossy(parts.get(at)).into_owned();
        [row.name.to_string()].into_iter().chain((0..parts.items.len()).map(text)).collect()
    }

    #[test]
    fn commands_come_out_as_they_went_in() {
        let mut queue = Queue::default();
        ["SET k v", "PING", "MSET a 1 b 2"].iter().for_each(|line| push(&mut queue, line));
        assert_eq!((queue.count(), queue.has(flag::WRITE), queue.has(flag::ADMIN)), (3, true, false));
        assert!(!queue.keeps_to_its_keys(), "PING names no keys");
        assert_eq!(words(&queue, 0), ["set", "SET", "k", "v"]);
        assert_eq!(words(&queue, 1), ["ping", "PING"]);
        assert_eq!(words(&queue, 2), ["mset", "MSET", "a", "1", "b", "2"]);
    }

    #[test]
    fn large_arguments_stay_with_their_commands() {
        let (mut queue, large) = (Queue::default(), [Bytes::from_static(b"first"), Bytes::from_static(b"second")]);
        let word = Arg { offset: 0, len: 3, hash: 0 };
        for value in &large {
            let parts = Parts {
                buf: b"SET",
                items: &[word, word, Arg { offset: LARGE, len: 0, hash: 0 }],
                large: std::slice::from_ref(value),
            };
            queue.push(table::lookup(b"set").unwrap(), Args::of(&parts), flag::WRITE);
        }
        assert_eq!((words(&queue, 0)[3].as_str(), words(&queue, 1)[3].as_str()), ("first", "second"));
    }

    #[test]
    fn a_spoiled_queue_keeps_nothing_and_comes_back_clean() {
        let (mut spares, mut queue) = (Spares::default(), Box::<Queue>::default());
        push(&mut queue, "SET k v");
        queue.spoil();
        push(&mut queue, "SET k v");
        assert_eq!((queue.count(), queue.is_spoiled(), queue.len()), (0, true, 0));
        spares.put(queue);
        assert!(!spares.take().is_spoiled());
    }
}
