//! Searches for places: GEOSEARCH, GEORADIUS and their relatives, which are one search with different words around it.

use super::command::{Cx, Flow};
use super::geo::{parse_place, parse_unit, reply_distance, reply_place};
use super::zset::{limits, parse_score};
use super::zset_range::{store, tell_stored};
use crate::base::num::parse_i64;
use crate::keyspace::objects::Access;
use crate::resp::args::Args;
use crate::resp::error::{ReplyError, escaped};
use crate::resp::reply::Reply;
use crate::value::geo::{Area, Place, Shape};
use crate::value::zset::{Cut, Limits, SortedSet};
use std::cmp::Ordering;

/// The words of a command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// key longitude latitude radius unit options
    Around { may_store: bool },
    /// key member radius unit options
    AroundMember { may_store: bool },
    /// key FROM… BY… options
    Search,
    /// destination source FROM… BY… options
    SearchStore,
}

impl Form {
    /// The argument of the key that is searched.
    fn source(self) -> usize {
        if self == Form::SearchStore { 2 } else { 1 }
    }
    /// The first argument that is an option.
    fn options(self) -> usize {
        match self {
            Form::Around { .. } => 6,
            Form::AroundMember { .. } => 5,
            Form::Search => 2,
            Form::SearchStore => 3,
        }
    }
    fn is_search(self) -> bool {
        matches!(self, Form::Search | Form::SearchStore)
    }
    /// May STORE and STOREDIST name a key?
    fn may_store(self) -> bool {
        matches!(self, Form::Around { may_store: true } | Form::AroundMember { may_store: true })
    }
    /// The argument of the key that the result is stored under. It must be known before the keys are locked.
    fn destination(self, args: &Args<'_>) -> Option<usize> {
        if self == Form::SearchStore {
            return Some(1);
        }
        let (mut found, mut at) = (None, self.options());
        while self.may_store() && at + 1 < args.count() {
            let is_store = args.is(at, "store") || args.is(at, "storedist");
            if is_store {
                found = Some(at + 1);
            }
            at += 1 + (is_store || args.is(at, "count")) as usize;
        }
        found
    }
}

/// What is asked for. Without a centre or a shape there is nothing to be searched: the key is absent.
#[derive(Default)]
struct Request {
    centre: Option<Place>,
    /// FROMMEMBER, FROMLONLAT, or neither.
    from: Option<From>,
    shape: Option<Shape>,
    /// Metres of the unit.
    unit: f64,
    with_distance: bool,
    with_hash: bool,
    with_place: bool,
    /// The nearest first, or the farthest.
    order: Option<Ordering>,
    /// 0: all.
    count: usize,
    any: bool,
    stores_distance: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Member,
    Place,
}

/// The place of a member.
fn place_of(zset: &SortedSet, member: &[u8]) -> Result<Place, ReplyError> {
    let score = zset.score(member).ok_or(ReplyError::text("ERR could not decode requested zset member"))?;
    Ok(Place::of_score(score))
}

/// A length that may not be negative.
fn parse_length(text: &[u8], not_a_number: &'static str) -> Result<f64, ReplyError> {
    parse_score(text).map_err(|_| ReplyError::text(not_a_number))
}

/// Shape: radius unit, from argument `at` on
fn parse_circle(args: &Args<'_>, at: usize) -> Result<(Shape, f64), ReplyError> {
    let radius = parse_length(args.get(at), "ERR need numeric radius")?;
    if radius < 0.0 {
        return Err(ReplyError::text("ERR radius cannot be negative"));
    }
    let unit = parse_unit(args.get(at + 1))?;
    Ok((Shape::Circle { radius: radius * unit }, unit))
}

/// Shape: width height unit, from argument `at` on
fn parse_box(args: &Args<'_>, at: usize) -> Result<(Shape, f64), ReplyError> {
    let width = parse_length(args.get(at), "ERR need numeric width")?;
    let height = parse_length(args.get(at + 1), "ERR need numeric height")?;
    if width < 0.0 || height < 0.0 {
        return Err(ReplyError::text("ERR height or width cannot be negative"));
    }
    let unit = parse_unit(args.get(at + 2))?;
    Ok((Shape::Box { width: width * unit, height: height * unit }, unit))
}

