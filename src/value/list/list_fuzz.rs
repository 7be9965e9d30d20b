//! Seeded events on a list against an array of byte strings, with limits that change on the way.

use super::super::object::Collection;
use super::*;
use crate::base::prng::Prng;

/// Limits of all kinds: bytes, counts, compression at several depths, elements alone from a few bytes on.
fn any_limits(prng: &mut Prng) -> Limits {
    let size = [-1, -2, -5, 1, 2, 3, 10, 128, 0][prng.below(9) as usize];
    let depth = [0, 0, 1, 2, 5][prng.below(5) as usize];
    let alone_len = [0, 0, 20, 100][prng.below(4) as usize];
    Limits::new(size, depth).alone_from(alone_len)
}

/// Few short values, so that equal ones occur; now and then a long or a very long one.
fn any_value(prng: &mut Prng) -> Vec<u8> {
    match prng.below(200) {
        0..90 => prng.below(20).to_string().into_bytes(),
        90..120 => ((prng.next_u64() >> prng.below(64)) as i64).to_string().into_bytes(),
        120..180 => format!("value {}", prng.below(30)).into_bytes(),
        180..197 => vec![b'm'; prng.below(300) as usize],
        197..199 => vec![b'l'; prng.below(6000) as usize],
        _ => vec![b'x'; prng.below(70_000) as usize],
    }
}

fn any_end(prng: &mut Prng) -> End {
    if prng.chance(1, 2) { End::Front } else { End::Back }
}

fn text(element: Element<'_>) -> Vec<u8> {
    element.text(&mut itoa::Buffer::new()).to_vec()
}

/// The elements that a walk meets.
fn walked(list: &List, from: End, index: usize, count: usize) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    list.visit(from, index, count, |element| {
        found.push(text(element));
        ControlFlow::Continue(())
    });
    found
}

/// The list, the array that it must equal, and the limits of the moment.
struct Pair {
    list: List,
    model: Vec<Vec<u8>>,
    limits: Limits,
    /// A snapshot, and what it must still show.
    snapshot: Option<(Snapshot, Vec<Vec<u8>>)>,
}

impl Pair {
    /// Reads on in the snapshot, or takes one.
    fn read_snapshot(&mut self, prng: &mut Prng) {
        let Some((snapshot, wanted)) = &mut self.snapshot else {
            let index = prng.below(self.model.len() as u64 + 1) as usize;
            let count = prng.below((self.model.len() - index) as u64 + 1) as usize;
            let wanted = self.model[index..][..count].to_vec();
            self.snapshot = self.list.snapshot(index, count).map(|snapshot| (snapshot, wanted));
            return;
        };
        let mut seen = Vec::new();
        let is_more = snapshot.visit_some(|element| seen.push(text(element)));
        assert_eq!(seen, wanted.drain(..seen.len()).collect::<Vec<_>>());
        if !is_more {
            assert!(wanted.is_empty());
            self.snapshot = None;
        }
    }

    fn push(&mut self, prng: &mut Prng) {
        let (end, value) = (any_end(prng), any_value(prng));
        self.list.expect(value.len(), 1, &self.limits);
        self.list.push(end, &value, &self.limits);
        let at = if end == End::Front { 0 } else { self.model.len() };
        self.model.insert(at, value);
    }
    fn pop(&mut self, prng: &mut Prng) {
        let end = any_end(prng);
        let wanted = match end {
            End::Back => self.model.pop(),
            End::Front => (!self.model.is_empty()).then(|| self.model.remove(0)),
        };
        assert_eq!(self.list.pop(end, &self.limits, text), wanted);
    }
    fn drop_some(&mut self, prng: &mut Prng) {
        let (end, bits) = (any_end(prng), prng.below(12));
        let count = prng.below(1 << bits) as usize;
        self.list.drop_from(end, count, &self.limits);
        let count = count.min(self.model.len());
        match end {
            End::Front => drop(self.model.drain(..count)),
            End::Back => self.model.truncate(self.model.len() - count),
        }
    }
    fn change_within(&mut self, prng: &mut Prng) {
        let value = any_value(prng);
        self.list.expect(value.len(), 1, &self.limits);
        let at = prng.below(self.model.len() as u64 + 1) as usize;
        if prng.chance(1, 2) {
            self.list.insert(at, &value, &self.limits);
            self.model.insert(at, value);
        } else if at < self.model.len() {
            self.list.replace(at, &value, &self.limits);
            self.model[at] = value;
        }
    }
    fn remove_equal(&mut self, prng: &mut Prng) {
        let (value, from) = (any_value(prng), any_end(prng));
        let max = if prng.chance(1, 2) { usize::MAX } else { 1 + prng.below(5) as usize };
        let mut left = max;
        let mut keep = |item: &Vec<u8>| {
            let goes = *item == value && left > 0;
            left -= goes as usize;
            !goes
        };
        let before = self.model.len();
        if from == End::Front {
            self.model.retain(keep);
        } else {
            self.model.reverse();
            self.model.retain(&mut keep);
            self.model.reverse();
        }
        assert_eq!(self.list.remove_equal(&value, from, max, &self.limits), before - self.model.len());
    }
    fn look(&self, prng: &mut Prng) {
        let (from, count) = (any_end(prng), prng.below(300) as usize);
        let index = prng.below(self.model.len() as u64 + 2) as usize;
        let wanted: Vec<_> = match from {
            End::Front => self.model.iter().skip(index).take(count).cloned().collect(),
            End::Back if index < self.model.len() => self.model[..=index].iter().rev().take(count).cloned().collect(),
            End::Back => Vec::new(),
        };
        assert_eq!(walked(&self.list, from, index, count), wanted);
        assert_eq!(self.list.get(index, text).as_ref(), self.model.get(index));
    }
    fn compare(&self) {
        assert_eq!(self.list.count(), self.model.len());
        assert_eq!(walked(&self.list, End::Front, 0, usize::MAX), self.model);
        if let Some(last) = self.model.len().checked_sub(1) {
            let reversed: Vec<_> = self.model.iter().rev().cloned().collect();
            assert_eq!(walked(&self.list, End::Back, last, usize::MAX), reversed);
        }
        let text: usize = self.model.iter().map(Vec::len).sum();
        assert!(self.list.pieces() <= self.model.len().max(1));
        let (memory, count) = (self.list.memory(0), self.model.len());
        assert!(memory < 2000 + 160 * count + 5 * text, "{memory} bytes for {count} elements, {text} bytes of text");
    }
}

