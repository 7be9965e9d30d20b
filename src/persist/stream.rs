//! Streams as bytes.
//!
//! ```text
//! stream    count of nodes (id of 16 bytes, big-endian · listpack)*
//!           entries · last id · [first id · highest deleted id · entries ever added]          [ ]: from Redis 7.0 on
//!           count of groups (name · last id · [entries read] · pending · consumers)*
//! pending   count (id of 16 bytes · time of 8 bytes · deliveries)*
//! consumers count (name · time seen · ⟨time active⟩ · count (id of 16 bytes)*)*                ⟨ ⟩: from Redis 7.2 on
//! node      live · deleted · fields · name* · 0    then each entry:
//!           flags · ms-Δ · seq-Δ · ( value* | fields (name value)* ) · number of elements of the entry
//! ```
//! A node is a block of ours: it is read into one and written from one, so that trimming finds the same ends.

use super::listpack::{Elements, Writer};
use super::wire::{Reader, Sink, put_len, put_string};
use super::{Fault, Form, kind};
use crate::base::clock::WallMs;
use crate::value::pack::Piece;
use crate::value::stream::{Block, Group, Pending, Stream, StreamId};
use std::collections::VecDeque;

const DELETED: i64 = 1;
const SAME_NAMES: i64 = 2;

const DAMAGED: Fault = Fault::Damaged("a stream is damaged");

/// Writes a stream.
pub fn put(out: &mut impl Sink, stream: &Stream, form: Form) {
    put_blocks(out, stream, form);
    put_rest(out, stream, form);
}

/// Its nodes.
pub(super) fn put_blocks(out: &mut impl Sink, stream: &Stream, form: Form) {
    put_len(out, stream.blocks().len() as u64);
    for block in stream.blocks() {
        let base = block.base();
        let mut key = [0; 16];
        key[..8].copy_from_slice(&base.ms.to_be_bytes());
        key[8..].copy_from_slice(&base.seq.to_be_bytes());
        put_len(out, 16);
        out.put(&key);
        put_string(out, &node(block), form.compresses);
    }
}

/// What stands behind them.
pub(super) fn put_rest(out: &mut impl Sink, stream: &Stream, form: Form) {
    let log = stream.log();
    put_len(out, log.len());
    for id in [log.last_id(), log.first_id(), log.max_deleted_id()] {
        put_len(out, id.ms);
        put_len(out, id.seq);
    }
    put_len(out, log.entries_added());
    put_len(out, stream.group_count() as u64);
    for (name, group) in stream.groups() {
        put_string(out, name, form.compresses);
        put_group(out, group, form);
    }
}

fn put_id(out: &mut impl Sink, id: StreamId) {
    out.put(&id.ms.to_be_bytes());
    out.put(&id.seq.to_be_bytes());
}

fn put_group(out: &mut impl Sink, group: &Group, form: Form) {
    put_len(out, group.last_id.ms);
    put_len(out, group.last_id.seq);
    put_len(out, group.entries_read.unwrap_or(-1) as u64);
    put_len(out, group.pending_count() as u64);
    for (id, pending) in group.pending_from(StreamId::MIN) {
        put_id(out, id);
        out.put(&pending.delivered_at.0.to_le_bytes());
        put_len(out, pending.count as u64);
    }
    put_len(out, group.consumer_count() as u64);
    for (number, consumer) in group.consumers() {
        put_string(out, consumer.name(), form.compresses);
        out.put(&consumer.seen_at.0.to_le_bytes());
        if form.version >= 11 {
            let active = consumer.active_at.map_or(-1, |at| at.0 as i64);
            out.put(&active.to_le_bytes());
        }
        put_len(out, consumer.pending_count() as u64);
        group.pending_of(number, StreamId::MIN).for_each(|(id, _)| put_id(out, id));
    }
}

