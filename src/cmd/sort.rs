//! SORT and SORT_RO: the elements of a list or of a set, sorted or not, in order, by their own values or by those of other keys.
//!
//! ```text
//! load      copies of the elements
//! weigh     each one's weight: itself, or what BY's pattern leads to
//! order     by weight, then by element; LIMIT
//! output    each element, or what GET's patterns lead to; replied, or stored as a list
//! ```
//! A pattern leads to keys that no argument names. So with BY or GET all of it happens at a safepoint, while the other loops
//! stand still. STORE alone holds the two keys. A plain SORT copies its elements under their lock and sorts them when nobody
//! waits; many elements are sorted in slices (`sort_gradual`).

use super::command::{Begin, Class, Command, Cx, Find, Flow, KeySpec, acl, cmd, flag};
use super::edit::int;
use super::keyspec::sort_keys;
use super::sort_gradual::{self, Order};
use super::{list, permission};
use crate::base::hash::Key;
use crate::base::num::parse_f64;
use crate::keyspace::Keys;
use crate::keyspace::objects::{Access, HeldKeys};
use crate::keyspace::types::{Str, WrongType};
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::value::hash::Hash;
use crate::value::list::{End, Limits, List};
use crate::value::pack::Piece;
use crate::value::set::Set;
use crate::value::zset::SortedSet;
use std::cmp::Ordering;
use std::ops::{ControlFlow, Range};

pub static ROWS: &[Command] = &[
    cmd("sort", sort)
        .arity(-2)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::LIST | acl::SET | acl::SORTEDSET | acl::DANGEROUS)
        .keys(&[
            KeySpec::one(1, &["RO", "access"]),
            KeySpec::new(Begin::Unknown, Find::Unknown, &["RO", "access"]),
            KeySpec::new(Begin::Unknown, Find::Unknown, &["OW", "update"]),
        ])
        .find_keys(sort_keys)
        .group("generic", "1.0.0"),
    cmd("sort_ro", sort_ro)
        .arity(-2)
        .flags(flag::READONLY)
        .acl(acl::LIST | acl::SET | acl::SORTEDSET | acl::DANGEROUS)
        .keys(&[KeySpec::one(1, &["RO", "access"]), KeySpec::new(Begin::Unknown, Find::Unknown, &["RO", "access"])])
        .find_keys(super::keyspec::first_key)
        .group("generic", "7.0.0"),
];

/// A pattern of BY or GET.
#[derive(Clone, Copy)]
enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// No `*`: leads nowhere, whatever the element.
    Constant,
    /// The element between two texts is a key; its value, or one field of it.
    Key { before: &'a [u8], behind: &'a [u8], field: Option<&'a [u8]> },
}

impl<'a> Pattern<'a> {
    /// Shape:  text*text[->field] | #
    fn parse(text: &'a [u8]) -> Self {
        if text == b"#" {
            return Pattern::Element;
        }
        let Some(star) = text.iter().position(|&byte| byte == b'*') else { return Pattern::Constant };
        let (before, behind) = (&text[..star], &text[star + 1..]);
        match behind.windows(2).position(|pair| pair == b"->").filter(|at| at + 2 < behind.len()) {
            Some(at) => Pattern::Key { before, behind: &behind[..at], field: Some(&behind[at + 2..]) },
            None => Pattern::Key { before, behind, field: None },
        }
    }
    /// What it leads to for an element.
    fn value(self, keys: &Keys<'_>, element: &[u8]) -> Option<Vec<u8>> {
        match self {
            Pattern::Element => Some(element.to_vec()),
            Pattern::Constant => None,
            Pattern::Key { before, behind, field } => {
                let name = [before, element, behind].concat();
                let key = keys.key(&name, 0);
                match field {
                    Some(field) => keys.look::<Hash>(key).ok()??.get(field, keys.now).map(Piece::to_vec),
                    None => Some(Str::of(keys.read(key)?).ok()?.bytes(&mut itoa::Buffer::new()).to_vec()),
                }
            }
        }
    }
}

