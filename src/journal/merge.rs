//! Merging the loops' ledgers: groups come out in order of their numbers, without a gap.
//!
//! A loop hands its groups over in ascending order, and every number belongs to one of them. So the next group is at the front
//! of some loop's queue, or has not come yet; then everything behind it waits. As a rule a loop's groups stand side by side,
//! and a run of them is taken at once.

use crate::keyspace::order::{Batch, Group};
use std::collections::VecDeque;

/// A batch of one loop, and how far it was taken.
struct Queued {
    batch: Batch,
    group: usize,
    record: usize,
    byte: usize,
}

/// See the module header.
pub struct Merge {
    queues: Vec<VecDeque<Queued>>,
    next: u64,
    /// The loop that the last group came from.
    last: usize,
    /// Bytes of groups that were shown or forgotten.
    consumed: u64,
}

/// A group with its records, or a run of groups with one record each: databases, and the commands in the protocol's form.
pub struct Merged<'m> {
    /// The number of the group, or of the last one.
    pub number: u64,
    /// The records belong together.
    pub is_whole: bool,
    pub records: &'m [crate::keyspace::order::Record],
    pub bytes: &'m [u8],
}

impl Merge {
    /// Groups from number `first` on, of so many loops.
    pub fn new(loops: usize, first: u64) -> Self {
        Merge { queues: (0..loops).map(|_| VecDeque::new()).collect(), next: first, last: 0, consumed: 0 }
    }
    /// The number of the group that comes next.
    pub fn next_number(&self) -> u64 {
        self.next
    }
    /// The same queues, from number `first` on: what came earlier is forgotten.
    pub fn from(mut self, first: u64) -> Self {
        self.next = first;
        for queue in &mut self.queues {
            for queued in queue.iter_mut() {
                self.consumed += queued.skip_to(first);
            }
            queue.retain(|queued| queued.group < queued.batch.groups.len());
        }
        self
    }
    /// A loop hands over what it has. Groups from before the first one are nobody's business any more.
    pub fn push(&mut self, from: usize, batch: Batch) {
        let mut queued = Queued { batch, group: 0, record: 0, byte: 0 };
        self.consumed += queued.skip_to(self.next);
        if queued.group < queued.batch.groups.len() {
            self.queues[from].push_back(queued);
        }
    }
    /// Shows the groups that are there without a gap and have numbers below `end`, in order, until they have `enough` bytes.
    /// Returns whether it was enough: there may be more.
    pub fn drain(&mut self, end: u64, enough: usize, mut visit: impl FnMut(Merged<'_>)) -> bool {
        let mut shown = 0;
        while self.next < end {
            if shown >= enough {
                return true;
            }
            let is_next = |queue: &VecDeque<Queued>| queue.front().is_some_and(|front| front.number() == self.next);
            if !is_next(&self.queues[self.last]) {
                let Some(found) = self.queues.iter().position(is_next) else { return false };
                self.last = found;
            }
            let queue = &mut self.queues[self.last];
            let Some(front) = queue.front_mut() else { return false };
            let group = front.take(end, enough - shown);
            shown += group.bytes.len();
            self.consumed += group.bytes.len() as u64;
            self.next = group.number + 1;
            visit(group);
            if front.group == front.batch.groups.len() {
                queue.pop_front();
            }
        }
        false
    }
    /// Bytes of groups that were shown or forgotten since the last call.
    pub fn take_consumed(&mut self) -> u64 {
        std::mem::take(&mut self.consumed)
    }
    /// Is nothing left that waits for a gap to be filled?
    pub fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }
}