impl Request {
    /// The arguments. Members are looked up as they come, so that errors come in Redis's order.
    fn parse(args: &Args<'_>, form: Form, zset: Option<&SortedSet>) -> Result<Self, ReplyError> {
        let mut request = Request::default();
        match form {
            Form::Around { .. } => {
                request.centre = Some(parse_place(args, 2)?);
                request.set_shape(parse_circle(args, 4)?);
            }
            Form::AroundMember { .. } => {
                if let Some(zset) = zset {
                    request.centre = Some(place_of(zset, args.get(2))?);
                    request.set_shape(parse_circle(args, 3)?);
                }
            }
            Form::Search | Form::SearchStore => {}
        }
        let mut at = form.options();
        while at < args.count() {
            at += request.option(args, at, form, zset)?;
        }
        request.check(args, form)?;
        Ok(request)
    }
    fn set_shape(&mut self, (shape, unit): (Shape, f64)) {
        (self.shape, self.unit) = (Some(shape), unit);
    }
    /// Reads the option at argument `at`. Returns the number of its words.
    fn option(
        &mut self,
        args: &Args<'_>,
        at: usize,
        form: Form,
        zset: Option<&SortedSet>,
    ) -> Result<usize, ReplyError> {
        let behind = args.count() - at - 1;
        match () {
            _ if args.is(at, "withdist") => self.with_distance = true,
            _ if args.is(at, "withhash") => self.with_hash = true,
            _ if args.is(at, "withcoord") => self.with_place = true,
            _ if args.is(at, "any") => self.any = true,
            _ if args.is(at, "asc") => self.order = Some(Ordering::Less),
            _ if args.is(at, "desc") => self.order = Some(Ordering::Greater),
            _ if args.is(at, "count") && behind >= 1 => {
                let count = parse_i64(args.get(at + 1)).ok_or(ReplyError::NotInteger)?;
                let count = usize::try_from(count).ok().filter(|&count| count > 0);
                self.count = count.ok_or(ReplyError::text("ERR COUNT must be > 0"))?;
                return Ok(2);
            }
            _ if form.may_store() && behind >= 1 && (args.is(at, "store") || args.is(at, "storedist")) => {
                self.stores_distance = args.is(at, "storedist");
                return Ok(2);
            }
            _ if form == Form::SearchStore && args.is(at, "storedist") => self.stores_distance = true,
            _ if form.is_search() => return self.search_option(args, at, zset),
            _ => return Err(ReplyError::Syntax),
        }
        Ok(1)
    }
    /// As `option`, for the words that GEOSEARCH alone has.
    fn search_option(&mut self, args: &Args<'_>, at: usize, zset: Option<&SortedSet>) -> Result<usize, ReplyError> {
        let behind = args.count() - at - 1;
        let is_circle = matches!(self.shape, Some(Shape::Circle { .. }));
        let is_box = matches!(self.shape, Some(Shape::Box { .. }));
        match () {
            _ if args.is(at, "frommember") && behind >= 1 && self.from != Some(From::Place) => {
                if let Some(zset) = zset {
                    self.centre = Some(place_of(zset, args.get(at + 1))?);
                }
                self.from = Some(From::Member);
                Ok(2)
            }
            _ if args.is(at, "fromlonlat") && behind >= 2 && self.from != Some(From::Member) => {
                self.centre = Some(parse_place(args, at + 1)?);
                self.from = Some(From::Place);
                Ok(3)
            }
            _ if args.is(at, "byradius") && behind >= 2 && !is_box => {
                self.set_shape(parse_circle(args, at + 1)?);
                Ok(3)
            }
            _ if args.is(at, "bybox") && behind >= 3 && !is_circle => {
                self.set_shape(parse_box(args, at + 1)?);
                Ok(4)
            }
            _ => Err(ReplyError::Syntax),
        }
    }
    /// Errors: options that do not go together, or are missing.
    fn check(&self, args: &Args<'_>, form: Form) -> Result<(), ReplyError> {
        let shows_more = self.with_distance || self.with_hash || self.with_place;
        if shows_more && form.destination(args).is_some() {
            let what = if form == Form::SearchStore { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            let text = format!("ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options");
            return Err(ReplyError::owned(text));
        }
        let one_of = |words: &str| {
            let name = escaped(args.get(0));
            Err(ReplyError::owned(format!("ERR exactly one of {words} can be specified for {name}")))
        };
        if form.is_search() && self.from.is_none() {
            return one_of("FROMMEMBER or FROMLONLAT");
        }
        if form.is_search() && self.shape.is_none() {
            return one_of("BYRADIUS and BYBOX");
        }
        if self.any && self.count == 0 {
            return Err(ReplyError::text("ERR the ANY argument requires COUNT argument"));
        }
        Ok(())
    }
}

/// A place that was found.
struct Found {
    member: Vec<u8>,
    score: f64,
    place: Place,
    /// In the unit of the request.
    distance: f64,
}

/// Members that are looked at before it is asked whether there are enough.
const PORTION: usize = 64;

/// The places that a request asks for, in the order that it asks for.
fn search(zset: &SortedSet, request: &Request) -> Vec<Found> {
    let Some((centre, shape)) = request.centre.zip(request.shape) else { return Vec::new() };
    let area = Area { centre, shape };
    let mut found = Vec::new();
    let enough = if request.any { request.count } else { usize::MAX };
    'all: for scores in area.ranges() {
        let ranks = zset.between(Cut::BelowScore(scores.start), Cut::BelowScore(scores.end));
        for start in ranks.clone().step_by(PORTION) {
            zset.each(start..ranks.end.min(start + PORTION), false, |member, score| {
                let place = Place::of_score(score);
                if let Some(distance) = area.distance(place) {
                    found.push(Found { member: member.to_vec(), score, place, distance });
                }
            });
            if found.len() >= enough {
                found.truncate(enough);
                break 'all;
            }
        }
    }
    // A count without an order means the nearest ones, unless any will do.
    let nearest = (request.count > 0 && !request.any).then_some(Ordering::Less);
    match request.order.or(nearest) {
        Some(Ordering::Greater) => found.sort_by(|one, other| other.distance.total_cmp(&one.distance)),
        Some(_) => found.sort_by(|one, other| one.distance.total_cmp(&other.distance)),
        None => {}
    }
    if request.count > 0 {
        found.truncate(request.count);
    }
    found.iter_mut().for_each(|one| one.distance /= request.unit);
    found
}

