//! Keys and values: how an index becomes a key, which index is drawn next, and what a value looks like.
//!
//! **Shape** of a key: `prefix`, zeros, eight decimal digits of its index, `key_size` bytes in all. Only the digits differ
//! between keys, so a draw patches eight bytes.
//!
//! **Shape** of a value: the key's eight digits, sixteen hexadecimal digits of a stamp that says who wrote it, then
//! filler that starts at an offset chosen by the stamp. The whole value follows from key and stamp, so a reader can tell a
//! torn or misplaced value from a good one. Values too short for a part go without it. The filler holds every byte,
//! CR and LF included.

/// Digits of a key that differ from key to key.
pub const DIGITS: usize = 8;
/// Bytes of a stamp's text in a value.
pub const STAMP: usize = 16;
/// Half of what eight digits can name: the other half serves the draws that must miss.
pub const KEYS_MAX: u32 = 50_000_000;
/// Different offsets into the filler.
const FILLER_OFFSETS: u64 = 61;
/// Draws of a Zipf law that are made ahead: a draw in the load is then one load from memory.
const ZIPF_DRAWS: usize = 1 << 20;

/// Eight decimal digits of `index`, without branches or tables.
///
/// **Cost**: about 3 ns; two divisions by constants, the rest in the lanes of one word.
#[inline]
pub fn digits(index: u32) -> [u8; DIGITS] {
    let lanes = u64::from(index / 10_000) | u64::from(index % 10_000) << 32; // Two lanes of four digits.
    let hundreds = ((lanes * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let pairs = hundreds | (lanes - 100 * hundreds) << 16; // Four lanes of two digits.
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    let single = tens | (pairs - 10 * tens) << 8;
    (single | 0x3030_3030_3030_3030).to_le_bytes()
}

/// Small fast generator (xorshift64*); quality is enough for spreading draws.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator whose sequence follows from `seed` alone.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d | 1)
    }

    /// Next 32 random bits.
    #[inline]
    pub fn bits(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    /// A number below `bound`, each about equally likely.
    #[inline]
    pub fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.bits()) * u64::from(bound)) >> 32) as u32
    }

    /// A number in 0..1.
    pub fn unit(&mut self) -> f64 {
        f64::from(self.bits()) / 4_294_967_296.0
    }
}

/// Which key is drawn next.
pub struct Law {
    kind: Kind,
    keys: u32,
    /// A draw hits when 32 random bits are not above this.
    hit_below: u32,
    random: Random,
}

enum Kind {
    Uniform,
    /// Ready draws, and the place in them.
    Zipf(std::sync::Arc<[u32]>, usize),
    /// Every key once, from the first on.
    Sequential(u32),
}

impl Law {
    /// Every key with the same probability.
    pub fn uniform(keys: u32, hit_ratio: f64, seed: u64) -> Self {
        Self { kind: Kind::Uniform, keys, hit_below: hit_threshold(hit_ratio), random: Random::new(seed) }
    }

    /// Keys by a Zipf law; `draws` comes from [`zipf_draws`] and is shared by threads that start at different places.
    pub fn zipf(draws: std::sync::Arc<[u32]>, keys: u32, hit_ratio: f64, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let place = random.below(draws.len() as u32) as usize;
        Self { kind: Kind::Zipf(draws, place), keys, hit_below: hit_threshold(hit_ratio), random }
    }

    /// All keys in order, again and again.
    pub fn sequential(keys: u32) -> Self {
        Self { kind: Kind::Sequential(0), keys, hit_below: u32::MAX, random: Random::new(1) }
    }

    /// Index of the next key: below `keys` for one that exists, `keys..2*keys` for one that does not.
    #[inline]
    pub fn draw(&mut self) -> u32 {
        let index = match &mut self.kind {
            Kind::Uniform => self.random.below(self.keys),
            Kind::Zipf(draws, place) => {
                *place = (*place + 1) % draws.len();
                draws[*place]
            }
            Kind::Sequential(next) => {
                let index = *next;
                *next = if index + 1 == self.keys { 0 } else { index + 1 };
                return index;
            }
        };
        if self.hit_below != u32::MAX && self.random.bits() > self.hit_below { index + self.keys } else { index }
    }
}

fn hit_threshold(hit_ratio: f64) -> u32 {
    (hit_ratio * f64::from(u32::MAX)) as u32
}

/// Draws of a Zipf law with exponent `theta` over `keys` ranks, spread over the key space so that hot keys are not
/// neighbours.
///
/// **Cost**: eight bytes a key while it runs; a binary search per draw.
pub fn zipf_draws(keys: u32, theta: f64, seed: u64) -> std::sync::Arc<[u32]> {
    let mut sum = 0.0;
    let cumulative: Vec<f64> = (1..=keys)
        .map(|rank| {
            sum += f64::from(rank).powf(-theta);
            sum
        })
        .collect();
    let mut random = Random::new(seed);
    (0..ZIPF_DRAWS)
        .map(|_| {
            let wanted = random.unit() * sum;
            let rank = cumulative.partition_point(|&reached| reached < wanted).min(keys as usize - 1);
            spread(rank as u32, keys)
        })
        .collect()
}

