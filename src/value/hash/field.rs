//! A field of a large hash: name, value and perhaps a deadline in one allocation behind one thin pointer.
//!
//! ```text
//! [2 · name's length + (1 if there is a deadline), LEB128][deadline: 8 bytes, little-endian][name …][value …]
//! ```

#![forbid(unsafe_code)]

use crate::base::clock::WallMs;
use crate::value::block::Block;
use crate::value::hash_table::Item;

/// See the module header.
#[derive(Clone)]
pub(super) struct Field(Block);

const DEADLINE_LEN: usize = 8;

/// Where the parts of a field lie in its block.
struct Layout {
    deadline: Option<WallMs>,
    /// Bytes in front of the deadline.
    head_len: usize,
    name_at: usize,
    value_at: usize,
}

/// The head's number in LEB128: seven bits a byte, the lowest first.
fn head(name_len: usize, is_timed: bool, out: &mut [u8; 10]) -> &[u8] {
    let (mut number, mut len) = ((name_len as u64) << 1 | is_timed as u64, 0);
    loop {
        out[len] = number as u8 & 0x7f;
        number >>= 7;
        len += 1;
        if number == 0 {
            return &out[..len];
        }
        out[len - 1] |= 0x80;
    }
}

impl Item for Field {
    #[inline]
    fn key(&self) -> &[u8] {
        self.name()
    }
    #[inline]
    fn address(&self) -> *const u8 {
        self.0.address()
    }
}

impl Field {
    pub fn new(name: &[u8], value: &[u8], deadline: Option<WallMs>) -> Self {
        let mut room = [0; 10];
        let head = head(name.len(), deadline.is_some(), &mut room);
        match deadline {
            Some(at) => Field(Block::of(&[head, &at.0.to_le_bytes(), name, value])),
            None => Field(Block::of(&[head, name, value])),
        }
    }
    #[inline]
    fn layout(&self) -> Layout {
        let bytes = self.0.bytes();
        let (mut number, mut head_len) = ((bytes[0] & 0x7f) as usize, 1);
        while bytes[head_len - 1] & 0x80 != 0 {
            number |= ((bytes[head_len] & 0x7f) as usize) << (7 * head_len);
            head_len += 1;
        }
        let deadline = (number & 1 != 0).then(|| bytes[head_len..].first_chunk()).flatten();
        let deadline = deadline.map(|&at| WallMs(u64::from_le_bytes(at)));
        let name_at = head_len + if deadline.is_some() { DEADLINE_LEN } else { 0 };
        Layout { deadline, head_len, name_at, value_at: name_at + (number >> 1) }
    }
    #[inline]
    pub fn name(&self) -> &[u8] {
        let Layout { name_at, value_at, .. } = self.layout();
        &self.0.bytes()[name_at..value_at]
    }
    #[inline]
    pub fn value(&self) -> &[u8] {
        &self.0.bytes()[self.layout().value_at..]
    }
    #[inline]
    pub fn deadline(&self) -> Option<WallMs> {
        self.layout().deadline
    }
    /// Is it past its deadline?
    #[inline]
    pub fn is_dead(&self, now: WallMs) -> bool {
        self.deadline().is_some_and(|at| at <= now)
    }
    pub fn set_value(&mut self, value: &[u8]) {
        let at = self.layout().value_at;
        self.0.splice(at..self.0.len(), &[value]);
    }
    /// Sets or removes the deadline; returns the old one.
    pub fn set_deadline(&mut self, deadline: Option<WallMs>) -> Option<WallMs> {
        let Layout { deadline: old, name_at, value_at, head_len } = self.layout();
        let mut room = [0; 10];
        let head = head(value_at - name_at, deadline.is_some(), &mut room);
        debug_assert_eq!(head.len(), head_len);
        match deadline {
            Some(at) => self.0.splice(0..name_at, &[head, &at.0.to_le_bytes()]),
            None => self.0.splice(0..name_at, &[head]),
        }
        old
    }
    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        self.0.memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stay_apart_whatever_their_lengths() {
        let lens = [0, 1, 62, 63, 64, 8191, 8192, 100_000];
        for (name_len, value_len) in lens.iter().flat_map(|&name| lens.map(|value| (name, value))) {
            let (name, value) = (vec![b'n'; name_len], vec![b'v'; value_len]);
            let mut field = Field::new(&name, &value, None);
            for deadline in [None, Some(WallMs(5)), Some(WallMs(u64::MAX)), None] {
                field.set_deadline(deadline);
                assert!(field.deadline() == deadline && field.name() == name && field.value() == value);
            }
            field.set_deadline(Some(WallMs(7)));
            field.set_value(b"new");
            assert!(field.is_dead(WallMs(7)) && !field.is_dead(WallMs(6)));
            assert!(field.name() == name && field.value() == b"new");
        }
    }
}
