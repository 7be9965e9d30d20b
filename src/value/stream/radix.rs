//! How many nodes Redis's radix tree of the same blocks would have. XINFO STREAM shows that number, and ringdb has no such
//! tree.
//!
//! The tree's keys are the blocks' first ids, 16 bytes each. A node is a leaf, a branching, or a run of bytes between two
//! of those. So a tree of n keys is counted from what neighbours have in common, with a stack of the branchings that are
//! open at a key:
//! ```text
//! common prefix of neighbours   p0  p1  p2 …       a prefix that is new on the stack is a branching
//! run                           between a branching and what hangs below it, if a byte or more is left
//! ```

use super::id::StreamId;

const KEY_LEN: usize = 16;
/// Beyond so many keys the count is extrapolated: 16 384 are counted in some 100 µs, and nobody checks it to the digit.
const COUNTED_MAX: usize = 16_384;

/// Nodes of the tree of these keys, which come in order.
pub fn node_count(keys: impl ExactSizeIterator<Item = StreamId>) -> u64 {
    let total = keys.len();
    let mut previous: Option<[u8; KEY_LEN]> = None;
    let mut open: Vec<usize> = Vec::new(); // Lengths of the prefixes at which the tree branches, above the last key.
    let (mut branchings, mut runs) = (0, 0);
    // What hangs below a branching at `above` (or the root) and ends at `below`: is there a run between?
    let run = |above: Option<usize>, below: usize| (below > above.map_or(0, |above| above + 1)) as u64;
    let mut leaves = 0;
    for id in keys.take(COUNTED_MAX) {
        let key: [u8; KEY_LEN] = ((id.ms as u128) << 64 | id.seq as u128).to_be_bytes();
        leaves += 1;
        if let Some(previous) = previous {
            let common = previous.iter().zip(key).take_while(|(a, b)| **a == *b).count();
            runs += run(open.last().copied().max(Some(common)), KEY_LEN);
            while open.last().is_some_and(|&top| top > common) {
                let closed = open.pop().unwrap_or_default();
                runs += run(open.last().copied().max(Some(common)), closed);
            }
            if open.last() != Some(&common) {
                open.push(common);
                branchings += 1;
            }
        }
        previous = Some(key);
    }
    if previous.is_none() {
        return 1; // The root of an empty tree.
    }
    runs += run(open.last().copied(), KEY_LEN);
    while let Some(closed) = open.pop() {
        runs += run(open.last().copied(), closed);
    }
    let counted = leaves + branchings + runs;
    if total <= COUNTED_MAX { counted } else { counted * total as u64 / COUNTED_MAX as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    /// The same count by its definition: the tree of `keys`, which agree in their first `depth` bytes.
    fn naive(keys: &[[u8; KEY_LEN]], depth: usize) -> u64 {
        let (first, last) = (keys[0], keys[keys.len() - 1]);
        if keys.len() == 1 {
            return 1 + (depth < KEY_LEN) as u64;
        }
        let common = first.iter().zip(last).take_while(|(a, b)| **a == *b).count();
        let below: u64 = keys.chunk_by(|a, b| a[common] == b[common]).map(|keys| naive(keys, common + 1)).sum();
        1 + (common > depth) as u64 + below
    }

    #[test]
    fn nodes_are_counted_as_the_tree_has_them() {
        for seed in 0..300 {
            let mut prng = Prng::seeded(seed);
            let mut ids: Vec<StreamId> = (0..1 + prng.below(60))
                .map(|_| {
                    let shift = prng.below(64);
                    StreamId::new(prng.next_u64() >> shift, prng.next_u64() >> (63 - shift))
                })
                .collect();
            ids.sort();
            ids.dedup();
            let keys: Vec<[u8; KEY_LEN]> =
                ids.iter().map(|id| ((id.ms as u128) << 64 | id.seq as u128).to_be_bytes()).collect();
            assert_eq!(node_count(ids.iter().copied()), naive(&keys, 0), "seed {seed}");
        }
        assert_eq!(node_count([].into_iter()), 1);
    }
}