/// A block's listpack.
fn node(block: &Block) -> Vec<u8> {
    let mut writer = Writer::new();
    let (base, names) = (block.base(), block.names().collect::<Vec<_>>());
    writer.push_int(block.live() as i64);
    writer.push_int((block.count() - block.live()) as i64);
    writer.push_int(names.len() as i64);
    names.iter().for_each(|name| writer.push(Piece::Bytes(name)));
    writer.push_int(0);
    for entry in block.entries() {
        let is_same = entry.has_block_names();
        let flags = if is_same { SAME_NAMES } else { 0 } | if entry.is_deleted() { DELETED } else { 0 };
        writer.push_int(flags);
        writer.push_int(entry.id.ms.wrapping_sub(base.ms) as i64);
        writer.push_int(entry.id.seq.wrapping_sub(base.seq) as i64);
        let count = entry.field_count() as i64;
        if !is_same {
            writer.push_int(count);
        }
        for (name, value) in entry.fields() {
            if !is_same {
                writer.push(Piece::Bytes(name));
            }
            writer.push(Piece::Bytes(value));
        }
        writer.push_int(if is_same { count + 3 } else { 2 * count + 4 });
    }
    writer.finish()
}

/// Reads a stream of type `kind`.
pub fn read(kind: u8, reader: &mut Reader<'_>) -> Result<Stream, Fault> {
    let mut blocks = VecDeque::new();
    let mut above = None;
    for _ in 0..reader.count(2)? {
        let key = reader.string()?;
        let mut key = Reader::new(&key);
        let base = read_id(&mut key)?;
        if !key.is_empty() {
            return Err(DAMAGED);
        }
        let block = read_node(base, &reader.string()?, &mut above)?;
        blocks.push_back(block);
    }
    let mut stream = Stream::of_blocks(blocks);
    let (len, last_id) = (reader.len()?, read_lens(reader)?);
    if stream.log().len() != len || above.is_some_and(|above| above > last_id) {
        return Err(Fault::Damaged("a stream's counts are not those of its entries"));
    }
    if kind == kind::STREAM {
        // Not known: as if none had ever been deleted.
        stream.set_last_id(last_id, Some(len), None);
    } else {
        read_lens(reader)?; // The first id: found again.
        let max_deleted_id = read_lens(reader)?;
        stream.set_last_id(last_id, Some(reader.len()?), Some(max_deleted_id));
    }
    for _ in 0..reader.count(4)? {
        let name = reader.string()?;
        let mut group = read_group(kind, reader)?;
        if kind == kind::STREAM {
            // It did not count what it has read; where that follows from its last id, it goes on from there. Source: Redis,
            // `rdbLoadObject`.
            group.entries_read = stream.log().added_up_to(group.last_id).map(|read| read as i64);
        }
        if !stream.add_group(&name, group) {
            return Err(Fault::Damaged("a group is there twice"));
        }
    }
    Ok(stream)
}

fn read_id(reader: &mut Reader<'_>) -> Result<StreamId, Fault> {
    let (ms, seq) = (u64::from_be_bytes(reader.array()?), u64::from_be_bytes(reader.array()?));
    Ok(StreamId { ms, seq })
}

fn read_lens(reader: &mut Reader<'_>) -> Result<StreamId, Fault> {
    Ok(StreamId { ms: reader.len()?, seq: reader.len()? })
}

/// Reads a node. `above` is the highest id so far: ids only grow.
fn read_node(base: StreamId, bytes: &[u8], above: &mut Option<StreamId>) -> Result<Block, Fault> {
    let mut elements = Elements::of(bytes)?;
    let (live, deleted) = (elements.expect_int()?, elements.expect_int()?);
    let name_count = field_count(&mut elements)?;
    let names = texts(&mut elements, name_count)?;
    if elements.expect_int()? != 0 {
        return Err(DAMAGED);
    }
    let mut block = Block::new(base, names.iter().map(|name| &**name), bytes.len());
    while let Some(flags) = elements.next()? {
        let Piece::Int(flags @ 0..=3) = flags else { return Err(DAMAGED) };
        let id = StreamId {
            ms: base.ms.wrapping_add(elements.expect_int()? as u64),
            seq: base.seq.wrapping_add(elements.expect_int()? as u64),
        };
        let is_first = block.count() == 0;
        if above.is_some_and(|above| id <= above) || id < base || is_first && id != base {
            return Err(Fault::Damaged("a stream's ids do not grow"));
        }
        *above = Some(id);
        read_entry(&mut block, id, flags, &names, &mut elements)?;
    }
    if block.live() as i64 != live || (block.count() - block.live()) as i64 != deleted || block.live() == 0 {
        return Err(Fault::Damaged("a stream's counts are not those of its entries"));
    }
    block.close();
    Ok(block)
}

