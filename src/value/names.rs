//! Names that many small hashes share, kept once.
//!
//! A million hashes with the same eight fields would keep eight names a million times. A name that fields of small hashes
//! are given again and again gets a number, for good, and packs hold the number instead: two bytes (value/pack.rs).
//!
//! ```text
//! candidates   check 24 | count 8   × 1024     how often this thread has met a name lately; its hash says where
//! index        number + 1           × 8192     where a name's hash leads, and the places behind; 0: free
//! names        bytes                × 2816     by number; written once, never removed
//! ```
//! Nothing is written but once per name, and by each thread to its own candidates. A candidate that others drive out of its
//! place fades, so names that come once do not get numbers. There is room for 2816 of them; when it is used up, further names
//! are kept as ever.

#![forbid(unsafe_code)]

use crate::base::hash::element_hash;
use crate::base::sync::hint::{AtomicU16, AtomicUsize, Ordering::Relaxed};
use std::cell::Cell;
use std::sync::{Mutex, OnceLock, PoisonError};

/// A name's number, below `COUNT_MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number(pub u16);

/// As many as a pack can write in two bytes beside its other forms.
pub const COUNT_MAX: usize = 11 << 8;
/// Longer ones are rare, and shorter ones take no more than their numbers.
const LENS: std::ops::Range<usize> = 2..64;
/// A name that was met so often gets a number.
const OFTEN: u32 = 100;
const PLACES: usize = 8192;
const CANDIDATES: usize = 1024;
const COUNT_BITS: u32 = 8;

const _: () = assert!(COUNT_MAX * 2 < PLACES && OFTEN < 1 << COUNT_BITS);

static INDEX: [AtomicU16; PLACES] = [const { AtomicU16::new(0) }; PLACES];
static NAMES: [OnceLock<Box<[u8]>>; COUNT_MAX] = [const { OnceLock::new() }; COUNT_MAX];
/// How many names have numbers. Changed under `GIVING`.
static COUNT: AtomicUsize = AtomicUsize::new(0);
static GIVING: Mutex<()> = Mutex::new(());

thread_local!(static MET: [Cell<u32>; CANDIDATES] = const { [const { Cell::new(0) }; CANDIDATES] });

/// The name that has this number.
#[inline]
pub fn name(number: Number) -> &'static [u8] {
    match NAMES[number.0 as usize].get() {
        Some(name) => name,
        None => unreachable!("a number is given with its name"),
    }
}

/// The number of `name`, if it has one.
/// Cost: a hash and a look at two or three lines that all threads share and nobody writes to.
#[inline]
pub fn number(name: &[u8]) -> Option<Number> {
    if LENS.contains(&name.len()) && COUNT.load(Relaxed) > 0 { lookup(name, element_hash(name)).ok() } else { None }
}

/// A field is given this name: the name's number, if it has one or gets one now. `name` must not read as an integer.
#[inline]
pub fn meet(name: &[u8]) -> Option<Number> {
    if !LENS.contains(&name.len()) {
        return None;
    }
    let hash = element_hash(name);
    match lookup(name, hash) {
        Ok(number) => Some(number),
        Err(_) if COUNT.load(Relaxed) < COUNT_MAX && is_frequent(hash) => give(name, hash),
        Err(_) => None,
    }
}

/// The number of `name`, or the free place where the search has ended.
/// Order: what stands in the index may be seen before the name is: then the name has no number yet, as far as this goes.
#[inline]
fn lookup(name: &[u8], hash: u64) -> Result<Number, usize> {
    let mut place = hash as usize % PLACES;
    loop {
        match INDEX[place].load(Relaxed) {
            0 => return Err(place),
            next if NAMES[next as usize - 1].get().is_some_and(|found| **found == *name) => {
                return Ok(Number(next - 1));
            }
            _ => place = (place + 1) % PLACES,
        }
    }
}

/// Counts a name that has no number. Has it come often by now?
fn is_frequent(hash: u64) -> bool {
    let check = (hash >> 40 << COUNT_BITS) as u32;
    MET.with(|met| {
        let place = &met[(hash >> 20) as usize % CANDIDATES];
        let (seen, count) = (place.get(), place.get() & ((1 << COUNT_BITS) - 1));
        match () {
            () if count == 0 => place.set(check | 1),
            () if seen - count != check => place.set(seen - 1),
            () if count < OFTEN => place.set(seen + 1),
            () => return true,
        }
        false
    })
}

/// Gives `name` a number, unless another thread has done so meanwhile, or no number is left.
#[cold]
fn give(name: &[u8], hash: u64) -> Option<Number> {
    let _giving = GIVING.lock().unwrap_or_else(PoisonError::into_inner); // The process does not survive a panic.
    let free = match lookup(name, hash) {
        Ok(number) => return Some(number),
        Err(free) => free,
    };
    let number = COUNT.load(Relaxed);
    NAMES.get(number)?.set(name.into()).ok()?;
    INDEX[free].store(number as u16 + 1, Relaxed);
    COUNT.store(number + 1, Relaxed);
    Some(Number(number as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_comes_often_gets_a_number_and_keeps_it() {
        let word = b"a name of this test";
        let met: Vec<_> = (0..OFTEN + 2).map(|_| meet(word)).collect();
        assert!(met[..OFTEN as usize].iter().all(Option::is_none));
        let given = met[met.len() - 1].expect("it came often enough");
        assert_eq!((number(word), name(given)), (Some(given), &word[..]));
        assert_eq!(number(b"another name of this test"), None);
    }

    #[test]
    fn names_that_come_once_get_no_numbers_however_many_there_are() {
        for n in 0..100_000 {
            assert_eq!(meet(format!("once {n}").as_bytes()), None, "{n}");
        }
    }

    #[test]
    fn threads_that_give_a_name_a_number_agree() {
        let words: Vec<String> = (0..20).map(|n| format!("shared {n}")).collect();
        let numbers = |words: &[String]| -> Vec<_> {
            (0..OFTEN).for_each(|_| words.iter().for_each(|word| _ = meet(word.as_bytes())));
            words.iter().map(|word| meet(word.as_bytes())).collect()
        };
        let all: Vec<Vec<_>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| numbers(&words))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        // Two words may share a candidate, and drive each other out.
        for (word, given) in
            words.iter().zip(all.into_iter().reduce(|a, b| a.iter().zip(b).map(|(a, b)| a.or(b)).collect()).unwrap())
        {
            assert!(given.is_none_or(|given| number(word.as_bytes()) == Some(given)));
        }
    }

    #[test]
    fn what_takes_no_less_with_a_number_gets_none() {
        for word in [&b""[..], b"a", &[b'l'; 64]] {
            assert!((0..2 * OFTEN).all(|_| meet(word).is_none()));
        }
    }
}
