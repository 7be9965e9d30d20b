//! Buckets that lie side by side, and how a table shares them with a snapshot of itself.
//!
//! A snapshot costs a small allocation per segment and copies no item. From then on the segment is read by both; who wants
//! to change it takes it back if the other is done with it, and copies it (some 700 items) if not. So a snapshot that is
//! read for minutes delays nobody, and takes memory only for what is changed meanwhile.

#![forbid(unsafe_code)]

use super::Bucket;
use std::sync::Arc;

/// See the module header.
pub(super) enum Segment<I> {
    Own(Box<[Bucket<I>]>),
    Lent(Arc<Lent<I>>),
}

const _: () = assert!(size_of::<Segment<Box<u8>>>() == 16, "no more than the buckets' address and number");

type CopyOf<I> = fn(&[Bucket<I>]) -> Box<[Bucket<I>]>;

pub(super) struct Lent<I> {
    buckets: Box<[Bucket<I>]>,
    /// Copies items: known where they are lent, so that tables of other items can do without.
    copy: CopyOf<I>,
}

impl<I> Segment<I> {
    #[inline]
    pub fn buckets(&self) -> &[Bucket<I>] {
        match self {
            Segment::Own(buckets) => buckets,
            Segment::Lent(lent) => &lent.buckets,
        }
    }
    /// The buckets, to be changed.
    /// Cost: if they are lent, a copy of them all.
    #[inline]
    pub fn buckets_mut(&mut self) -> &mut [Bucket<I>] {
        if let Segment::Lent(_) = self {
            self.take_back();
        }
        match self {
            Segment::Own(buckets) => buckets,
            Segment::Lent(_) => unreachable!("they were taken back"),
        }
    }
    #[cold]
    fn take_back(&mut self) {
        if let Segment::Lent(lent) = std::mem::take(self) {
            let buckets = Arc::try_unwrap(lent).map(|lent| lent.buckets);
            *self = Segment::Own(buckets.unwrap_or_else(|lent| (lent.copy)(&lent.buckets)));
        }
    }
    /// The buckets, moved out to be moved back in another number.
    pub fn take(&mut self) -> Vec<Bucket<I>> {
        self.buckets_mut();
        match std::mem::take(self) {
            Segment::Own(buckets) => buckets.into_vec(),
            Segment::Lent(_) => unreachable!("they were taken back"),
        }
    }
}

impl<I: Clone> Segment<I> {
    /// A second owner of the same buckets.
    pub fn share(&mut self) -> Self {
        let lent = match std::mem::take(self) {
            Segment::Own(buckets) => Arc::new(Lent { buckets, copy: |buckets| buckets.into() }),
            Segment::Lent(lent) => lent,
        };
        *self = Segment::Lent(lent.clone());
        Segment::Lent(lent)
    }
}

impl<I> Default for Segment<I> {
    /// No buckets.
    fn default() -> Self {
        Segment::Own(Box::default())
    }
}

impl<I: Clone> Clone for Segment<I> {
    /// A copy that shares nothing.
    fn clone(&self) -> Self {
        Segment::Own(self.buckets().into())
    }
}
