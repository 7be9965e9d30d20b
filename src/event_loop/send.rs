//! Output: buffers come from the loop's pool when a client starts to be answered, leave as a message, and come back when
//! the message is sent. A client that waits for nothing owns no buffer.
//!
//! Where memory is limited, replies are known to the byte: what the pool keeps and what is in flight, here; what clients'
//! outputs hold, `charge`. A long output goes out in parts that refer to its buffer, and the buffer is free when the last
//! part is: it counts until then, whoever drops it.

use crate::base::heap::block_len;
use crate::resp::reply::Output;
use crate::ring::{Insert, Message};
use bytes::Bytes;
use std::cell::Cell;

/// Buffers the pool keeps, and the largest it takes back. 1024: every client of a full turn.
const POOL_COUNT_MAX: usize = 1024;
const POOL_BUFFER_MAX: usize = 64 << 10;
/// Bytes of one message at most, and so of one client in one turn: the kernel copies them while the loop waits for it, in
/// some 60 µs.
const MESSAGE_LEN_MAX: usize = 256 << 10;
/// Room of a fresh buffer.
const BUFFER_LEN: usize = 512;

thread_local! {
    /// Bytes of buffers that this thread has cut up, less those that it has freed.
    static IN_PARTS: Cell<usize> = const { Cell::new(0) };
}

/// A buffer that is sent in parts.
struct Parted(Vec<u8>);

impl Parted {
    fn new(mut buffer: Vec<u8>) -> Self {
        buffer.shrink_to_fit(); // It has grown by doubling, and a slow reader keeps it for long.
        IN_PARTS.set(IN_PARTS.get().wrapping_add(block_len(buffer.capacity())));
        Parted(buffer)
    }
}

impl AsRef<[u8]> for Parted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Parted {
    fn drop(&mut self) {
        let len = block_len(self.0.capacity());
        let _ = IN_PARTS.try_with(|total| total.set(total.get().wrapping_sub(len))); // The thread is ending.
    }
}

/// Output buffers that nobody uses at the moment, and how much memory those have that are being sent.
pub struct Pool {
    buffers: Vec<Vec<u8>>,
    /// Bytes that it may keep.
    kept_max: usize,
    /// Bytes of `buffers`, and of those in flight.
    kept_len: usize,
    flying_len: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Pool { buffers: Vec::new(), kept_max: usize::MAX, kept_len: 0, flying_len: 0 }
    }
}

impl Pool {
    /// From now on it keeps no more bytes than that.
    pub fn keep_at_most(&mut self, len: usize) {
        self.kept_max = len;
    }
    /// Gives `output` a buffer if it has none. Returns the bytes of a fresh one.
    #[inline]
    pub fn equip(&mut self, output: &mut Output) -> usize {
        if output.buf.capacity() > 0 {
            return 0;
        }
        match self.buffers.pop() {
            Some(buffer) => {
                self.kept_len -= block_len(buffer.capacity());
                output.buf = buffer;
                0
            }
            None => {
                output.buf = Vec::with_capacity(BUFFER_LEN);
                BUFFER_LEN
            }
        }
    }
    /// Takes a buffer back.
    #[inline]
    pub fn put(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() <= POOL_BUFFER_MAX && buffer.capacity() > 0 && self.buffers.len() < POOL_COUNT_MAX {
            debug_assert!(buffer.is_empty(), "a sent message comes back empty");
            let kept_len = self.kept_len + block_len(buffer.capacity());
            if kept_len <= self.kept_max {
                self.kept_len = kept_len;
                self.buffers.push(buffer);
            }
        }
    }
    /// A message goes out.
    #[inline]
    pub fn depart(&mut self, message: &Message) {
        self.flying_len += block_len(message.small.capacity());
    }
    /// It has been sent, or given up.
    #[inline]
    pub fn come_back(&mut self, message: Message) {
        debug_assert!(self.flying_len >= block_len(message.small.capacity()), "what comes back has departed");
        self.flying_len = self.flying_len.saturating_sub(block_len(message.small.capacity()));
        self.put(message.small);
    }
    /// Bytes of all buffers that belong to no client, or that are sent in parts.
    pub fn len(&self) -> usize {
        let in_parts = IN_PARTS.get() as isize; // Negative: this thread has freed what others have cut up.
        self.kept_len + self.flying_len + in_parts.max(0) as usize
    }
    /// Frees half of the buffers: called now and then, so that a burst does not hold memory for ever.
    pub fn shrink(&mut self) {
        self.buffers.truncate(self.buffers.len() / 2);
        self.kept_len = self.buffers.iter().map(|buffer| block_len(buffer.capacity())).sum();
    }
}

