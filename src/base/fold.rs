//! Folding what a mirrored 64-bit sum (`crc64`) is taken of, sixteen bytes at a time, where the processor multiplies without
//! carries.
//!
//! Sixteen bytes that are followed by sixteen others have the sum of another sixteen: their halves, each multiplied by what its
//! distance amounts to, and the others added.
//! Source: Gopal and others, *Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction*, Intel, 2009.

/// Fewer bytes are not worth it.
const LEN_MIN: usize = 32;

/// Sixteen bytes that have, from zero on, the sum that the first blocks of `bytes` have behind what gave `sum`; and the bytes that
/// are left, fewer than sixteen. `distances`: of the first and of the second half. None: it cannot be done, or is not worth it.
#[inline]
pub fn fold(sum: u64, bytes: &[u8], distances: [u64; 2]) -> Option<([u8; 16], &[u8])> {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() >= LEN_MIN && is_x86_feature_detected!("pclmulqdq") {
        let (blocks, rest) = bytes.as_chunks();
        // SAFETY: the processor has the instruction.
        return Some((unsafe { folded(sum, blocks, distances) }, rest));
    }
    let _ = (sum, bytes, distances, LEN_MIN);
    None
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "pclmulqdq")]
fn folded(sum: u64, blocks: &[[u8; 16]], distances: [u64; 2]) -> [u8; 16] {
    use std::arch::x86_64::{
        _mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_unpackhi_epi64, _mm_xor_si128,
    };
    let vector = |number: u128| _mm_set_epi64x((number >> 64) as i64, number as i64);
    let load = |block: &[u8; 16]| vector(u128::from_le_bytes(*block));
    let distances = vector((distances[1] as u128) << 64 | distances[0] as u128);
    let Some((first, others)) = blocks.split_first() else { return [0; 16] };
    let last = others.iter().fold(_mm_xor_si128(load(first), vector(sum as u128)), |all, block| {
        let far = _mm_clmulepi64_si128::<0x00>(all, distances);
        let near = _mm_clmulepi64_si128::<0x11>(all, distances);
        _mm_xor_si128(_mm_xor_si128(far, near), load(block))
    });
    let (low, high) = (_mm_cvtsi128_si64(last) as u64, _mm_cvtsi128_si64(_mm_unpackhi_epi64(last, last)) as u64);
    ((high as u128) << 64 | low as u128).to_le_bytes()
}
