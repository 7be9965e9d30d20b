//! The log on a disk that fails and forgets: after every cut of the power, what is loaded is a prefix of what was pushed, and
//! nothing is missing that was said to be durable.

use super::check::check;
use super::disk::Disk;
use super::disk::simulated::Simulated;
use super::log::Log;
use super::merge::Merged;
use super::replay::Commands;
use crate::base::ids::DbIndex;
use crate::base::prng::Prng;
use crate::keyspace::order::{Record, append_command};
use std::io::Cursor;

const STEM: &str = "a.aof";

/// What the files hold: the numbers of the groups, of each its first and last record.
fn loaded(log: &mut Log<Simulated>) -> (Vec<u64>, u64) {
    let parts: Vec<_> = log.manifest().parts().cloned().collect();
    let (mut numbers, mut good_len) = (Vec::new(), 0);
    for (index, part) in parts.iter().enumerate() {
        let bytes = log.disk().read(&part.name).unwrap().unwrap_or_else(|| panic!("{} is not there", part.name));
        let verdict = check(Cursor::new(&bytes), bytes.len() as u64).unwrap_or_else(|refusal| panic!("{refusal:?}"));
        assert!(verdict.lost_len == 0 || index + 1 == parts.len(), "only the last file may be torn");
        assert!(!verdict.has_gap, "nobody else has written");
        good_len = verdict.good_len;
        let mut commands = Commands::new(&bytes[..good_len as usize]);
        let mut group: Vec<u64> = Vec::new();
        let mut is_in_multi = false;
        while let Some(parts) = commands.read().unwrap() {
            match parts.get(0) {
                b"SELECT" => {}
                b"BASE" => numbers = (1..=parse(parts.get(1))).collect(),
                b"MULTI" => is_in_multi = true,
                b"EXEC" => {
                    assert!(group.len() > 1 && group.iter().all(|&number| number == group[0]));
                    numbers.push(group[0]);
                    (is_in_multi, group) = (false, Vec::new());
                }
                _ if is_in_multi => group.push(parse(parts.get(1))),
                _ => numbers.push(parse(parts.get(1))),
            }
        }
        assert!(!is_in_multi);
    }
    (numbers, good_len)
}

fn parse(digits: &[u8]) -> u64 {
    std::str::from_utf8(digits).unwrap().parse().unwrap()
}

fn push(log: &mut Log<Simulated>, number: u64, prng: &mut Prng) {
    let (mut bytes, mut records) = (Vec::new(), Vec::new());
    for _ in 0..1 + prng.below(3) {
        let begin = bytes.len();
        let value = vec![b'v'; prng.below(60) as usize];
        append_command(&mut bytes, [b"SET", number.to_string().as_bytes(), &value].into_iter());
        records.push(Record { db: DbIndex(prng.below(2) as u16), len: bytes.len() - begin });
    }
    log.push(&Merged { number, is_whole: records.len() > 1, records: &records, bytes: &bytes });
}

/// A base that says what it holds.
fn rebase(log: &mut Log<Simulated>, up_to: u64) -> std::io::Result<()> {
    log.rotate()?;
    let first = log.current_seq();
    let mut bytes = Vec::new();
    append_command(&mut bytes, [&b"BASE"[..], up_to.to_string().as_bytes()].into_iter());
    if log.disk().len("temp-base")?.is_some() {
        log.disk().truncate("temp-base", 0)?;
    }
    let mut at = 0;
    while at < bytes.len() {
        at += log.disk().write_at("temp-base", at as u64, &bytes[at..])?;
    }
    log.rebase("temp-base", false, first)
}

