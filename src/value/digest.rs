//! The digest of a value: XXH3 with 64 bits, seed 0 and the default secret, as DIGEST, IFDEQ and IFDNE use it.
//!
//! Five ways by length, each a few multiplications; only values beyond 240 bytes enter the stripe loop, which runs eight
//! independent lanes over 64 bytes at a time and stirs them after each KiB.
//!
//! **Source**: the xxHash specification, "XXH3 algorithm description". Not a cryptographic hash.

#![forbid(unsafe_code)]

const P32_1: u64 = 0x9e37_79b1;
const P32_2: u64 = 0x85eb_ca77;
const P32_3: u64 = 0xc2b2_ae3d;
const P64_1: u64 = 0x9e37_79b1_85eb_ca87;
const P64_2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const P64_3: u64 = 0x1656_67b1_9e37_79f9;
const P64_4: u64 = 0x85eb_ca77_c2b2_ae63;
const P64_5: u64 = 0x27d4_eb2f_1656_67c5;
const MIX_1: u64 = 0x1656_6791_9e37_79f9;
const MIX_2: u64 = 0x9fb2_1c65_1e98_df25;

const STRIPE: usize = 64;
/// Each stripe of a block reads the secret 8 bytes further on.
const BLOCK: usize = (SECRET.len() - STRIPE) / 8 * STRIPE;

#[rustfmt::skip]
const SECRET: [u8; 192] = [
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
    0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
    0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
    0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
];

/// The 64-bit digest.
pub fn xxh3(bytes: &[u8]) -> u64 {
    match bytes.len() {
        0 => avalanche_64(secret(56) ^ secret(64)),
        1..=3 => up_to_3(bytes),
        4..=8 => up_to_8(bytes),
        9..=16 => up_to_16(bytes),
        17..=128 => up_to_128(bytes),
        129..=240 => up_to_240(bytes),
        _ => long(bytes),
    }
}

/// The 16 hexadecimal digits that DIGEST replies.
pub fn hex(bytes: &[u8]) -> [u8; 16] {
    let hash = xxh3(bytes);
    std::array::from_fn(|at| b"0123456789abcdef"[(hash >> (60 - at * 4) & 15) as usize])
}

fn read_32(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 4].iter().rev().fold(0, |word, &byte| word << 8 | byte as u64)
}
#[inline]
fn read_64(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}
#[inline]
fn secret(at: usize) -> u64 {
    read_64(&SECRET, at)
}
/// The two halves of the 128-bit product, folded together.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}
fn avalanche_64(mut hash: u64) -> u64 {
    hash = (hash ^ hash >> 33).wrapping_mul(P64_2);
    hash = (hash ^ hash >> 29).wrapping_mul(P64_3);
    hash ^ hash >> 32
}
fn avalanche(mut hash: u64) -> u64 {
    hash = (hash ^ hash >> 37).wrapping_mul(MIX_1);
    hash ^ hash >> 32
}

fn up_to_3(bytes: &[u8]) -> u64 {
    let len = bytes.len();
    let [first, middle, last] = [0, len >> 1, len - 1].map(|at| bytes[at] as u64);
    let word = first << 16 | middle << 24 | last | (len as u64) << 8;
    avalanche_64(word ^ read_32(&SECRET, 0) ^ read_32(&SECRET, 4))
}

fn up_to_8(bytes: &[u8]) -> u64 {
    let len = bytes.len();
    let word = read_32(bytes, len - 4).wrapping_add(read_32(bytes, 0) << 32);
    let mut hash = word ^ secret(8) ^ secret(16);
    hash ^= hash.rotate_left(49) ^ hash.rotate_left(24);
    hash = hash.wrapping_mul(MIX_2);
    hash = (hash ^ (hash >> 35).wrapping_add(len as u64)).wrapping_mul(MIX_2);
    hash ^ hash >> 28
}

fn up_to_16(bytes: &[u8]) -> u64 {
    let len = bytes.len();
    let low = read_64(bytes, 0) ^ secret(24) ^ secret(32);
    let high = read_64(bytes, len - 8) ^ secret(40) ^ secret(48);
    let sum = (len as u64).wrapping_add(low.swap_bytes()).wrapping_add(high);
    avalanche(sum.wrapping_add(fold(low, high)))
}

/// 16 bytes of input with 16 bytes of the secret.
#[inline]
fn mix(bytes: &[u8], at: usize, key: usize) -> u64 {
    fold(read_64(bytes, at) ^ secret(key), read_64(bytes, at + 8) ^ secret(key + 8))
}

/// Pairs of 16 bytes, from both ends towards the middle.
fn up_to_128(bytes: &[u8]) -> u64 {
    let len = bytes.len();
    let pairs = (len - 1) / 32 + 1;
    let sum = (0..pairs).fold((len as u64).wrapping_mul(P64_1), |sum, pair| {
        let (front, back) = (mix(bytes, 16 * pair, 32 * pair), mix(bytes, len - 16 * (pair + 1), 32 * pair + 16));
        sum.wrapping_add(front).wrapping_add(back)
    });
    avalanche(sum)
}

