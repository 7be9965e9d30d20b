//! Classes of keyspace events, as `notify-keyspace-events` names them.
//!
//! ```text
//! K E      where to publish: __keyspace@db__:key, __keyevent@db__:event
//! g        commands of all types: DEL, EXPIRE, RENAME, …
//! $ l s h z t d   one type each; d: modules
//! x e      a key has expired, was evicted
//! m n      a read has found no key, a key has come into being: only if named, A does not mean them
//! ```

/// A set of classes, or one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Class(u32);

impl Class {
    pub const NONE: Class = Class(0);
    /// Where events are published: by key, by event.
    pub const KEYSPACE: Class = Class(1 << 0);
    pub const KEYEVENT: Class = Class(1 << 1);
    pub const GENERIC: Class = Class(1 << 2);
    pub const STRING: Class = Class(1 << 3);
    pub const LIST: Class = Class(1 << 4);
    pub const SET: Class = Class(1 << 5);
    pub const HASH: Class = Class(1 << 6);
    pub const ZSET: Class = Class(1 << 7);
    pub const EXPIRED: Class = Class(1 << 8);
    pub const EVICTED: Class = Class(1 << 9);
    pub const STREAM: Class = Class(1 << 10);
    pub const MISS: Class = Class(1 << 11);
    pub const MODULE: Class = Class(1 << 12);
    pub const NEW: Class = Class(1 << 13);
    /// Bits from here on are free for whoever keeps a class in a word.
    pub const BITS: u32 = 14;

    const LETTERS: [(u8, Class); 14] = [
        (b'K', Class::KEYSPACE),
        (b'E', Class::KEYEVENT),
        (b'g', Class::GENERIC),
        (b'$', Class::STRING),
        (b'l', Class::LIST),
        (b's', Class::SET),
        (b'h', Class::HASH),
        (b'z', Class::ZSET),
        (b'x', Class::EXPIRED),
        (b'e', Class::EVICTED),
        (b't', Class::STREAM),
        (b'm', Class::MISS),
        (b'd', Class::MODULE),
        (b'n', Class::NEW),
    ];

    /// The classes that a value of the parameter names; letters that mean nothing are passed over.
    /// They come to nothing if it does not say where to publish.
    pub fn of_letters(text: &[u8]) -> Class {
        let class = |letter: &u8| match letter {
            b'A' => b"g$lshzxetd".iter().fold(0, |all, letter| all | Self::of_letter(*letter).0),
            letter => Self::of_letter(*letter).0,
        };
        let all = Class(text.iter().fold(0, |all, letter| all | class(letter)));
        if all.has(Class(Class::KEYSPACE.0 | Class::KEYEVENT.0)) { all } else { Class::NONE }
    }
    fn of_letter(letter: u8) -> Class {
        Self::LETTERS.iter().find(|(own, _)| *own == letter).map_or(Class::NONE, |&(_, class)| class)
    }
    /// Do the two have any class in common?
    #[inline]
    pub const fn has(self, other: Class) -> bool {
        self.0 & other.0 != 0
    }
    pub const fn bits(self) -> u32 {
        self.0
    }
    /// The classes in the lower bits of a word.
    pub const fn of_bits(word: u32) -> Class {
        Class(word & ((1 << Self::BITS) - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_name_classes_once_it_is_said_where_to_publish() {
        assert_eq!(Class::of_letters(b"Ag$"), Class::NONE);
        let all = Class::of_letters(b"AE");
        assert!(
            all.has(Class::KEYEVENT) && all.has(Class::STREAM) && all.has(Class::EXPIRED) && all.has(Class::MODULE)
        );
        assert!(!all.has(Class::KEYSPACE) && !all.has(Class::MISS) && !all.has(Class::NEW));
        let few = Class::of_letters(b"Kmn$");
        assert!(few.has(Class::MISS) && few.has(Class::NEW) && few.has(Class::STRING) && !few.has(Class::GENERIC));
        assert_eq!(Class::of_bits(few.bits() | 1 << Class::BITS), few);
    }
}