fn reply_found(reply: &mut Reply, request: &Request, found: &[Found]) {
    let details = request.with_distance as usize + request.with_hash as usize + request.with_place as usize;
    reply.array(found.len());
    for one in found {
        if details > 0 {
            reply.array(1 + details);
        }
        reply.bulk(&one.member);
        if request.with_distance {
            reply_distance(reply, one.distance);
        }
        if request.with_hash {
            reply.int(one.score as i64);
        }
        if request.with_place {
            reply_place(reply, one.place);
        }
    }
}

/// The result as a sorted set: by distance, or as places again.
fn as_set(request: &Request, found: &[Found], limits: Limits) -> SortedSet {
    let mut result = SortedSet::default();
    for one in found {
        result.put(&one.member, limits, if request.stores_distance { one.distance } else { one.score });
    }
    result
}

fn run(cx: &mut Cx<'_>, args: Args<'_>, form: Form) -> Result<Flow, ReplyError> {
    let source = cx.key(&args, form.source());
    let Some(destination) = form.destination(&args) else {
        let zset = cx.keys.look::<SortedSet>(source)?;
        let request = Request::parse(&args, form, zset.as_deref())?;
        let found = zset.map_or(Vec::new(), |zset| search(&zset, &request));
        reply_found(cx.reply, &request, &found);
        return Ok(Flow::Done);
    };
    let limits = limits(cx);
    let wanted = [(cx.key(&args, destination), Access::Write), (source, Access::Read)];
    let outcome = cx.keys.with_held(&wanted, |held| {
        let computed = held.get::<SortedSet>(1).map_err(ReplyError::from).and_then(|zset| {
            let request = Request::parse(&args, form, zset)?;
            let found = zset.map_or(Vec::new(), |zset| search(zset, &request));
            Ok((as_set(&request, &found, limits), zset.is_some()))
        });
        match computed {
            Err(error) => Ok(Err(error)),
            Ok((result, is_there)) => Ok(Ok((store(held, 0, result)?, is_there))),
        }
    });
    let (stored @ (count, has_changed), is_there) = outcome?;
    cx.keys.looked_up(source.bytes, is_there);
    let event = if matches!(form, Form::SearchStore) { "geosearchstore" } else { "georadiusstore" };
    tell_stored(cx, args.get(destination), stored, event);
    if count > 0 {
        cx.effects.filled(cx.keys.db(), args.get(destination));
    }
    cx.effects.dirty += if count > 0 { count as u64 } else { has_changed as u64 };
    cx.reply.int(count as i64);
    Ok(Flow::Done)
}

/// Reply the places in a circle or a box.
/// Shape:  key FROMMEMBER member|FROMLONLAT longitude latitude BYRADIUS radius unit|BYBOX width height unit
///         [ASC|DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]
/// Errors: WrongType, then of the words in their order, then of what does not go together.
pub(super) fn geosearch(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    run(cx, args, Form::Search)
}

/// Store the places in a circle or a box; reply how many.
/// Shape: destination source … as `geosearch`, without WITH…, [STOREDIST]
pub(super) fn geosearchstore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    run(cx, args, Form::SearchStore)
}

/// Reply or store the places around a position.
/// Shape: key longitude latitude radius unit [WITH…] [COUNT count [ANY]] [ASC|DESC] [STORE key|STOREDIST key]
pub(super) fn georadius(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    run(cx, args, Form::Around { may_store: true })
}

/// Reply the places around a position.
pub(super) fn georadius_ro(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    run(cx, args, Form::Around { may_store: false })
}

/// Reply or store the places around a place.
/// Shape: key member radius unit … as `georadius`
pub(super) fn georadiusbymember(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    run(cx, args, Form::AroundMember { may_store: true })
}

/// Reply the places around a place.
pub(super) fn georadiusbymember_ro(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    run(cx, args, Form::AroundMember { may_store: false })
}