fn up_to_240(bytes: &[u8]) -> u64 {
    let len = bytes.len();
    let start = (len as u64).wrapping_mul(P64_1);
    let head = (0..8).fold(start, |sum, round| sum.wrapping_add(mix(bytes, 16 * round, 16 * round)));
    let tail = (8..len / 16).fold(avalanche(head), |sum, round| {
        sum.wrapping_add(mix(bytes, 16 * round, 16 * (round - 8) + 3)) // 3: the specification's start offset.
    });
    avalanche(tail.wrapping_add(mix(bytes, len - 16, 136 - 17))) // 136: least secret; 17: its last offset.
}

type Lanes = [u64; 8];

fn long(bytes: &[u8]) -> u64 {
    let mut lanes: Lanes = [P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1];
    // The last stripe is always handled apart, so a block is only complete with a byte behind it.
    let blocks = (bytes.len() - 1) / BLOCK;
    for block in bytes[..blocks * BLOCK].chunks_exact(BLOCK) {
        stripes(&mut lanes, block);
        stir(&mut lanes);
    }
    let rest = &bytes[blocks * BLOCK..];
    stripes(&mut lanes, &rest[..(rest.len() - 1) / STRIPE * STRIPE]);
    stripe(&mut lanes, &bytes[bytes.len() - STRIPE..], SECRET.len() - STRIPE - 7);
    merge(&lanes, (bytes.len() as u64).wrapping_mul(P64_1))
}

fn stripes(lanes: &mut Lanes, bytes: &[u8]) {
    for (index, part) in bytes.chunks_exact(STRIPE).enumerate() {
        stripe(lanes, part, index * 8);
    }
}

#[inline]
fn stripe(lanes: &mut Lanes, bytes: &[u8], key: usize) {
    for lane in 0..8 {
        let word = read_64(bytes, lane * 8);
        let keyed = word ^ secret(key + lane * 8);
        lanes[lane ^ 1] = lanes[lane ^ 1].wrapping_add(word);
        lanes[lane] = lanes[lane].wrapping_add((keyed & 0xffff_ffff) * (keyed >> 32));
    }
}

fn stir(lanes: &mut Lanes) {
    for (index, lane) in lanes.iter_mut().enumerate() {
        let key = secret(SECRET.len() - STRIPE + index * 8);
        *lane = (*lane ^ *lane >> 47 ^ key).wrapping_mul(P32_1);
    }
}

fn merge(lanes: &Lanes, start: u64) -> u64 {
    let sum = (0..4).fold(start, |sum, pair| {
        let key = 11 + 16 * pair; // 11: the specification's offset for merging.
        sum.wrapping_add(fold(lanes[2 * pair] ^ secret(key), lanes[2 * pair + 1] ^ secret(key + 8)))
    });
    avalanche(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes `i * 31 + i / 256` of each length; values of the reference implementation.
    #[test]
    fn agrees_with_the_reference_at_every_change_of_way() {
        let bytes: Vec<u8> = (0..5000u32).map(|i| (i * 31 + i / 256) as u8).collect();
        for (len, expected) in VECTORS {
            assert_eq!(format!("{:016x}", xxh3(&bytes[..len])), expected, "length {len}");
        }
    }

    #[test]
    fn the_documented_examples() {
        assert_eq!(&hex(b"Hello world"), b"b6acb9d84a38ff74");
        assert_eq!(&hex(b"hello"), b"9555e8555c62dcfd");
        assert_eq!(&hex(b"v8"), b"0cc76dbb41381419");
    }

    #[rustfmt::skip]
    const VECTORS: [(usize, &str); 28] = [
        (0, "2d06800538d394c2"), (1, "c44bdff4074eecdb"), (2, "50a0dc43c774eb84"), (3, "3698b80191e625f9"),
        (4, "2e4ac2f1c52157fc"), (7, "d02b16c5070846f4"), (8, "60e1baa91347a1f2"), (9, "9c88fc32c37b56cb"),
        (16, "f9fbd0260ba978df"), (17, "c56f339d36cc73d7"), (32, "7418fd090e5a8159"), (33, "d80a3226002e02f8"),
        (64, "ef5426b31747db78"), (65, "b98e2a2698771ec0"), (96, "59d3b91aa4416fb9"), (97, "3fea7cc420f592c0"),
        (128, "31ccf8dec850d035"), (129, "c72af4c6ac4dea94"), (144, "83db3050f78b59eb"), (240, "e315d53d5129eede"),
        (241, "18773c512b008a63"), (256, "cdd3578b9df45e59"), (1023, "cbc276d0f95e9e68"), (1024, "5a1893edffa2577c"),
        (1025, "550abe5d45dd663b"), (2048, "1125cc0c79331fcb"), (2113, "7bb5b721a6ae38ce"), (4999, "6f487c8006a353d8"),
    ];
}
