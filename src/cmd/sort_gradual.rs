//! SORT of many elements by their own values: in slices, from a snapshot.
//!
//! ```text
//! snapshot   the elements as they are now, shared with the collection        (cmd::gradual)
//! load       slice by slice: each element and its weight go into a heap;  what is no number ends the command
//! output     slice by slice: the next one from the heap, as fast as the client reads
//! ```
//! A heap, because it is filled and emptied one element at a time, and because LIMIT often asks for the first few only.

use super::command::{Cx, Flow};
use super::resume::{Resumable, Slice, Step};
use super::sort::number;
use crate::base::hash::Key;
use crate::keyspace::objects::{Access, HeldKeys};
use crate::keyspace::types::WrongType;
use crate::resp::error::ReplyError;
use crate::value::drain;
use crate::value::list::{self, List};
use crate::value::object::Value;
use crate::value::set::Set;
use crate::value::zset::{self, SortedSet};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::ops::Range;

/// So many elements are sorted at once: half a millisecond.
const AT_ONCE: usize = 1000;
/// Elements between two looks at the clock.
const TOGETHER: usize = 32;

/// An element and the number by which it is compared first; 0 if only the texts count.
struct Item {
    weight: f64,
    text: Box<[u8]>,
}

impl Ord for Item {
    fn cmp(&self, other: &Self) -> Ordering {
        self.weight.partial_cmp(&other.weight).unwrap_or(Ordering::Equal).then_with(|| self.text.cmp(&other.text))
    }
}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Item {}

/// Items, the next one on top.
enum Heap {
    Ascending(BinaryHeap<Reverse<Item>>),
    Descending(BinaryHeap<Item>),
}

impl Heap {
    fn push(&mut self, item: Item) {
        match self {
            Heap::Ascending(heap) => heap.push(Reverse(item)),
            Heap::Descending(heap) => heap.push(item),
        }
    }
    fn pop(&mut self) -> Option<Box<[u8]>> {
        match self {
            Heap::Ascending(heap) => heap.pop().map(|Reverse(item)| item.text),
            Heap::Descending(heap) => heap.pop().map(|item| item.text),
        }
    }
    fn len(&self) -> usize {
        match self {
            Heap::Ascending(heap) => heap.len(),
            Heap::Descending(heap) => heap.len(),
        }
    }
}

/// What is left to be loaded.
enum Source {
    Nothing,
    List(list::Snapshot),
    Set(Set),
    Sorted(zset::Snapshot),
}

impl Source {
    /// Visits the next elements. False: there were no more.
    fn visit_some(&mut self, mut visit: impl FnMut(&[u8])) -> bool {
        match self {
            Source::Nothing => false,
            Source::List(list) => list.visit_some(|element| visit(element.text(&mut itoa::Buffer::new()))),
            Source::Set(set) => set.visit_some(|member| visit(member.text(&mut itoa::Buffer::new()))),
            Source::Sorted(members) => members.visit_some(false, |member, _| visit(member)),
        }
    }
}

/// SORT at work.
struct Sorting {
    source: Source,
    heap: Heap,
    is_alpha: bool,
    /// What LIMIT leaves: elements to be passed over, and to be replied.
    part: Range<usize>,
    /// Elements to be replied yet. None: there is no head, for not everything is loaded.
    left: Option<usize>,
}

/// How the elements are to be sorted.
pub(super) struct Order {
    pub is_alpha: bool,
    pub is_descending: bool,
}

/// Sorts what is under `key`, if that is much; `part` says which of so many elements are replied. None: it is not much.
/// Errors: WrongType; then an element that is no number.
pub(super) fn begin(
    cx: &mut Cx<'_>,
    key: Key<'_>,
    order: Order,
    part: impl Fn(usize) -> Range<usize>,
) -> Result<Option<Flow>, ReplyError> {
    let keys = cx.keys;
    if keys.with_held(&[(key, Access::Read)], |held| Ok(count(held)))? <= AT_ONCE {
        return Ok(None);
    }
    let Some((source, count)) = keys.with_held(&[(key, Access::Write)], |held| Ok(snapshot(held)))? else {
        return Ok(None);
    };
    keys.looked_up(key.bytes, true);
    let heap = match order.is_descending {
        true => Heap::Descending(BinaryHeap::with_capacity(count)),
        false => Heap::Ascending(BinaryHeap::with_capacity(count)),
    };
    cx.begin(Sorting { source, heap, is_alpha: order.is_alpha, part: part(count), left: None }).map(Some)
}