/// What SORT is asked for.
struct Plan<'a> {
    descending: bool,
    alpha: bool,
    limit: Option<(i64, i64)>,
    by: Option<Pattern<'a>>,
    gets: Vec<Pattern<'a>>,
    /// The argument that is the destination.
    store: Option<usize>,
    /// A script asks.
    is_scripted: bool,
}

impl<'a> Plan<'a> {
    /// Shape:  [BY pattern] [LIMIT offset count] [GET pattern]... [ASC|DESC] [ALPHA] [STORE destination]
    /// Errors: Syntax, NotInteger, and patterns for a user who may not read all keys; the first one from the left.
    fn parse(args: &Args<'a>, is_readonly: bool, reads_all: bool) -> Result<Self, ReplyError> {
        let (limit, by, gets, store) = (None, None, Vec::new(), None);
        let mut plan = Plan { descending: false, alpha: false, limit, by, gets, store, is_scripted: false };
        let mut at = 2;
        while at < args.count() {
            let left = args.count() - at - 1;
            at += match () {
                _ if args.is(at, "asc") => plan.set(|plan| plan.descending = false),
                _ if args.is(at, "desc") => plan.set(|plan| plan.descending = true),
                _ if args.is(at, "alpha") => plan.set(|plan| plan.alpha = true),
                _ if args.is(at, "limit") && left >= 2 => {
                    plan.limit = Some((int(args, at + 1)?, int(args, at + 2)?));
                    3
                }
                _ if args.is(at, "store") && left >= 1 && !is_readonly => {
                    plan.store = Some(at + 1);
                    2
                }
                _ if args.is(at, "by") && left >= 1 => {
                    plan.by = Some(Pattern::parse(args.get(at + 1)));
                    if matches!(plan.by, Some(Pattern::Key { .. })) && !reads_all {
                        let denied = "ERR BY option of SORT denied due to insufficient ACL permissions.";
                        return Err(ReplyError::text(denied));
                    }
                    2
                }
                _ if args.is(at, "get") && left >= 1 => {
                    if !reads_all {
                        let denied = "ERR GET option of SORT denied due to insufficient ACL permissions.";
                        return Err(ReplyError::text(denied));
                    }
                    plan.gets.push(Pattern::parse(args.get(at + 1)));
                    2
                }
                _ => return Err(ReplyError::Syntax),
            };
        }
        Ok(plan)
    }
    /// A word that stands alone.
    fn set(&mut self, set: impl FnOnce(&mut Self)) -> usize {
        set(self);
        1
    }
    /// BY a constant: the elements stay in their order.
    fn keeps_order(&self) -> bool {
        matches!(self.by, Some(Pattern::Constant | Pattern::Element))
    }
    /// Are keys looked at that no argument names?
    fn has_patterns(&self) -> bool {
        !self.gets.is_empty() || matches!(self.by, Some(Pattern::Key { .. }))
    }
    /// The part that LIMIT leaves of `count` elements.
    fn part(&self, count: usize) -> Range<usize> {
        let (start, wanted) = self.limit.unwrap_or((0, -1));
        let start = start.clamp(0, count as i64) as usize;
        match usize::try_from(wanted) {
            Ok(wanted) => start..start.saturating_add(wanted).min(count),
            Err(_) => start..count,
        }
    }
}

/// Where elements came from.
struct Loaded {
    elements: Vec<Vec<u8>>,
    /// They have no order of their own.
    is_set: bool,
}

/// Copies of the elements of held key 0. An absent key has none.
fn load(held: &HeldKeys<'_, '_, '_>) -> Result<Loaded, WrongType> {
    let mut elements = Vec::new();
    if let Ok(list) = held.get::<List>(0) {
        if let Some(list) = list {
            list.visit(End::Front, 0, list.count(), |element| {
                elements.push(element.text(&mut itoa::Buffer::new()).to_vec());
                ControlFlow::Continue(())
            });
        }
        return Ok(Loaded { elements, is_set: false });
    }
    if let Ok(set) = held.get::<Set>(0) {
        set.into_iter().for_each(|set| set.for_each(|member| elements.push(member.to_vec())));
        return Ok(Loaded { elements, is_set: true });
    }
    if let Some(set) = held.get::<SortedSet>(0)? {
        set.each(0..set.len(), false, |member, _| elements.push(member.to_vec()));
    }
    Ok(Loaded { elements, is_set: false })
}

