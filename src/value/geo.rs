//! Places on the earth as scores of a sorted set, and the search among them.
//!
//! ```text
//! score   52 bits: longitude and latitude, 26 bits each, one bit of each in turn, the longitude's first
//! cell    the places whose scores share their first 2 · step bits: a rectangle, and a range of scores
//! ```
//! A search covers its area with the cell of its centre and that cell's eight neighbours, at the smallest size that will
//! do, and looks at every place in them. The order of operations on doubles is that of Redis, because replies show
//! their last digits.
//!
//! **Source**: G. M. Morton, "A computer oriented geodetic data base", 1966; limits, radius and rounding: Redis's GEO
//! commands.

#![forbid(unsafe_code)]

use std::f64::consts::PI;
use std::ops::Range;

/// Degrees.
pub const LONGITUDE_MAX: f64 = 180.0;
/// Degrees. Beyond, Mercator's projection ends (EPSG:3857).
pub const LATITUDE_MAX: f64 = 85.05112878;
/// Metres.
const EARTH_RADIUS: f64 = 6372797.560856;
/// Metres: half of the projection's width.
const MERCATOR_MAX: f64 = 20037726.37;
/// Bits of each coordinate in a score.
const STEP_MAX: u32 = 26;

/// A place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Degrees, east of Greenwich.
    pub longitude: f64,
    /// Degrees, north of the equator.
    pub latitude: f64,
}

/// The smallest and the largest value of each coordinate.
#[derive(Clone, Copy)]
struct Bounds {
    longitude: [f64; 2],
    latitude: [f64; 2],
}

const WORLD: Bounds = Bounds { longitude: [-LONGITUDE_MAX, LONGITUDE_MAX], latitude: [-LATITUDE_MAX, LATITUDE_MAX] };
/// What geohash texts are relative to.
const WHOLE_WORLD: Bounds = Bounds { longitude: [-180.0, 180.0], latitude: [-90.0, 90.0] };

fn radians(degrees: f64) -> f64 {
    degrees * (PI / 180.0)
}

fn degrees(radians: f64) -> f64 {
    radians / (PI / 180.0)
}

/// The low 32 bits at the even places.
fn spread(bits: u64) -> u64 {
    let mut spread = bits & 0xffff_ffff;
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        spread = (spread | spread << shift) & mask;
    }
    spread
}

/// The bits at the even places, side by side.
fn gather(bits: u64) -> u64 {
    let mut gathered = bits & 0x5555_5555_5555_5555;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0xffff_ffff),
    ] {
        gathered = (gathered | gathered >> shift) & mask;
    }
    gathered
}

/// A rectangle of the world: the first 2 · `step` bits of the scores in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    bits: u64,
    step: u32,
}

const EVEN: u64 = 0x5555_5555_5555_5555;
const ODD: u64 = EVEN << 1;

impl Cell {
    fn of(place: Place, bounds: Bounds, step: u32) -> Self {
        let part = |value: f64, [min, max]: [f64; 2]| (value - min) / (max - min) * (1u64 << step) as f64;
        let latitude = part(place.latitude, bounds.latitude) as u64;
        let longitude = part(place.longitude, bounds.longitude) as u64;
        Cell { bits: spread(latitude) | spread(longitude) << 1, step }
    }
    fn bounds(self) -> Bounds {
        let edges = |number: u64, [min, max]: [f64; 2]| {
            let edge = |number: u64| min + number as f64 / (1u64 << self.step) as f64 * (max - min);
            [edge(number), edge(number + 1)]
        };
        Bounds {
            longitude: edges(gather(self.bits >> 1), WORLD.longitude),
            latitude: edges(gather(self.bits), WORLD.latitude),
        }
    }
    /// The cell so many to the east and to the north; around the world and over its edges.
    fn beside(self, east: i64, north: i64) -> Self {
        let shifted = |bits: u64, by: i64| gather(bits).wrapping_add(by as u64) & ((1u64 << self.step) - 1);
        let (longitude, latitude) = (shifted(self.bits >> 1 & EVEN, east), shifted(self.bits & EVEN, north));
        let bits = |moved: u64, mask: u64, by: i64, old: u64| if by == 0 { old & mask } else { moved };
        let column = bits(spread(longitude) << 1, ODD, east, self.bits);
        Cell { bits: column | bits(spread(latitude), EVEN, north, self.bits), step: self.step }
    }
    /// The scores of its places, the end left out.
    fn scores(self) -> Range<f64> {
        let align = |bits: u64| (bits << (2 * (STEP_MAX - self.step))) as f64;
        align(self.bits)..align(self.bits + 1)
    }
}