/// Runs a log until the power fails, and again, as often as `cuts` says.
fn run(seed: u64, cuts: usize) {
    let mut prng = Prng::seeded(seed);
    let mut disk = Simulated::new(seed ^ 0x5eed);
    let (mut number, mut durable) = (0, 0);
    for _ in 0..cuts {
        let mut log = Log::open(disk, STEM).unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
        let (numbers, good_len) = loaded(&mut log);
        let last = numbers.len() as u64;
        assert_eq!(numbers, (1..=last).collect::<Vec<_>>(), "seed {seed}: a prefix");
        assert!(last >= durable, "seed {seed}: {durable} was durable, {last} is there");
        assert!(last <= number, "seed {seed}");
        number = last;
        log.begin_at(number);
        log.go_on(Some(good_len)).unwrap();
        log.disk().fuse = Some(prng.below(120));
        log.disk().failure_odds = [0, 0, 10, 40][prng.below(4) as usize];
        durable = number;
        loop {
            number += 1;
            push(&mut log, number, &mut prng);
            if prng.below(10) == 0 {
                log.set_manner(true, prng.below(3) > 0);
            }
            let outcome = match prng.below(20) {
                0 => log.write().and_then(|()| log.sync()).and_then(|()| rebase(&mut log, number)),
                1 => log.rotate(),
                2..6 => log.write().and_then(|()| log.sync()),
                6..9 => log.sync(),
                _ => log.write(),
            };
            durable = durable.max(log.durable());
            if outcome.is_err() && log.disk().fuse == Some(0) {
                break;
            }
            if log.disk().room != usize::MAX && prng.below(10) == 0 {
                log.disk().room = usize::MAX; // Somebody has made room.
            } else if prng.below(60) == 0 {
                log.disk().room = prng.below(3000) as usize;
            }
        }
        disk = log.into_disk();
        disk.crash();
    }
}

#[test]
fn after_a_crash_the_log_is_a_prefix_with_everything_that_was_durable() {
    (0..40).for_each(|seed| run(seed, 10));
}

/// The same 5 000 times; a minute.
#[test]
#[ignore]
fn after_many_crashes_the_log_is_a_prefix() {
    (1000..1500).for_each(|seed| run(seed, 10));
}

/// A log that begins behind a base which is still to come: until it is there, a crash leaves what the log before it held.
fn run_unnamed(seed: u64) {
    let mut prng = Prng::seeded(seed);
    let mut log = Log::open(Simulated::new(seed), STEM).unwrap();
    log.go_on(Some(0)).unwrap();
    (1..=5).for_each(|number| push(&mut log, number, &mut prng));
    log.write().and_then(|()| log.sync()).unwrap();
    let mut log = Log::open(log.into_disk(), STEM).unwrap();
    log.begin_at(5);
    log.begin_unnamed().unwrap();
    log.disk().fuse = Some(prng.below(60));
    log.disk().failure_odds = [0, 10][prng.below(2) as usize];
    let (mut number, mut durable, mut is_based) = (5, 5, false);
    loop {
        number += 1;
        push(&mut log, number, &mut prng);
        let outcome = match prng.below(12) {
            0 => rebase(&mut log, number).inspect(|()| is_based = true),
            1..5 => log.write().and_then(|()| log.sync()),
            _ => log.write(),
        };
        assert!(is_based || log.durable() == 5, "seed {seed}: nothing counts without a base");
        durable = durable.max(log.durable());
        if outcome.is_err() && log.disk().fuse == Some(0) {
            break;
        }
    }
    let mut disk = log.into_disk();
    disk.crash();
    let mut log = Log::open(disk, STEM).unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
    let (numbers, _) = loaded(&mut log);
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "seed {seed}: a prefix");
    assert!(numbers.len() as u64 >= durable, "seed {seed}: {durable} was durable, {} is there", numbers.len());
}

#[test]
fn a_log_that_waits_for_its_base_replaces_the_old_one_at_once() {
    (0..300).for_each(run_unnamed);
}

#[test]
fn a_disk_that_fails_loses_nothing_when_it_is_back() {
    let mut prng = Prng::seeded(5);
    let mut log = Log::open(Simulated::new(1), STEM).unwrap();
    log.go_on(Some(0)).unwrap();
    log.set_manner(true, true);
    log.disk().failure_odds = 3;
    for number in 1..200 {
        push(&mut log, number, &mut prng);
        let _ = log.write().and_then(|()| log.sync());
    }
    log.disk().failure_odds = 0;
    log.write().and_then(|()| log.sync()).unwrap();
    assert_eq!(log.durable(), 199);
    assert_eq!(loaded(&mut log).0, (1..200).collect::<Vec<_>>());
    log.disk().room = 10_000;
    let mut number = 199;
    while log.write().is_ok() {
        number += 1;
        push(&mut log, number, &mut prng);
    }
    log.disk().room = usize::MAX;
    log.write().and_then(|()| log.sync()).unwrap();
    assert_eq!(loaded(&mut log).0, (1..=number).collect::<Vec<_>>());
}
