//! Connections by slot. A token finds its connection only while its generation is the one that lives there.

use super::{SLOT_COUNT_MAX, Token};

/// A vector of connections, indexed by `Token::slot`.
pub(super) struct Slots<C> {
    entries: Vec<Option<Entry<C>>>,
}

struct Entry<C> {
    generation: u32,
    conn: C,
}

impl<C> Slots<C> {
    pub fn new() -> Self {
        Slots { entries: Vec::new() }
    }

    /// Puts a connection in. The slot must be free.
    pub fn insert(&mut self, token: Token, conn: C) {
        assert!(token.slot < SLOT_COUNT_MAX, "slot {} cannot be named in 64 bits", token.slot);
        let index = token.slot as usize;
        if index >= self.entries.len() {
            self.entries.resize_with(index + 1, || None);
        }
        assert!(self.entries[index].is_none(), "slot {index} is open already");
        self.entries[index] = Some(Entry { generation: token.generation, conn });
    }

    #[inline]
    pub fn get(&self, token: Token) -> Option<&C> {
        match self.entries.get(token.slot as usize) {
            Some(Some(entry)) if entry.generation == token.generation => Some(&entry.conn),
            _ => None,
        }
    }

    #[inline]
    pub fn get_mut(&mut self, token: Token) -> Option<&mut C> {
        match self.entries.get_mut(token.slot as usize) {
            Some(Some(entry)) if entry.generation == token.generation => Some(&mut entry.conn),
            _ => None,
        }
    }

    /// Takes a connection out; its slot is free from here on.
    pub fn remove(&mut self, token: Token) -> Option<C> {
        self.get(token)?;
        self.entries[token.slot as usize].take().map(|entry| entry.conn)
    }

    /// All tokens in use.
    pub fn tokens(&self) -> Vec<Token> {
        let entries = self.entries.iter().enumerate();
        let token = |(index, entry): (usize, &Option<Entry<C>>)| {
            entry.as_ref().map(|entry| Token { slot: index as u32, generation: entry.generation })
        };
        entries.filter_map(token).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_an_earlier_generation_finds_nothing() {
        let mut slots = Slots::new();
        let (old, new) = (Token { slot: 3, generation: 1 }, Token { slot: 3, generation: 2 });
        slots.insert(old, 'a');
        assert_eq!(slots.remove(old), Some('a'));
        slots.insert(new, 'b');
        assert!(slots.get(old).is_none() && slots.get_mut(old).is_none() && slots.remove(old).is_none());
        assert_eq!(slots.get(new), Some(&'b'));
    }
}