/// The bits of a score that no place has given, as Redis's own conversion takes them on x86-64: modulo 2^64 from -2^63 on,
/// 2^63 below, 0 from 2^64 on.
fn wrapped(score: f64) -> u64 {
    const HALF: f64 = (1u64 << 63) as f64;
    let signed = |score: f64| if (-HALF..HALF).contains(&score) { score as i64 as u64 } else { 1 << 63 };
    if score < HALF { signed(score) } else { signed(score - HALF) ^ 1 << 63 }
}

impl Place {
    /// None: outside of what can be encoded.
    pub fn new(longitude: f64, latitude: f64) -> Option<Self> {
        let fits =
            (-LONGITUDE_MAX..=LONGITUDE_MAX).contains(&longitude) && (-LATITUDE_MAX..=LATITUDE_MAX).contains(&latitude);
        fits.then_some(Place { longitude, latitude })
    }
    /// The score of the place.
    pub fn score(self) -> f64 {
        Cell::of(self, WORLD, STEP_MAX).bits as f64
    }
    /// The middle of the smallest cell with this score.
    pub fn of_score(score: f64) -> Self {
        let bounds = Cell { bits: wrapped(score), step: STEP_MAX }.bounds();
        let middle = |[min, max]: [f64; 2], limit: f64| ((min + max) / 2.0).clamp(-limit, limit);
        Place { longitude: middle(bounds.longitude, LONGITUDE_MAX), latitude: middle(bounds.latitude, LATITUDE_MAX) }
    }
    /// Metres between two places on a sphere.
    pub fn distance(self, other: Place) -> f64 {
        let v = ((radians(other.longitude) - radians(self.longitude)) / 2.0).sin();
        if v == 0.0 {
            return meridian_distance(self.latitude, other.latitude);
        }
        let (own, others) = (radians(self.latitude), radians(other.latitude));
        let u = ((others - own) / 2.0).sin();
        let a = u * u + own.cos() * others.cos() * v * v;
        2.0 * EARTH_RADIUS * a.sqrt().asin()
    }
    /// The text of eleven letters that other programs know places by. The last one is always 0: there are but 52 bits.
    pub fn geohash(self) -> [u8; 11] {
        const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let bits = Cell::of(self, WHOLE_WORLD, STEP_MAX).bits;
        std::array::from_fn(|at| match at {
            0..10 => LETTERS[(bits >> (47 - 5 * at) & 0x1f) as usize],
            _ => LETTERS[0],
        })
    }
}

/// Metres between two latitudes.
fn meridian_distance(one: f64, other: f64) -> f64 {
    EARTH_RADIUS * (radians(other) - radians(one)).abs()
}

/// An area, in metres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    Circle { radius: f64 },
    Box { width: f64, height: f64 },
}

/// An area around a place.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    pub centre: Place,
    pub shape: Shape,
}