/// What an element is compared by.
enum Weight {
    /// The element alone.
    None,
    Number(f64),
    /// None: the pattern led nowhere; that is least.
    Text(Option<Vec<u8>>),
}

/// A number as C's `strtod` reads a whole string: blanks in front, nothing is 0, a zero byte is the end.
pub(super) fn number(text: &[u8]) -> Option<f64> {
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    match text.trim_ascii_start() {
        [] if text.is_empty() => Some(0.0),
        digits => parse_f64(digits),
    }
}

fn weigh(plan: &Plan<'_>, keys: &Keys<'_>, element: &[u8]) -> Result<Weight, ReplyError> {
    let not_a_number = ReplyError::text("ERR One or more scores can't be converted into double");
    let scored = |text: &[u8]| number(text).map(Weight::Number).ok_or(not_a_number);
    match plan.by {
        None if plan.alpha => Ok(Weight::None),
        None => scored(element),
        Some(by) if plan.alpha => Ok(Weight::Text(by.value(keys, element))),
        Some(by) => by.value(keys, element).map_or(Ok(Weight::Number(0.0)), |text| scored(&text)),
    }
}

fn compare(a: &(Weight, Vec<u8>), b: &(Weight, Vec<u8>)) -> Ordering {
    match (&a.0, &b.0) {
        (Weight::Number(x), Weight::Number(y)) => {
            x.partial_cmp(y).unwrap_or(Ordering::Equal).then_with(|| a.1.cmp(&b.1))
        }
        (Weight::Text(x), Weight::Text(y)) => x.cmp(y),
        _ => a.1.cmp(&b.1),
    }
}

/// The elements in the order that is asked for; those that LIMIT leaves.
fn sorted(plan: &mut Plan<'_>, keys: &Keys<'_>, loaded: Loaded) -> Result<Vec<Vec<u8>>, ReplyError> {
    let Loaded { mut elements, is_set } = loaded;
    if plan.keeps_order() && is_set && (plan.store.is_some() || plan.is_scripted) {
        // What is stored, or what a script does, must not depend on chance.
        (plan.by, plan.alpha) = (None, true);
    }
    let part = plan.part(elements.len());
    if plan.keeps_order() {
        if plan.descending && !is_set {
            elements.reverse();
        }
        return Ok(elements.drain(part).collect());
    }
    let mut weighed = Vec::with_capacity(elements.len());
    for element in elements {
        weighed.push((weigh(plan, keys, &element)?, element));
    }
    match plan.descending {
        true => weighed.sort_by(|a, b| compare(b, a)),
        false => weighed.sort_by(compare),
    }
    Ok(weighed.drain(part).map(|(_, element)| element).collect())
}

/// What is replied or stored: for each element itself, or what each GET leads to.
fn output(plan: &Plan<'_>, keys: &Keys<'_>, elements: Vec<Vec<u8>>) -> Vec<Option<Vec<u8>>> {
    if plan.gets.is_empty() {
        return elements.into_iter().map(Some).collect();
    }
    let values = |element: Vec<u8>| plan.gets.iter().map(move |get| get.value(keys, &element)).collect::<Vec<_>>();
    elements.into_iter().flat_map(values).collect()
}

/// Puts the output under held key `at` as a list; removes the key if there is none. Returns the number of changes.
fn store(
    held: &mut HeldKeys<'_, '_, '_>,
    at: usize,
    output: &[Option<Vec<u8>>],
    limits: &Limits,
) -> Result<u64, crate::table::Lost> {
    if output.is_empty() {
        return Ok(held.remove(at)? as u64);
    }
    let mut list = List::default();
    let text = |value: &'_ Option<Vec<u8>>| value.clone().unwrap_or_default();
    list.expect(output.iter().flatten().map(Vec::len).sum(), output.len(), limits);
    output.iter().for_each(|value| list.push(End::Back, &text(value), limits));
    held.put(at, list)?;
    Ok(output.len() as u64)
}

