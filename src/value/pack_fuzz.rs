//! Seeded edits of a pack against a vector of byte strings.

#![forbid(unsafe_code)]

use super::pack::{Pack, Piece, Place};
use crate::base::prng::Prng;

/// Texts around every border between two forms, and some in between.
fn element(prng: &mut Prng) -> Vec<u8> {
    let borders = [0, 127, 128, 4095, 4096, 1 << 15, 1 << 23, 1 << 31, i64::MAX - 3];
    match prng.below(10) {
        0..5 => {
            let near = borders[prng.below(borders.len() as u64) as usize] + (prng.below(5) as i64 - 2);
            let value = if prng.chance(1, 2) { near } else { -near };
            value.to_string().into_bytes()
        }
        5 => [&b"007"[..], b"-0", b"+1", b" 1", b"1 ", b"-", b"", b"99999999999999999999"][prng.below(8) as usize]
            .to_vec(),
        _ => {
            let lens = [1, 5, 62, 63, 64, 65, 300, 4095, 4096];
            let bound = if prng.chance(1, 8) { lens.len() } else { 5 };
            let len = lens[prng.below(bound as u64) as usize];
            (0..len).map(|_| prng.below(4) as u8 + b'a').collect()
        }
    }
}

fn texts(pack: &Pack) -> Vec<Vec<u8>> {
    pack.iter().map(Piece::to_vec).collect()
}

/// Runs `events` random edits from `seed`.
pub fn drive(seed: u64, events: usize) {
    let mut prng = Prng::seeded(seed);
    let mut pack = Pack::new();
    let mut model: Vec<Vec<u8>> = Vec::new();
    for event in 0..events {
        let index = prng.below(model.len() as u64 + 1) as usize;
        let at = pack.place(index).unwrap_or(pack.end());
        let (one, two) = (element(&mut prng), element(&mut prng));
        match prng.below(if model.len() > 60 { 14 } else { 9 }) {
            0 => (pack.push(&one), model.push(one)).1,
            1 => (pack.insert(at, &one), model.insert(index, one)).1,
            2 => {
                pack.insert_all(at, &[&one, &two]);
                model.splice(index..index, [one, two]);
            }
            3 => {
                pack.insert_pieces(at, &[Piece::Bytes(&one), Piece::Int(-77)]);
                model.splice(index..index, [one, b"-77".to_vec()]);
            }
            4 if index < model.len() => (pack.replace(at, &one), model[index] = one).1,
            5 => check_find(&pack, &model, &mut prng),
            6 => {
                pack.push_all(&[&one, &two]);
                model.extend([one, two]);
            }
            _ => {
                let count = prng.below(4) as usize;
                let left = (model.len() - index).min(count);
                assert_eq!(pack.remove(at, count), left, "seed {seed} event {event}");
                model.drain(index..index + left);
            }
        }
        assert_eq!(pack.len(), model.len(), "seed {seed} event {event}");
        assert!(texts(&pack) == model, "seed {seed} event {event}");
        let cost: usize = model.iter().map(|text| Pack::cost(text)).sum();
        assert_eq!(pack.bytes(), if model.is_empty() { 0 } else { cost + 2 }, "seed {seed} event {event}");
    }
    assert!(texts(&pack.clone()) == model);
}

/// Looks for an element that is there, or for one that may not be.
fn check_find(pack: &Pack, model: &[Vec<u8>], prng: &mut Prng) {
    let (stride, skip) = (1 + prng.below(3) as usize, prng.below(3) as usize);
    let wanted = match model.len() {
        0 => element(prng),
        count if prng.chance(2, 3) => model[prng.below(count as u64) as usize].clone(),
        _ => element(prng),
    };
    let expected = (skip..model.len()).step_by(stride).find(|&index| model[index] == wanted);
    let place: Option<Place> = expected.map(|index| pack.place(index).expect("a place of the model"));
    assert_eq!(pack.find(&wanted, stride, skip), place);
    if let Some(place) = place {
        assert!(pack.at(place).expect("an element").is(&wanted));
    }
}

#[test]
fn random_edits_agree_with_a_vector() {
    if cfg!(miri) {
        return drive(1, 150);
    }
    (0..30).for_each(|seed| drive(seed, 1500));
}

#[test]
fn integers_are_short_and_keep_their_text() {
    for (text, bytes) in [
        ("0", 1),
        ("127", 1),
        ("128", 2),
        ("-1", 2),
        ("4095", 2),
        ("-4096", 2),
        ("4096", 3),
        ("-32768", 3),
        ("32768", 4),
        ("8388608", 5),
        ("2147483648", 9),
        ("-9223372036854775808", 9),
        ("9223372036854775807", 9),
        ("9223372036854775808", 20),
        ("00", 3),
    ] {
        let mut pack = Pack::new();
        pack.push(text.as_bytes());
        assert_eq!(pack.bytes(), bytes + 2, "{text}");
        assert!(pack.get(0).is_some_and(|piece| piece.is(text.as_bytes())), "{text}");
    }
}

#[test]
fn more_elements_than_the_count_can_say_are_counted_by_walking() {
    let mut pack = Pack::new();
    let many: Vec<&[u8]> = vec![b"1"; 65_533];
    pack.push_all(&many);
    for count in 65_534..65_540 {
        pack.push(b"2");
        assert_eq!(pack.len(), count);
    }
    for count in (65_530..65_539).rev() {
        assert_eq!(pack.remove(pack.first(), 1), 1);
        assert_eq!(pack.len(), count);
    }
    assert_eq!(pack.remove(pack.first(), usize::MAX), 65_530);
    assert!(pack.is_empty() && pack.memory() == 0);
}

#[test]
fn a_name_is_found_with_its_number_and_without() {
    let mut pack = Pack::new();
    (0..200).for_each(|n| pack.push_field(b"a common name", &[Piece::Int(n)]));
    let unnumbered = 200 * (1 + 13) + 128 + 72 * 2 + 2;
    assert!(pack.bytes() < unnumbered, "the last ones are numbers: {} bytes", pack.bytes());
    assert_eq!(pack.find(b"another name", 2, 0), pack.find_name(b"another name", 2));
    for left in (0..200).rev() {
        assert!(pack.iter().step_by(2).all(|name| name == Piece::Bytes(b"a common name")));
        let found = pack.find_name(b"a common name", 2);
        assert_eq!(found, Some(pack.first()));
        assert_eq!((pack.remove(pack.first(), 2), pack.len()), (2, 2 * left));
    }
    assert_eq!(pack.find_name(b"a common name", 2), None);
}