/// Number of elements of held key 0.
fn count(held: &HeldKeys<'_, '_, '_>) -> Result<usize, WrongType> {
    if let Ok(list) = held.get::<List>(0) {
        return Ok(list.map_or(0, List::count));
    }
    if let Ok(set) = held.get::<Set>(0) {
        return Ok(set.map_or(0, Set::count));
    }
    Ok(held.get::<SortedSet>(0)?.map_or(0, SortedSet::len))
}

/// A snapshot of held key 0 and the number of its elements. None: the key is gone, or a list is short after all.
fn snapshot(held: &mut HeldKeys<'_, '_, '_>) -> Result<Option<(Source, usize)>, WrongType> {
    if let Ok(list) = held.get_mut::<List>(0) {
        let Some(list) = list else { return Ok(None) };
        let count = list.count();
        return Ok(list.snapshot(0, count).map(|snapshot| (Source::List(snapshot), count)));
    }
    if let Ok(set) = held.get_mut::<Set>(0) {
        return Ok(set.map(|set| (Source::Set(set.snapshot()), set.count())));
    }
    let set = held.get_mut::<SortedSet>(0)?;
    Ok(set.map(|set| {
        let count = set.len();
        (Source::Sorted(set.snapshot(0..count)), count)
    }))
}

impl Resumable for Sorting {
    fn step(&mut self, cx: &mut Cx<'_>, slice: Slice) -> Result<Step, ReplyError> {
        if self.left.is_none() {
            if !self.load(slice)? {
                return Ok(Step::More);
            }
            cx.reply.array(self.part.len());
        }
        let left = self.output(self.left.unwrap_or(self.part.len()), cx, slice);
        self.left = Some(left);
        Ok(if left == 0 { Step::Done } else { Step::More })
    }
}

impl Sorting {
    /// True: all is in the heap.
    fn load(&mut self, slice: Slice) -> Result<bool, ReplyError> {
        let (heap, mut is_good) = (&mut self.heap, true);
        let is_alpha = self.is_alpha;
        while self.source.visit_some(|text| {
            let weight = if is_alpha { Some(0.0) } else { number(text) };
            is_good &= weight.is_some();
            heap.push(Item { weight: weight.unwrap_or(0.0), text: text.into() });
        }) {
            if !is_good {
                return Err(ReplyError::text("ERR One or more scores can't be converted into double"));
            }
            if slice.is_over() {
                return Ok(false);
            }
        }
        self.source = Source::Nothing;
        Ok(true)
    }
    /// Replies some of the `left` elements that are to be replied. Returns how many are left then.
    fn output(&mut self, mut left: usize, cx: &mut Cx<'_>, slice: Slice) -> usize {
        while left > 0 {
            for _ in 0..TOGETHER {
                let Some(text) = self.heap.pop() else { return 0 };
                if self.part.start > 0 {
                    self.part.start -= 1;
                    continue;
                }
                cx.reply.bulk(&text);
                left -= 1;
                if left == 0 {
                    return 0;
                }
            }
            if slice.is_enough(cx.reply) {
                return left;
            }
        }
        0
    }
}

impl Drop for Sorting {
    /// Its client has gone, or has got the first few of many.
    fn drop(&mut self) {
        match std::mem::replace(&mut self.source, Source::Nothing) {
            Source::List(list) => drain::discard_rest(Value::new(list.into_rest())),
            Source::Set(set) => drain::discard_rest(Value::new(set)),
            Source::Sorted(_) | Source::Nothing => {} // A sorted set's snapshot looks after itself.
        }
        if self.heap.len() > AT_ONCE {
            let heap = std::mem::replace(&mut self.heap, Heap::Descending(BinaryHeap::new()));
            drain::discard_other(Box::new(heap));
        }
    }
}
