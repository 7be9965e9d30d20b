//! The geo family: places as members of a sorted set whose scores are their coordinates. The searches are in `geo_search`.

use super::command::{Begin, Command, Cx, Find, Flow, KeySpec, acl, cmd, flag};
use super::geo_search;
use super::zset::{Rule, parse_score, store_scores};
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::resp::reply::Reply;
use crate::value::geo::Place;
use crate::value::zset::SortedSet;
use smallvec::SmallVec;

pub static ROWS: &[Command] = &[
    cmd("geoadd", geoadd)
        .arity(-5)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::GEO)
        .keys(&[KeySpec::one(1, &["RW", "update"])])
        .group("geo", "3.2.0"),
    cmd("geopos", geopos)
        .arity(-2)
        .flags(flag::READONLY)
        .acl(acl::GEO)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("geo", "3.2.0"),
    cmd("geodist", geodist)
        .arity(-4)
        .flags(flag::READONLY)
        .acl(acl::GEO)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("geo", "3.2.0"),
    cmd("geohash", geohash)
        .arity(-2)
        .flags(flag::READONLY)
        .acl(acl::GEO)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("geo", "3.2.0"),
    cmd("geosearch", geo_search::geosearch)
        .arity(-7)
        .flags(flag::READONLY)
        .acl(acl::GEO)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("geo", "6.2.0"),
    cmd("geosearchstore", geo_search::geosearchstore)
        .arity(-8)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::GEO)
        .keys(&[KeySpec::one(1, &["OW", "update"]), KeySpec::one(2, &["RO", "access"])])
        .group("geo", "6.2.0"),
    cmd("georadius", geo_search::georadius)
        .arity(-6)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::GEO)
        .keys(&[
            KeySpec::one(1, &["RO", "access"]),
            KeySpec::new(Begin::Keyword("STORE", 6), Find::Range { last: 0, step: 1, limit: 0 }, &["OW", "update"]),
            KeySpec::new(Begin::Keyword("STOREDIST", 6), Find::Range { last: 0, step: 1, limit: 0 }, &["OW", "update"]),
        ])
        .group("geo", "3.2.0")
        .deprecated("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument"),
    cmd("georadius_ro", geo_search::georadius_ro)
        .arity(-6)
        .flags(flag::READONLY)
        .acl(acl::GEO)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("geo", "3.2.10")
        .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` argument"),
    cmd("georadiusbymember", geo_search::georadiusbymember)
        .arity(-5)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::GEO)
        .keys(&[
            KeySpec::one(1, &["RO", "access"]),
            KeySpec::new(Begin::Keyword("STORE", 5), Find::Range { last: 0, step: 1, limit: 0 }, &["OW", "update"]),
            KeySpec::new(Begin::Keyword("STOREDIST", 5), Find::Range { last: 0, step: 1, limit: 0 }, &["OW", "update"]),
        ])
        .group("geo", "3.2.0")
        .deprecated("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments"),
    cmd("georadiusbymember_ro", geo_search::georadiusbymember_ro)
        .arity(-5)
        .flags(flag::READONLY)
        .acl(acl::GEO)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("geo", "3.2.10")
        .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments"),
];

/// Two arguments as a place: longitude, latitude.
pub(super) fn parse_place(args: &Args<'_>, at: usize) -> Result<Place, ReplyError> {
    let (longitude, latitude) = (parse_score(args.get(at))?, parse_score(args.get(at + 1))?);
    Place::new(longitude, latitude)
        .ok_or_else(|| ReplyError::owned(format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}")))
}

/// The metres of a unit.
pub(super) fn parse_unit(text: &[u8]) -> Result<f64, ReplyError> {
    let is = |name: &str| text.eq_ignore_ascii_case(name.as_bytes());
    match () {
        _ if is("m") => Ok(1.0),
        _ if is("km") => Ok(1000.0),
        _ if is("ft") => Ok(0.3048),
        _ if is("mi") => Ok(1609.34),
        _ => Err(ReplyError::text("ERR unsupported unit provided. please use M, KM, FT, MI")),
    }
}

/// A distance with four digits behind the point, halves rounded to even ones.
pub(super) fn reply_distance(reply: &mut Reply, distance: f64) {
    let scaled = (distance * 10_000.0).round_ties_even() as i64;
    let (whole, rest) = (scaled / 10_000, scaled % 10_000);
    reply.bulk(format!("{whole}.{rest:04}").as_bytes());
}

/// Longitude and latitude, with up to 17 digits behind the point.
pub(super) fn reply_place(reply: &mut Reply, place: Place) {
    reply.array(2);
    for degrees in [place.longitude, place.latitude] {
        let text = format!("{degrees:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        reply.double_text(if text == "-0" { b"0" } else { text.as_bytes() });
    }
}

/// Add places, or move them.
/// Shape:  key [NX|XX] [CH] (longitude latitude member)+
/// Errors: Syntax, NotFloat, coordinates that cannot be encoded; before any write.
fn geoadd(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let mut rule = Rule::default();
    let mut first = 2;
    while first < args.count() {
        match () {
            _ if args.is(first, "nx") => rule.nx = true,
            _ if args.is(first, "xx") => rule.xx = true,
            _ if args.is(first, "ch") => rule.ch = true,
            _ => break,
        }
        first += 1;
    }
    let words = args.count() - first;
    if !words.is_multiple_of(3) || rule.nx && rule.xx {
        return Err(ReplyError::Syntax);
    }
    let places: SmallVec<[_; 8]> = (first..args.count())
        .step_by(3)
        .map(|at| Ok((parse_place(&args, at)?.score(), args.get(at + 2))))
        .collect::<Result<_, ReplyError>>()?;
    if places.is_empty() {
        return Err(ReplyError::Syntax);
    }
    store_scores(cx, args, rule, &places)
}

/// Reply longitude and latitude of places.
/// Shape: key member*
fn geopos(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let zset = cx.keys.look::<SortedSet>(cx.key(&args, 1))?;
    cx.reply.array(args.count() - 2);
    for member in args.iter_from(2) {
        match zset.as_ref().and_then(|zset| zset.score(member)) {
            Some(score) => reply_place(cx.reply, Place::of_score(score)),
            None => cx.reply.null_array(),
        }
    }
    Ok(Flow::Done)
}

/// Reply the distance between two places.
/// Shape:  key member member [M|KM|FT|MI]
/// Errors: unit, Syntax.
fn geodist(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let metres = match args.count() {
        4 => 1.0,
        5 => parse_unit(args.get(4))?,
        _ => return Err(ReplyError::Syntax),
    };
    let zset = cx.keys.look::<SortedSet>(cx.key(&args, 1))?;
    let place = |index| zset.as_ref()?.score(args.get(index)).map(Place::of_score);
    match place(2).zip(place(3)) {
        Some((one, other)) => reply_distance(cx.reply, one.distance(other) / metres),
        None => cx.reply.null(),
    }
    Ok(Flow::Done)
}

/// Reply the geohash texts of places.
/// Shape: key member*
fn geohash(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let zset = cx.keys.look::<SortedSet>(cx.key(&args, 1))?;
    cx.reply.array(args.count() - 2);
    for member in args.iter_from(2) {
        match zset.as_ref().and_then(|zset| zset.score(member)) {
            Some(score) => cx.reply.bulk(&Place::of_score(score).geohash()),
            None => cx.reply.null(),
        }
    }
    Ok(Flow::Done)
}