/// Runs `events` random operations from `seed`. Panics where list and model differ.
fn drive(seed: u64, events: usize) {
    let mut prng = Prng::seeded(seed);
    let mut pair = Pair { list: List::default(), model: Vec::new(), limits: any_limits(&mut prng), snapshot: None };
    for _ in 0..events {
        match prng.below(1000) {
            0..350 => pair.push(&mut prng),
            350..540 => pair.pop(&mut prng),
            540..545 => pair.drop_some(&mut prng),
            545..750 => pair.change_within(&mut prng),
            750..760 => pair.read_snapshot(&mut prng),
            760..790 => pair.remove_equal(&mut prng),
            790..980 => pair.look(&mut prng),
            980..985 => pair.limits = any_limits(&mut prng),
            985..990 => pair.list = pair.list.duplicate(),
            _ => pair.compare(),
        }
    }
    pair.compare();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_equal_arrays() {
        (0..40).for_each(|seed| drive(seed, 1500));
    }
    #[test]
    fn one_chunk_takes_pushes_at_both_ends() {
        let (mut list, limits) = (List::default(), Limits::new(-2, 0));
        (0..200).for_each(|value: u32| {
            list.push(
                if value.is_multiple_of(3) { End::Front } else { End::Back },
                value.to_string().as_bytes(),
                &limits,
            )
        });
        assert_eq!(list.encoding(), "listpack");
        assert_eq!(list.get(0, text).as_deref(), Some(&b"198"[..]));
        assert_eq!(list.get(199, text).as_deref(), Some(&b"199"[..]));
    }
    #[test]
    fn encodings_change_at_the_limit_and_at_half_of_it() {
        let (mut list, limits) = (List::default(), Limits::new(4, 0));
        for _ in 0..4 {
            list.expect(1, 1, &limits);
            list.push(End::Back, b"a", &limits);
        }
        assert_eq!(list.encoding(), "listpack");
        list.expect(1, 1, &limits);
        list.push(End::Back, b"b", &limits);
        assert_eq!(list.encoding(), "quicklist");
        list.drop_from(End::Back, 2, &limits);
        assert_eq!(list.encoding(), "quicklist");
        list.drop_from(End::Back, 1, &limits);
        assert_eq!(list.encoding(), "listpack");
    }
    #[test]
    fn a_million_elements_of_sixteen_bytes_take_less_than_nineteen_each() {
        for end in [End::Front, End::Back] {
            let (mut list, limits) = (List::default(), Limits::new(-2, 0));
            for value in 0..1_000_000u32 {
                let value = format!("value:{value:010}");
                list.expect(value.len(), 1, &limits);
                list.push(end, value.as_bytes(), &limits);
            }
            let each = list.memory(0) as f64 / 1e6;
            assert!(each < 18.6, "{each} bytes each");
        }
    }
    #[test]
    fn the_middle_of_a_long_list_is_squeezed() {
        let (mut list, mut plain) = (List::default(), List::default());
        let (deep, flat) = (Limits::new(-2, 1), Limits::new(-2, 0));
        for value in 0..10_000u32 {
            let value = format!("value:{value:010}");
            list.expect(value.len(), 1, &deep);
            list.push(End::Back, value.as_bytes(), &deep);
            plain.expect(value.len(), 1, &flat);
            plain.push(End::Back, value.as_bytes(), &flat);
        }
        assert!(list.memory(0) < plain.memory(0) / 2, "{} of {}", list.memory(0), plain.memory(0));
        assert_eq!(walked(&list, End::Front, 4990, 20), walked(&plain, End::Front, 4990, 20));
        while list.count() > 1 {
            assert_eq!(list.pop(End::Back, &deep, text), plain.pop(End::Back, &flat, text));
        }
    }
}