fn read_entry(
    block: &mut Block,
    id: StreamId,
    flags: i64,
    names: &[Text<'_>],
    elements: &mut Elements<'_>,
) -> Result<(), Fault> {
    let (fields, pieces): (Vec<(Text<'_>, Text<'_>)>, _) = if flags & SAME_NAMES != 0 {
        let values = texts(elements, names.len())?;
        (names.iter().cloned().zip(values).collect(), names.len() as i64 + 3)
    } else {
        let count = field_count(elements)?;
        let all = texts(elements, 2 * count)?;
        let pairs = all.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()));
        (pairs.collect(), 2 * count as i64 + 4)
    };
    if elements.expect_int()? != pieces {
        return Err(DAMAGED);
    }
    block.append(id, fields.iter().map(|(name, value)| (&**name, &**value)));
    if flags & DELETED != 0
        && let Some(last) = block.last()
    {
        let place = last.place();
        block.delete(place);
    }
    Ok(())
}

/// The text of an element.
type Text<'a> = std::borrow::Cow<'a, [u8]>;

fn field_count(elements: &mut Elements<'_>) -> Result<usize, Fault> {
    let count = elements.expect_int()?;
    usize::try_from(count).ok().filter(|&count| count <= elements.count_max()).ok_or(DAMAGED)
}

fn texts<'a>(elements: &mut Elements<'a>, count: usize) -> Result<Vec<Text<'a>>, Fault> {
    let text = |piece| match piece {
        Piece::Bytes(bytes) => Text::Borrowed(bytes),
        int => Text::Owned(int.to_vec()),
    };
    (0..count).map(|_| elements.expect().map(text)).collect()
}

/// What is pending in a group, in the order of the ids, until its owners are known.
struct Unowned {
    id: StreamId,
    delivered_at: WallMs,
    count: i64,
    is_owned: bool,
}

fn read_group(kind: u8, reader: &mut Reader<'_>) -> Result<Group, Fault> {
    let last_id = read_lens(reader)?;
    let entries_read = if kind == kind::STREAM { None } else { Some(reader.len()? as i64).filter(|&read| read != -1) };
    let mut group = Group::new(last_id, entries_read);
    let mut pending = Vec::new();
    for _ in 0..reader.count(25)? {
        let (id, delivered_at, count) = (read_id(reader)?, reader.time()?, reader.len()? as i64);
        pending.push(Unowned { id, delivered_at, count, is_owned: false });
    }
    pending.sort_unstable_by_key(|one| one.id);
    if pending.windows(2).any(|two| two[0].id == two[1].id) {
        return Err(Fault::Damaged("an entry is pending twice"));
    }
    for _ in 0..reader.count(10)? {
        read_consumer(kind, reader, &mut group, &mut pending)?;
    }
    if pending.iter().any(|one| !one.is_owned) {
        return Err(Fault::Damaged("nobody has a pending entry"));
    }
    Ok(group)
}

fn read_consumer(kind: u8, reader: &mut Reader<'_>, group: &mut Group, pending: &mut [Unowned]) -> Result<(), Fault> {
    let name = reader.string()?;
    let seen_at = reader.time()?;
    let active_at = if kind == kind::STREAM_3 {
        let at = i64::from_le_bytes(reader.array()?);
        (at >= 0).then_some(WallMs(at as u64))
    } else {
        Some(seen_at) // Before version 7.2 there was only one time.
    };
    let Some(owner) = group.add_consumer(&name, seen_at) else {
        return Err(Fault::Damaged("Duplicate stream consumer detected"));
    };
    group.consumer_mut(owner).active_at = active_at;
    for _ in 0..reader.count(16)? {
        let id = read_id(reader)?;
        let at = pending.binary_search_by_key(&id, |one| one.id).ok();
        let Some(one) = at.map(|at| &mut pending[at]).filter(|one| !one.is_owned) else {
            return Err(Fault::Damaged("a consumer has what is not pending"));
        };
        one.is_owned = true;
        group.restore(id, Pending { owner, delivered_at: one.delivered_at, count: one.count });
    }
    Ok(())
}
