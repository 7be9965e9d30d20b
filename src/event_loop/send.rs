//! Output: buffers come from the loop's pool when a client starts to be answered, leave as a message, and come back when
//! the message is sent. A client that waits for nothing owns no buffer.

use crate::resp::reply::Output;
use crate::ring::{Insert, Message};

/// Buffers the pool keeps, and the largest it takes back. 1024: every client of a full turn.
const POOL_COUNT_MAX: usize = 1024;
const POOL_BUFFER_MAX: usize = 64 << 10;
/// Room of a fresh buffer.
const BUFFER_LEN: usize = 512;

/// Output buffers that nobody uses at the moment.
#[derive(Default)]
pub struct Pool {
    buffers: Vec<Vec<u8>>,
}

impl Pool {
    /// Gives `output` a buffer if it has none.
    #[inline]
    pub fn equip(&mut self, output: &mut Output) {
        if output.buf.capacity() == 0 {
            output.buf = self.buffers.pop().unwrap_or_else(|| Vec::with_capacity(BUFFER_LEN));
        }
    }
    /// Takes a buffer back.
    #[inline]
    pub fn put(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() <= POOL_BUFFER_MAX && buffer.capacity() > 0 && self.buffers.len() < POOL_COUNT_MAX {
            debug_assert!(buffer.is_empty(), "a sent message comes back empty");
            self.buffers.push(buffer);
        }
    }
    /// Frees half of the buffers: called now and then, so that a burst does not hold memory for ever.
    pub fn shrink(&mut self) {
        self.buffers.truncate(self.buffers.len() / 2);
    }
}

/// Everything that waits, as one message.
#[inline]
pub fn message(output: Output) -> Message {
    let Output { buf: small, refs } = output;
    let large = refs.into_iter().map(|(at, bytes)| Insert { at, bytes }).collect();
    Message { small, large }
}
