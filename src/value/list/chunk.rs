//! A chunk: one allocation of elements with room at both ends.
//!
//! ```text
//! | start | end | count |  room  | element | element | … | element |  room  |
//!   12 bytes                     ^start                           ^end
//! ```
//! A push writes into the room and a pop moves `start` or `end`, so neither moves other elements. When the room at one end
//! is used up, the elements slide towards the other end if there is plenty of room, else the chunk grows by half; both
//! happen once per many pushes. A change in the middle moves the shorter side. An empty chunk owns nothing.
//!
//! The positions stand in the allocation and not beside its address: a small list is then a pointer and a length.

use super::End;
use super::element::{self, Element, Encoded, Forward, offset_of};
use crate::base::prefetch::prefetch;

/// Elements in one allocation.
#[derive(Default)]
pub struct Chunk(Box<[u8]>);

/// Bytes of the positions.
const HEAD_LEN: usize = 12;

/// Where the elements lie.
#[derive(Clone, Copy)]
struct Head {
    start: usize,
    end: usize,
    count: usize,
}

impl Head {
    #[inline]
    fn len(self) -> usize {
        self.end - self.start
    }
}

/// A stretch of elements.
#[derive(Clone, Copy)]
struct Span {
    len: usize,
    count: usize,
}

impl Span {
    const NONE: Span = Span { len: 0, count: 0 };
}

/// The size class of the allocator that holds `len` bytes: four classes per doubling, steps of 8 bytes below.
fn size_class(len: usize) -> usize {
    if len <= 64 {
        return len.next_multiple_of(8);
    }
    let step = len.next_power_of_two() >> 3;
    len.next_multiple_of(step)
}

/// Chunks with so much allocated shrink when three quarters of it are free: below, there is nothing to gain.
const SHRINK_CAP_MIN: usize = 128;
/// Growing stops here while it suffices: a full chunk of the default limit, 8 KiB, lies in this size class.
const CAP_USUAL_MAX: usize = 8192;

