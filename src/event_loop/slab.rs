//! The connections of one loop, found by token. A slot is used again under another generation, so that a late token is
//! recognised.

use super::conn::Conn;
use crate::ring::Token;

/// See the module header. A connection is boxed: an empty slot costs 16 bytes and growth moves no connection.
#[derive(Default)]
pub struct Slab {
    slots: Vec<Slot>,
    free: Vec<u32>,
    count: usize,
}

struct Slot {
    generation: u32,
    conn: Option<Box<Conn>>,
}

impl Slab {
    /// Number of connections.
    pub fn count(&self) -> usize {
        self.count
    }
    /// Number of slots, free ones included: for walking by index.
    pub fn slot_count(&self) -> usize {
        self.slots.len()
    }
    /// Puts a connection into a free slot; `make` gets its token.
    pub fn insert(&mut self, make: impl FnOnce(Token) -> Conn) -> Token {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, conn: None });
            self.slots.len() as u32 - 1
        });
        let entry = &mut self.slots[slot as usize];
        let token = Token { slot, generation: entry.generation };
        assert!(entry.conn.is_none(), "a free slot is empty");
        entry.conn = Some(Box::new(make(token)));
        self.count += 1;
        token
    }
    /// Takes a connection out; its token is stale from here on.
    pub fn remove(&mut self, token: Token) -> Option<Box<Conn>> {
        self.get(token)?;
        let entry = &mut self.slots[token.slot as usize];
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(token.slot);
        self.count -= 1;
        entry.conn.take()
    }
    /// The connection of `token`; None if it is closed.
    #[inline]
    pub fn get(&mut self, token: Token) -> Option<&mut Conn> {
        let entry = self.slots.get_mut(token.slot as usize)?;
        if entry.generation != token.generation {
            return None;
        }
        entry.conn.as_deref_mut()
    }
    /// The connection in slot `index`, whatever its generation.
    #[inline]
    pub fn at(&mut self, index: usize) -> Option<&mut Conn> {
        self.slots.get_mut(index)?.conn.as_deref_mut()
    }
    /// All connections.
    pub fn iter(&mut self) -> impl Iterator<Item = &mut Conn> {
        self.slots.iter_mut().filter_map(|slot| slot.conn.as_deref_mut())
    }
}