impl Area {
    /// The distance of a place in the area; None: outside.
    pub fn distance(&self, place: Place) -> Option<f64> {
        match self.shape {
            Shape::Circle { radius } => Some(self.centre.distance(place)).filter(|&distance| distance <= radius),
            Shape::Box { width, height } => {
                let is_outside = meridian_distance(place.latitude, self.centre.latitude) > height / 2.0
                    || place.distance(Place { latitude: place.latitude, ..self.centre }) > width / 2.0;
                (!is_outside).then(|| self.centre.distance(place))
            }
        }
    }
    /// Half of the area's extent to the north and to the east, and the distance of its farthest point.
    fn reach(&self) -> (f64, f64, f64) {
        match self.shape {
            Shape::Circle { radius } => (radius, radius, radius),
            Shape::Box { width, height } => {
                let (half_width, half_height) = (width / 2.0, height / 2.0);
                (half_height, half_width, (half_width * half_width + half_height * half_height).sqrt())
            }
        }
    }
    fn bounds(&self) -> Bounds {
        let Place { longitude, latitude } = self.centre;
        let (north, east, _) = self.reach();
        let rise = degrees(north / EARTH_RADIUS);
        // Meridians come together towards the poles: the edge that is nearer to one decides.
        let nearer = if latitude < 0.0 { latitude - rise } else { latitude + rise };
        let turn = degrees(east / EARTH_RADIUS / radians(nearer).cos());
        Bounds { longitude: [longitude - turn, longitude + turn], latitude: [latitude - rise, latitude + rise] }
    }
    /// The size of cells that are likely to do.
    fn estimate(&self) -> u32 {
        let (_, _, mut reach) = self.reach();
        if reach == 0.0 {
            return STEP_MAX;
        }
        let mut step = -1;
        while reach < MERCATOR_MAX {
            reach *= 2.0;
            step += 1;
        }
        let latitude = self.centre.latitude.abs();
        step -= (latitude > 66.0) as i32 + (latitude > 80.0) as i32;
        step.clamp(1, STEP_MAX as i32) as u32
    }
    /// Ranges of scores in which all places of the area are: those of the centre's cell, then of its neighbours.
    pub fn ranges(&self) -> Vec<Range<f64>> {
        let wanted = self.bounds();
        let mut step = self.estimate();
        let mut centre = Cell::of(self.centre, WORLD, step);
        let falls_short = centre.beside(0, 1).bounds().latitude[1] < wanted.latitude[1]
            || centre.beside(0, -1).bounds().latitude[0] > wanted.latitude[0]
            || centre.beside(1, 0).bounds().longitude[1] < wanted.longitude[1]
            || centre.beside(-1, 0).bounds().longitude[0] > wanted.longitude[0];
        if step > 1 && falls_short {
            step -= 1;
            centre = Cell::of(self.centre, WORLD, step);
        }
        let own = centre.bounds();
        // Neighbours on a side on which the centre's cell is enough are left out.
        let is_useless = |east: i64, north: i64| {
            step >= 2
                && (north < 0 && own.latitude[0] < wanted.latitude[0]
                    || north > 0 && own.latitude[1] > wanted.latitude[1]
                    || east < 0 && own.longitude[0] < wanted.longitude[0]
                    || east > 0 && own.longitude[1] > wanted.longitude[1])
        };
        let around = [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        let mut cells = vec![centre];
        for (east, north) in around.into_iter().filter(|&(east, north)| !is_useless(east, north)) {
            let cell = centre.beside(east, north);
            // Cells of a size of the world meet themselves around it. As in Redis the centre's is not looked at here.
            if cells.len() == 1 || cells.last() != Some(&cell) {
                cells.push(cell);
            }
        }
        cells.into_iter().map(Cell::scores).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    const PALERMO: Place = Place { longitude: 13.361389, latitude: 38.115556 };
    const CATANIA: Place = Place { longitude: 15.087269, latitude: 37.502669 };

    fn anywhere(prng: &mut Prng) -> Place {
        let mut within = |limit: f64| (prng.below(2_000_001) as f64 / 1e6 - 1.0) * limit;
        Place { longitude: within(LONGITUDE_MAX), latitude: within(LATITUDE_MAX) }
    }

    #[test]
    fn scores_texts_and_distances_are_those_of_redis() {
        assert_eq!(PALERMO.score(), 3479099956230698.0);
        assert_eq!(CATANIA.score(), 3479447370796909.0);
        let [palermo, catania] = [PALERMO, CATANIA].map(|place| Place::of_score(place.score()));
        assert_eq!(format!("{:.17}", palermo.longitude), "13.36138933897018433");
        assert_eq!(format!("{:.17}", palermo.latitude), "38.11555639549629859");
        assert_eq!(palermo.geohash(), *b"sqc8b49rny0");
        assert_eq!(catania.geohash(), *b"sqdtr74hyu0");
        assert_eq!(format!("{:.4}", palermo.distance(catania)), "166274.1516");
    }

    #[test]
    fn a_score_gives_its_place_back() {
        let mut prng = Prng::seeded(3);
        for _ in 0..10_000 {
            let place = anywhere(&mut prng);
            let back = Place::of_score(place.score());
            assert!((back.longitude - place.longitude).abs() < 6e-6, "{place:?} {back:?}");
            assert!((back.latitude - place.latitude).abs() < 3e-6, "{place:?} {back:?}");
            assert_eq!(back.score(), place.score());
        }
    }

    #[test]
    fn every_place_of_an_area_is_in_one_of_its_ranges() {
        let mut prng = Prng::seeded(4);
        for _ in 0..20_000 {
            let centre = anywhere(&mut prng);
            // Where a pole or the date line is near, Redis finds less as well.
            let reach = 10f64.powi(prng.below(4) as i32 + 1) * (prng.below(90) + 10) as f64 / 10.0;
            let shape = match prng.below(2) {
                0 => Shape::Circle { radius: reach },
                _ => Shape::Box { width: reach, height: reach / 3.0 },
            };
            if centre.latitude.abs() > 75.0 || centre.longitude.abs() > 170.0 {
                continue;
            }
            let area = Area { centre, shape };
            let offset = |prng: &mut Prng| (prng.below(2001) as f64 / 1000.0 - 1.0) * reach / 100_000.0;
            let place = Place {
                longitude: centre.longitude + offset(&mut prng),
                latitude: centre.latitude + offset(&mut prng),
            };
            let place = Place::of_score(place.score());
            if area.distance(place).is_some() {
                let score = place.score();
                assert!(area.ranges().iter().any(|range| range.contains(&score)), "{area:?} {place:?}");
            }
        }
    }
}