/// Reply or store the elements of a list, set or sorted set in order.
/// Shape:  key [BY pattern] [LIMIT offset count] [GET pattern]... [ASC|DESC] [ALPHA] [STORE destination]
/// Errors: those of the options, WrongType, a weight that is no number; nothing is stored then.
fn sort(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    run(cx, &args, false)
}

/// SORT that only reads.
/// Shape:  key [BY pattern] [LIMIT offset count] [GET pattern]... [ASC|DESC] [ALPHA]
fn sort_ro(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    run(cx, &args, true)
}

fn run(cx: &mut Cx<'_>, args: &Args<'_>, is_readonly: bool) -> Result<Flow, ReplyError> {
    let reads_all = permission::may_read_all_keys(cx.session.user(), args);
    let mut plan = Plan::parse(args, is_readonly, reads_all)?;
    plan.is_scripted = cx.session.is_scripted;
    if plan.has_patterns() {
        return cx.stop_others(|cx| execute(cx, args, plan));
    }
    if plan.store.is_some() {
        return execute_and_store(cx, args, plan);
    }
    if !plan.keeps_order() {
        let order = Order { is_alpha: plan.alpha, is_descending: plan.descending };
        if let Some(flow) = sort_gradual::begin(cx, cx.key(args, 1), order, |count| plan.part(count))? {
            return Ok(flow);
        }
    }
    execute(cx, args, plan)
}

/// SORT with STORE and without patterns: the two keys are held, and the elements sorted meanwhile.
fn execute_and_store(cx: &mut Cx<'_>, args: &Args<'_>, mut plan: Plan<'_>) -> Result<Flow, ReplyError> {
    let (keys, limits) = (cx.keys, list::limits(cx));
    let destination = cx.key(args, plan.store.unwrap_or(1));
    let wanted = [(cx.key(args, 1), Access::Read), (destination, Access::Write)];
    let (is_found, count, changes) = keys.with_held(&wanted, |held| {
        let loaded = match load(held) {
            Ok(loaded) => loaded,
            Err(wrong) => return Ok(Err(ReplyError::from(wrong))),
        };
        let is_found = !loaded.elements.is_empty();
        let output: Vec<_> = match sorted(&mut plan, &keys, loaded) {
            Ok(elements) => elements.into_iter().map(Some).collect(),
            Err(error) => return Ok(Err(error)),
        };
        let changes = store(held, 1, &output, &limits)?;
        Ok(Ok((is_found, output.len(), changes)))
    })?;
    keys.looked_up(args.get(1), is_found);
    Ok(reply_stored(cx, destination, count, changes))
}

/// Says what became of the destination.
fn reply_stored(cx: &mut Cx<'_>, destination: Key<'_>, count: usize, changes: u64) -> Flow {
    if count > 0 {
        cx.changed(destination.bytes, Class::LIST, "sortstore");
        cx.effects.filled(cx.keys.db(), destination.bytes);
    } else if changes > 0 {
        cx.changed(destination.bytes, Class::GENERIC, "del");
    }
    cx.effects.dirty += changes;
    cx.reply.int(count as i64);
    Flow::Done
}

fn execute(cx: &mut Cx<'_>, args: &Args<'_>, mut plan: Plan<'_>) -> Result<Flow, ReplyError> {
    let keys = cx.keys;
    let loaded = keys.with_held(&[(cx.key(args, 1), Access::Read)], |held| Ok(load(held)))?;
    keys.looked_up(args.get(1), !loaded.elements.is_empty());
    let elements = sorted(&mut plan, &keys, loaded)?;
    let output = output(&plan, &keys, elements);
    let Some(at) = plan.store else {
        cx.reply.array(output.len());
        for value in output {
            match value {
                Some(text) => cx.reply.bulk(&text),
                None => cx.reply.null(),
            }
        }
        return Ok(Flow::Done);
    };
    let (destination, limits) = (cx.key(args, at), list::limits(cx));
    let changes = keys.with_held(&[(destination, Access::Write)], |held| store(held, 0, &output, &limits));
    Ok(reply_stored(cx, destination, output.len(), changes))
}