/// The next message out of what waits: everything, or `MESSAGE_LEN_MAX` bytes of it.
#[inline]
pub fn message(output: &mut Output, pending_len: usize) -> Message {
    if pending_len > MESSAGE_LEN_MAX {
        return part(output);
    }
    let Output { buf: small, refs } = std::mem::take(output);
    let large = refs.into_iter().map(|(at, bytes)| Insert { at, bytes }).collect();
    Message { small, large }
}

/// A message of the first bytes that wait. Nothing is copied: the rest stays as references.
#[cold]
fn part(output: &mut Output) -> Message {
    if !output.buf.is_empty() {
        all_by_reference(output);
    }
    let (mut large, mut len) = (Vec::new(), 0);
    for (_, bytes) in &mut output.refs {
        if bytes.is_empty() {
            continue;
        }
        let piece = bytes.split_to(bytes.len().min(MESSAGE_LEN_MAX - len));
        len += piece.len();
        large.push(Insert { at: 0, bytes: piece });
        if len == MESSAGE_LEN_MAX {
            break;
        }
    }
    output.refs.retain(|(_, bytes)| !bytes.is_empty());
    Message { small: Vec::new(), large }
}

/// Turns the contiguous bytes into references between those that there are.
fn all_by_reference(output: &mut Output) {
    let mut small = Bytes::from_owner(Parted::new(std::mem::take(&mut output.buf)));
    let (mut refs, mut from) = (Vec::with_capacity(output.refs.len() * 2 + 1), 0);
    for (at, bytes) in output.refs.drain(..) {
        refs.push((0, small.split_to(at - from)));
        refs.push((0, bytes));
        from = at;
    }
    refs.push((0, small));
    output.refs = refs;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stream that a message stands for.
    fn stream(message: &Message) -> Vec<u8> {
        let (mut stream, mut from) = (Vec::new(), 0);
        for Insert { at, bytes } in &message.large {
            stream.extend_from_slice(&message.small[from..*at]);
            stream.extend_from_slice(bytes);
            from = *at;
        }
        stream.extend_from_slice(&message.small[from..]);
        stream
    }

    #[test]
    fn a_long_output_leaves_in_parts_that_make_up_the_whole() {
        let letters = |from: usize, len: usize| (from..from + len).map(|n| (n % 251) as u8).collect::<Vec<u8>>();
        let buf = letters(0, 3 * MESSAGE_LEN_MAX / 2);
        let refs: Vec<(usize, Bytes)> = [(0, 7), (5, 2 * MESSAGE_LEN_MAX), (5, 1), (buf.len(), 3)]
            .map(|(at, len)| (at, letters(at, len).into()))
            .into();
        let mut output = Output { buf, refs };
        let whole = stream(&message(&mut Output { buf: output.buf.clone(), refs: output.refs.clone() }, 0));
        let mut parts = Vec::new();
        while parts.len() < whole.len() {
            let part = message(&mut output, whole.len() - parts.len());
            assert!((1..=MESSAGE_LEN_MAX).contains(&part.len()));
            parts.extend(stream(&part));
        }
        assert!(parts == whole && output.buf.is_empty() && output.refs.is_empty());
    }

    #[test]
    fn buffers_count_while_they_are_kept_and_sent_whole_or_in_parts() {
        let mut pool = Pool::default();
        let mut output = Output::default();
        assert_eq!((pool.equip(&mut output), pool.len()), (BUFFER_LEN, 0));
        output.buf.push(b'x');
        let whole = message(&mut output, 1);
        pool.depart(&whole);
        assert_eq!(pool.len(), BUFFER_LEN);
        pool.come_back(Message { small: Vec::with_capacity(BUFFER_LEN), ..whole });
        assert_eq!((pool.len(), pool.equip(&mut output), pool.len()), (BUFFER_LEN, 0, 0));
        let len = MESSAGE_LEN_MAX * 2;
        output.buf = Vec::with_capacity(len * 2);
        output.buf.resize(len, b'x');
        let first = message(&mut output, len);
        assert_eq!((pool.len(), output.len()), (len, len / 2), "all of it, and nothing that was reserved");
        drop(first);
        assert_eq!(pool.len(), len, "until the last part has gone");
        output.refs.clear();
        assert_eq!(pool.len(), 0);
    }
}