impl Chunk {
    #[inline]
    fn head(&self) -> Head {
        match self.0.first_chunk::<HEAD_LEN>() {
            None => Head { start: HEAD_LEN, end: HEAD_LEN, count: 0 },
            Some(&[a, b, c, d, e, f, g, h, i, j, k, l]) => Head {
                start: u32::from_ne_bytes([a, b, c, d]) as usize,
                end: u32::from_ne_bytes([e, f, g, h]) as usize,
                count: u32::from_ne_bytes([i, j, k, l]) as usize,
            },
        }
    }
    #[inline]
    fn set_head(&mut self, head: Head) {
        let Some(bytes) = self.0.first_chunk_mut::<HEAD_LEN>() else { return };
        bytes[..4].copy_from_slice(&(head.start as u32).to_ne_bytes());
        bytes[4..8].copy_from_slice(&(head.end as u32).to_ne_bytes());
        bytes[8..].copy_from_slice(&(head.count as u32).to_ne_bytes());
    }
    /// Prefetches the positions in step 0, both ends of the elements in step 1. False: that is all.
    #[inline]
    pub fn look_ahead(&self, step: usize) -> bool {
        if step == 0 {
            prefetch(self.0.as_ptr());
            return true;
        }
        let head = self.head();
        prefetch(self.0.as_ptr().wrapping_add(head.start));
        prefetch(self.0.as_ptr().wrapping_add(head.end));
        false
    }
    /// A chunk of encoded elements.
    pub fn of(bytes: &[u8], count: usize) -> Chunk {
        let mut chunk = Chunk(vec![0; HEAD_LEN + bytes.len()].into());
        chunk.0[HEAD_LEN..].copy_from_slice(bytes);
        chunk.set_head(Head { start: HEAD_LEN, end: HEAD_LEN + bytes.len(), count });
        chunk
    }
    /// Number of elements.
    #[inline]
    pub fn count(&self) -> usize {
        self.head().count
    }
    /// The elements as they lie there.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        let head = self.head();
        if head.count == 0 { &[] } else { &self.0[head.start..head.end] }
    }
    /// Bytes of the allocation.
    pub fn heap_len(&self) -> usize {
        self.0.len()
    }

    /// Adds an element at one end.
    /// Cost: the element's own bytes, and amortised over the pushes about as much again.
    #[inline]
    pub fn push(&mut self, end: End, value: &[u8]) {
        let encoded = Encoded::new(value);
        let mut head = self.make_room(end, encoded.len());
        let at = match end {
            End::Front => {
                head.start -= encoded.len();
                head.start
            }
            End::Back => {
                head.end += encoded.len();
                head.end - encoded.len()
            }
        };
        head.count += 1;
        self.set_head(head);
        encoded.write(&mut self.0[at..][..encoded.len()]);
    }
    /// Removes the element at one end and hands it to `take` before.
    #[inline]
    pub fn pop<R>(&mut self, end: End, take: impl FnOnce(Element<'_>) -> R) -> Option<R> {
        let bytes = self.bytes();
        if bytes.is_empty() {
            return None;
        }
        let (element, len) = match end {
            End::Front => element::first(bytes),
            End::Back => {
                let len = element::last_len(bytes);
                element::first(&bytes[bytes.len() - len..])
            }
        };
        let taken = take(element);
        self.cut(end, Span { len, count: 1 });
        Some(taken)
    }
    /// Removes `count` elements from one end; all of them if there are not so many.
    pub fn drop_from(&mut self, end: End, count: usize) {
        let (all, bytes) = (self.count(), self.bytes());
        let count = count.min(all);
        let len = match end {
            End::Front => offset_of(bytes, all, count),
            End::Back => bytes.len() - offset_of(bytes, all, all - count),
        };
        self.cut(end, Span { len, count });
    }
    /// Inserts before element `index`; `index` may be the count.
    pub fn insert(&mut self, index: usize, value: &[u8]) {
        let (at, len) = (self.offset(index), self.head().len());
        self.insert_at(at, if at < len - at { End::Front } else { End::Back }, value);
    }
    /// Puts another value in the place of element `index`.
    pub fn replace(&mut self, index: usize, value: &[u8]) {
        let (encoded, at) = (Encoded::new(value), self.offset(index));
        let bytes = &self.bytes()[at..];
        let old = Span { len: element::first(bytes).1, count: 1 };
        let mover = if at < bytes.len() - old.len { End::Front } else { End::Back };
        encoded.write(self.splice(at, old, Span { len: encoded.len(), count: 1 }, mover));
        self.shrink_if_sparse();
    }
    /// Removes up to `take` elements that equal `value`, after leaving out the first `skip` of them. Returns how many.
    pub fn remove_equal(&mut self, value: Element<'_>, mut skip: usize, take: usize) -> usize {
        let head = self.head();
        let (mut to, mut removed) = (head.start, 0);
        let mut from = head.start;
        while from < head.end {
            let (element, len) = element::first(&self.0[from..head.end]);
            let equal = element == value;
            if equal && skip == 0 && removed < take {
                removed += 1;
            } else {
                skip -= (equal && skip > 0) as usize;
                if to < from {
                    self.0.copy_within(from..from + len, to);
                }
                to += len;
            }
            from += len;
        }
        self.set_head(Head { start: head.start, end: to, count: head.count - removed });
        self.shrink_if_sparse();
        removed
    }
    /// Number of elements that equal `value`.
    pub fn count_equal(bytes: &[u8], value: Element<'_>) -> usize {
        Forward(bytes).filter(|&element| element == value).count()
    }
    /// Takes the elements from `index` on away into a chunk of their own.
    pub fn split_off(&mut self, index: usize) -> Chunk {
        let (at, count) = (self.offset(index), self.count());
        let tail = Chunk::of(&self.bytes()[at..], count - index);
        self.cut(End::Back, Span { len: tail.bytes().len(), count: count - index });
        tail
    }
    /// Adds the elements of another chunk behind these.
    pub fn append(&mut self, other: &Chunk) {
        let span = Span { len: other.bytes().len(), count: other.count() };
        let at = self.head().len();
        self.splice(at, Span::NONE, span, End::Back).copy_from_slice(other.bytes());
    }
    /// Gives up room beyond an eighth: for a chunk that nothing will be pushed to.
    pub fn seal(&mut self) {
        let len = self.head().len();
        if self.0.len() > size_class(HEAD_LEN + len + len / 8) {
            self.rebuild(size_class(HEAD_LEN + len), 0);
        }
    }
    /// A copy without spare room.
    pub fn duplicate(&self) -> Chunk {
        if self.count() == 0 { Chunk::default() } else { Chunk::of(self.bytes(), self.count()) }
    }

    fn offset(&self, index: usize) -> usize {
        offset_of(self.bytes(), self.count(), index)
    }
    #[inline]
    fn insert_at(&mut self, at: usize, mover: End, value: &[u8]) {
        let encoded = Encoded::new(value);
        encoded.write(self.splice(at, Span::NONE, Span { len: encoded.len(), count: 1 }, mover));
    }
    #[inline]
    fn cut(&mut self, end: End, span: Span) {
        let mut head = self.head();
        match end {
            End::Front => head.start += span.len,
            End::Back => head.end -= span.len,
        }
        head.count -= span.count;
        self.set_head(head);
        self.shrink_if_sparse();
    }
    /// Puts a gap for `new` in the place of `old`, `at` bytes behind the first element, and returns it. The side `mover`
    /// of the elements moves.
    #[inline]
    fn splice(&mut self, at: usize, old: Span, new: Span, mover: End) -> &mut [u8] {
        if new.len > old.len {
            self.make_room(mover, new.len - old.len);
        }
        let mut head = self.head();
        let (gap_start, gap_end) = (head.start + at, head.start + at + old.len);
        match mover {
            End::Front => {
                let to = head.start + old.len - new.len;
                if at > 0 {
                    self.0.copy_within(head.start..gap_start, to);
                }
                head.start = to;
            }
            End::Back => {
                if gap_end < head.end {
                    self.0.copy_within(gap_end..head.end, gap_start + new.len);
                }
                head.end = head.end + new.len - old.len;
            }
        }
        head.count = head.count + new.count - old.count;
        self.set_head(head);
        &mut self.0[head.start + at..][..new.len]
    }
    /// Sees to it that there are `len` bytes of room at one end. Returns where the elements lie then.
    #[inline]
    fn make_room(&mut self, end: End, len: usize) -> Head {
        let head = self.head();
        let room = match end {
            End::Front => head.start - HEAD_LEN,
            End::Back => self.0.len().saturating_sub(head.end),
        };
        if room < len { self.find_room(end, len) } else { head }
    }
    #[cold]
    fn find_room(&mut self, end: End, wanted: usize) -> Head {
        let (cap, head) = (self.0.len(), self.head());
        let needed = HEAD_LEN + head.len() + wanted;
        if needed + head.len() / 4 <= cap || (needed <= cap && cap >= CAP_USUAL_MAX) {
            // A quarter of the elements' bytes are free behind this push: sliding is paid for by the pushes to come. A
            // chunk at its limit does not grow for it.
            let spare = (cap - needed) / 2;
            let start = HEAD_LEN + spare + if end == End::Front { wanted } else { 0 };
            self.0.copy_within(head.start..head.end, start);
            self.set_head(Head { start, end: start + head.len(), count: head.count });
            return self.head();
        }
        let cap = size_class(if head.count == 0 { needed } else { needed + needed / 2 });
        let cap = if needed <= CAP_USUAL_MAX { cap.min(CAP_USUAL_MAX) } else { cap };
        self.rebuild(cap, if end == End::Front { cap - HEAD_LEN - head.len() } else { 0 });
        self.head()
    }
    #[inline]
    fn shrink_if_sparse(&mut self) {
        let (cap, len) = (self.0.len(), self.head().len());
        if cap >= SHRINK_CAP_MIN && HEAD_LEN + len <= cap / 4 {
            let cap = size_class(HEAD_LEN + len + len / 2);
            self.rebuild(cap, (cap - HEAD_LEN - len) / 2);
        }
    }
    /// Moves into an allocation of `cap` bytes with `room` at the front.
    fn rebuild(&mut self, cap: usize, room: usize) {
        let head = self.head();
        let start = HEAD_LEN + room;
        let mut new = Chunk(vec![0; cap].into());
        new.0[start..][..head.len()].copy_from_slice(self.bytes());
        new.set_head(Head { start, end: start + head.len(), count: head.count });
        *self = new;
    }
}