/// A permutation-like spread of ranks over keys: multiplication by a prime that is no multiple of the key count.
fn spread(rank: u32, keys: u32) -> u32 {
    const PRIME: u64 = 2_654_435_761;
    (u64::from(rank) * PRIME % u64::from(keys)) as u32
}

/// Writes keys and values of one size.
#[derive(Clone, Debug)]
pub struct Texts {
    key: Vec<u8>,
    value_size: usize,
    filler: Vec<u8>,
}

impl Texts {
    /// **Errors**: a key size without room for prefix and digits.
    pub fn new(prefix: &str, key_size: usize, value_size: usize) -> Result<Self, String> {
        let room = key_size.checked_sub(DIGITS + prefix.len());
        let zeros = room.ok_or(format!("a key needs at least {} bytes", DIGITS + prefix.len()))?;
        let mut key = prefix.as_bytes().to_vec();
        key.resize(key_size, b'0');
        debug_assert_eq!(key.len(), prefix.len() + zeros + DIGITS);
        let filler = (0..value_size as u64 + FILLER_OFFSETS).map(|at| (at * 151 + (at >> 8)) as u8).collect();
        Ok(Self { key, value_size, filler })
    }

    /// The key with index 0; every other key differs in its last eight bytes.
    pub fn first_key(&self) -> &[u8] {
        &self.key
    }

    /// Where the value's head starts having room for digits, and for digits and stamp.
    pub fn value_has_digits(&self) -> bool {
        self.value_size >= DIGITS
    }

    /// Whether values have room for a stamp.
    pub fn value_has_stamp(&self) -> bool {
        self.value_size >= DIGITS + STAMP
    }

    /// The whole value of key `index` under `stamp`.
    pub fn value(&self, index: u32, stamp: u64) -> Vec<u8> {
        let offset = if self.value_has_stamp() { (stamp % FILLER_OFFSETS) as usize } else { 0 };
        let mut value = self.filler[offset..offset + self.value_size].to_vec();
        if self.value_has_digits() {
            value[..DIGITS].copy_from_slice(&digits(index));
        }
        if self.value_has_stamp() {
            value[DIGITS..DIGITS + STAMP].copy_from_slice(format!("{stamp:016x}").as_bytes());
        }
        value
    }

    /// Checks `value` as a value of key `index`; gives back its stamp (0 if values have no room for one).
    ///
    /// **Errors**: what is wrong with it.
    pub fn check(&self, index: u32, value: &[u8]) -> Result<u64, String> {
        if value.len() != self.value_size {
            return Err(format!("value of {} bytes where {} were written", value.len(), self.value_size));
        }
        if self.value_has_digits() && value[..DIGITS] != digits(index) {
            return Err(format!("value of key {:?}", String::from_utf8_lossy(&value[..DIGITS])));
        }
        let mut stamp = 0;
        if self.value_has_stamp() {
            let text = std::str::from_utf8(&value[DIGITS..DIGITS + STAMP]).ok();
            stamp = text.and_then(|text| u64::from_str_radix(text, 16).ok()).ok_or("stamp is no number")?;
        }
        if self.value(index, stamp) != value { Err("torn value: filler and stamp disagree".into()) } else { Ok(stamp) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_the_decimal_text() {
        for index in (0..99_999_999).step_by(997).chain([9, 10, 99, 100, 9_999, 10_000, 99_999_999]) {
            assert_eq!(digits(index), format!("{index:08}").as_bytes());
        }
    }

    #[test]
    fn a_value_tells_its_key_and_stamp_and_shows_tearing() {
        let texts = Texts::new("key:", 16, 64).unwrap();
        let value = texts.value(77, 0x1234);
        assert_eq!(texts.check(77, &value), Ok(0x1234));
        assert!(texts.check(78, &value).is_err());
        let other = texts.value(77, 0x1235);
        let torn: Vec<u8> = value[..32].iter().chain(&other[32..]).copied().collect();
        assert!(texts.check(77, &torn).is_err());
        assert!(texts.check(77, &value[..63]).is_err());
    }

    #[test]
    fn hit_ratio_is_the_share_of_existing_keys() {
        let mut law = Law::uniform(1000, 0.8, 5);
        let hits = (0..100_000).filter(|_| law.draw() < 1000).count();
        assert!((79_000..81_000).contains(&hits), "{hits}");
    }

    #[test]
    fn zipf_prefers_few_keys_and_stays_in_range() {
        let draws = zipf_draws(10_000, 0.99, 3);
        let mut counts = vec![0u32; 10_000];
        draws.iter().for_each(|&index| counts[index as usize] += 1);
        let share = f64::from(*counts.iter().max().unwrap()) / draws.len() as f64;
        assert!((0.08..0.13).contains(&share), "{share}"); // 1 / H(10 000, 0.99) is about 0.099.
    }
}