impl Queued {
    fn number(&self) -> u64 {
        self.batch.groups[self.group].number
    }
    /// Forgets groups from before number `first`. Returns their bytes.
    fn skip_to(&mut self, first: u64) -> u64 {
        let begin = self.byte;
        while self.batch.groups.get(self.group).is_some_and(|group| group.number < first) {
            self.take(first, usize::MAX);
        }
        (self.byte - begin) as u64
    }
    /// Takes the next group; if it has one record, the run of such groups from there on whose numbers follow each other and are
    /// below `end`, until they have `enough` bytes.
    fn take(&mut self, end: u64, enough: usize) -> Merged<'_> {
        let (groups, records) = (&self.batch.groups[self.group..], &self.batch.records[self.record..]);
        let first = groups[0];
        let is_whole = first.count > 1;
        let (mut count, mut len) = (1, records[..first.count].iter().map(|record| record.len).sum::<usize>());
        if !is_whole {
            // The records of a run stand side by side, like its groups.
            let follows = |(at, group): (u64, &Group)| group.count == 1 && group.number == first.number + at;
            let is_in = |&(at, group): &(u64, &Group)| group.number < end && follows((at, group));
            let run = (1..).zip(&groups[1..]).take_while(is_in);
            for (_, record) in run.zip(&records[1..]) {
                if len >= enough {
                    break;
                }
                (count, len) = (count + 1, len + record.len);
            }
        }
        let taken = if is_whole { first.count } else { count };
        let (records, bytes) = (&records[..taken], &self.batch.bytes[self.byte..][..len]);
        (self.group, self.record, self.byte) = (self.group + count, self.record + taken, self.byte + len);
        Merged { number: first.number + count as u64 - 1, is_whole, records, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::DbIndex;

    fn batch(numbers: &[u64]) -> Batch {
        let mut batch = Batch::default();
        for &number in numbers {
            batch.push(DbIndex(0), [number.to_string().as_bytes()].into_iter());
            batch.groups.push(Group { number, count: 1 });
        }
        batch
    }

    /// The numbers that stand in the bytes that are shown.
    fn words(shown: &Merged<'_>) -> Vec<u64> {
        let text = std::str::from_utf8(shown.bytes).unwrap();
        let numbers: Vec<u64> =
            text.lines().filter(|line| line.parse::<u64>().is_ok()).map(|line| line.parse().unwrap()).collect();
        assert_eq!((numbers.last(), numbers.len()), (Some(&shown.number), shown.records.len()));
        assert_eq!(shown.records.iter().map(|record| record.len).sum::<usize>(), shown.bytes.len());
        numbers
    }

    fn drained(merge: &mut Merge, end: u64) -> Vec<u64> {
        let mut numbers = Vec::new();
        merge.drain(end, usize::MAX, |group| numbers.extend(words(&group)));
        numbers
    }

    #[test]
    fn groups_come_out_in_order_and_wait_for_gaps() {
        let mut merge = Merge::new(3, 5);
        merge.push(0, batch(&[3, 4, 6, 9]));
        assert_eq!(drained(&mut merge, u64::MAX), [0; 0]);
        merge.push(2, batch(&[5, 10]));
        assert_eq!(drained(&mut merge, u64::MAX), [5, 6]);
        merge.push(1, batch(&[7, 8]));
        assert_eq!(drained(&mut merge, 9), [7, 8]);
        assert!(!merge.is_empty());
        assert_eq!(drained(&mut merge, u64::MAX), [9, 10]);
        assert!(merge.is_empty());
        assert_eq!(merge.next_number(), 11);
        let len = |number: u64| if number < 10 { 11 } else { 12 };
        assert_eq!(merge.take_consumed(), (3..=10).map(len).sum(), "what was forgotten counts, too");
        assert_eq!(merge.take_consumed(), 0);
    }

    #[test]
    fn runs_end_where_numbers_are_missing_and_before_groups_of_several_records() {
        let mut merge = Merge::new(1, 1);
        let mut first = batch(&[1, 2, 3]);
        [4, 4, 5, 7].iter().for_each(|number| first.push(DbIndex(0), [number.to_string().as_bytes()].into_iter()));
        first.groups.extend([(4, 2), (5, 1), (7, 1)].map(|(number, count)| Group { number, count }));
        merge.push(0, first);
        let mut shown = Vec::new();
        merge.drain(u64::MAX, usize::MAX, |group| shown.push((words(&group), group.is_whole)));
        assert_eq!(shown, [(vec![1, 2, 3], false), (vec![4, 4], true), (vec![5], false)]);
        assert_eq!(merge.next_number(), 6);
    }

    #[test]
    fn no_more_is_shown_at_once_than_is_enough() {
        let mut merge = Merge::new(2, 1);
        merge.push(0, batch(&[1, 2, 4]));
        merge.push(1, batch(&[3]));
        let shown = |merge: &mut Merge, enough| {
            let mut numbers = Vec::new();
            let is_enough = merge.drain(u64::MAX, enough, |group| numbers.extend(words(&group)));
            (numbers, is_enough, merge.take_consumed())
        };
        assert_eq!(shown(&mut merge, 12), (vec![1, 2], true, 22), "the one that makes it enough is whole");
        assert_eq!(shown(&mut merge, 23), (vec![3, 4], false, 22));
        assert_eq!(shown(&mut merge, 22), (vec![], false, 0));
    }
}
