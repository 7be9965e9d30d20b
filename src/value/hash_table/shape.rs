//! How evenly a table's items lie in its buckets, for those who look into it.

#![forbid(unsafe_code)]

use super::{HashTable, Item};

/// The numbers of items by bucket.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// How many buckets have so many items, their spills included: by that number.
    pub buckets_by_len: Vec<usize>,
}

impl<I: Item> HashTable<I> {
    /// How the items lie now.
    /// Cost: a walk over all buckets and spills.
    pub fn shape(&self) -> Shape {
        let mut shape = Shape::default();
        for index in 0..self.bucket_count {
            let bucket = self.bucket(index);
            shape.count(bucket.len() + bucket.spills().map(|spill| spill.len()).sum::<usize>());
        }
        shape
    }
}

impl Shape {
    fn count(&mut self, len: usize) {
        if self.buckets_by_len.len() <= len {
            self.buckets_by_len.resize(len + 1, 0);
        }
        self.buckets_by_len[len] += 1;
    }
    /// All buckets.
    pub fn bucket_count(&self) -> usize {
        self.buckets_by_len.iter().sum()
    }
    /// Buckets with items.
    pub fn used_count(&self) -> usize {
        self.buckets_by_len.iter().skip(1).sum()
    }
    /// Items of the fullest bucket.
    pub fn longest(&self) -> usize {
        self.buckets_by_len.len().saturating_sub(1)
    }
    /// All items.
    pub fn item_count(&self) -> usize {
        self.buckets_by_len.iter().enumerate().map(|(len, count)| len * count).sum()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    struct Word(Box<u8>);
    impl Item for Word {
        fn key(&self) -> &[u8] {
            std::slice::from_ref(&self.0)
        }
        fn address(&self) -> *const u8 {
            &*self.0
        }
    }

    #[test]
    fn a_shape_counts_each_item_and_each_bucket_once() {
        let mut table = HashTable::new();
        assert_eq!((table.shape(), table.shape().longest()), (Shape::default(), 0));
        for byte in 0..=255 {
            table.find_or_insert(&[byte], || Word(Box::new(byte)));
        }
        let shape = table.shape();
        assert_eq!(shape.item_count(), 256);
        assert_eq!(shape.bucket_count(), table.bucket_count);
        assert!(shape.used_count() <= shape.bucket_count() && shape.longest() >= 256 / shape.bucket_count());
    }
}
