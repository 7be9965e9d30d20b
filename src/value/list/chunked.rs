//! A long list: chunks in a row. Elements too large for a chunk stand alone, and chunks far from both ends may be squeezed.
//!
//! The row is an array that grows at both ends and holds each chunk's count beside its address: looking for an index reads
//! the counts from the nearer end, 24 chunks per 12 cache lines, and touches no chunk on the way. (Redis follows a list of
//! nodes, a cache miss each.) A chunk is squeezed when a new neighbour moves it away from the end, is unpacked while it is
//! changed, and read through a copy. Nothing relies on which chunks are squeezed: the depth may change at any time.

use super::chunk::Chunk;
use super::element::Element;
use super::{End, LISTPACK_OVERHEAD, Limits, List, remove_from_chunk, walk};
use crate::base::prefetch::prefetch;
use crate::value::object::Value;
use crate::value::{drain, lzf};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Chunks in a row. No chunk is empty.
#[derive(Default)]
pub struct Chunked {
    nodes: VecDeque<Node>,
    count: usize,
}

/// One place in the row.
struct Node {
    body: Body,
    /// Elements.
    count: u32,
    /// Bytes of the elements before squeezing.
    len: u32,
}

enum Body {
    Chunk(Chunk),
    /// The text of one large element.
    Alone(Box<[u8]>),
    SqueezedChunk(Box<[u8]>),
    SqueezedAlone(Box<[u8]>),
    /// One of the others, which snapshots read, too. Whoever changes it gets it back or, while they are at it, a copy.
    Shared(Arc<Body>),
}

const _: () = assert!(size_of::<Node>() == 32, "what a chunk costs beside itself");

/// Shorter ones are not worth squeezing. Source: Redis's quicklist.
const SQUEEZE_LEN_MIN: usize = 48;
/// Bytes that squeezing must save.
const SQUEEZE_GAIN_MIN: usize = 8;

/// A row with room for so many nodes gives room back when three quarters are free.
const ROW_SHRINK_MIN: usize = 32;

/// What a node holds, unpacked if need be.
enum View<'a> {
    Elements(Cow<'a, [u8]>),
    Alone(Cow<'a, [u8]>),
}

impl Node {
    fn of(chunk: Chunk) -> Node {
        let (count, len) = (chunk.count() as u32, chunk.bytes().len() as u32);
        Node { body: Body::Chunk(chunk), count, len }
    }
    fn of_value(value: &[u8]) -> Node {
        let mut chunk = Chunk::default();
        chunk.push(End::Back, value);
        Node::of(chunk)
    }
    /// The element alone or in a chunk, as the limits say.
    fn fitting(value: &[u8], limits: &Limits) -> Node {
        if !limits.is_alone(value.len()) {
            return Node::of_value(value);
        }
        Node { body: Body::Alone(value.into()), count: 1, len: value.len() as u32 }
    }
    fn is_chunk(&self) -> bool {
        matches!(self.body.own(), Body::Chunk(_) | Body::SqueezedChunk(_))
    }
    #[inline]
    fn admits(&self, value_len: usize, limits: &Limits) -> bool {
        self.is_chunk()
            && !limits.is_alone(value_len)
            && limits.admits(self.len as usize, self.count as usize, value_len)
    }
    fn view(&self) -> View<'_> {
        match self.body.own() {
            Body::Chunk(chunk) => View::Elements(Cow::Borrowed(chunk.bytes())),
            Body::Alone(value) => View::Alone(Cow::Borrowed(value)),
            Body::SqueezedChunk(bytes) => View::Elements(Cow::Owned(self.unpacked(bytes))),
            Body::SqueezedAlone(bytes) => View::Alone(Cow::Owned(self.unpacked(bytes))),
            Body::Shared(_) => unreachable!("what is shared is not shared again"),
        }
    }
    fn unpacked(&self, bytes: &[u8]) -> Vec<u8> {
        lzf::decompress(bytes, self.len as usize).expect("a list unpacks what it squeezed")
    }
    /// Makes it one that can be changed: its own and unpacked.
    #[inline]
    fn open(&mut self) {
        if !matches!(self.body, Body::Chunk(_) | Body::Alone(_)) {
            self.unpack();
        }
    }
    #[cold]
    fn unpack(&mut self) {
        self.body = match std::mem::take(&mut self.body) {
            Body::Shared(body) => Arc::try_unwrap(body).unwrap_or_else(|body| body.duplicate()),
            own => own,
        };
        self.body = match self.view() {
            View::Elements(Cow::Owned(bytes)) => Body::Chunk(Chunk::of(&bytes, self.count as usize)),
            View::Alone(Cow::Owned(value)) => Body::Alone(value.into()),
            View::Elements(Cow::Borrowed(_)) | View::Alone(Cow::Borrowed(_)) => return,
        };
    }
    /// The same node for a snapshot: both share the body from here on.
    fn share(&mut self) -> Node {
        let body = match std::mem::take(&mut self.body) {
            Body::Shared(body) => body,
            own => Arc::new(own),
        };
        self.body = Body::Shared(body.clone());
        Node { body: Body::Shared(body), ..*self }
    }
    /// Squeezes it, if that saves anything.
    fn squeeze(&mut self) {
        let squeezed = match &self.body {
            Body::Chunk(chunk) => squeezed(chunk.bytes()).map(Body::SqueezedChunk),
            Body::Alone(value) => squeezed(value).map(Body::SqueezedAlone),
            Body::SqueezedChunk(_) | Body::SqueezedAlone(_) | Body::Shared(_) => None,
        };
        if let Some(body) = squeezed {
            self.body = body;
        }
    }
    /// Changes the chunk, which is unpacked for it; an element that stands alone must not come here.
    #[inline]
    fn change<R>(&mut self, change: impl FnOnce(&mut Chunk) -> R) -> R {
        self.open();
        let Body::Chunk(chunk) = &mut self.body else { unreachable!("the element stands alone") };
        let result = change(chunk);
        (self.count, self.len) = (chunk.count() as u32, chunk.bytes().len() as u32);
        result
    }
    fn seal(&mut self) {
        if let Body::Chunk(chunk) = &mut self.body {
            chunk.seal();
        }
    }
    fn duplicate(&self) -> Node {
        Node { body: self.body.own().duplicate(), ..*self }
    }
}

impl Default for Body {
    /// Stands for a body that is being taken.
    fn default() -> Self {
        Body::Alone(Box::default())
    }
}

impl Body {
    /// What is shared, or itself.
    #[inline]
    fn own(&self) -> &Body {
        if let Body::Shared(body) = self { body } else { self }
    }
    fn heap_len(&self) -> usize {
        match self.own() {
            Body::Chunk(chunk) => chunk.heap_len(),
            Body::Alone(bytes) | Body::SqueezedChunk(bytes) | Body::SqueezedAlone(bytes) => bytes.len(),
            Body::Shared(_) => 0,
        }
    }
    /// A copy of what is its own, or of what it shares.
    fn duplicate(&self) -> Body {
        match self {
            Body::Chunk(chunk) => Body::Chunk(chunk.duplicate()),
            Body::Alone(bytes) => Body::Alone(bytes.clone()),
            Body::SqueezedChunk(bytes) => Body::SqueezedChunk(bytes.clone()),
            Body::SqueezedAlone(bytes) => Body::SqueezedAlone(bytes.clone()),
            Body::Shared(body) => body.duplicate(),
        }
    }
}

fn squeezed(bytes: &[u8]) -> Option<Box<[u8]>> {
    (bytes.len() >= SQUEEZE_LEN_MIN).then(|| lzf::compress(bytes, bytes.len() - SQUEEZE_GAIN_MIN))?.map(Vec::into)
}

impl Chunked {
    /// Prefetches the row's ends in step 0, the chunks there in step 1. False: that is all.
    #[inline]
    pub fn look_ahead(&self, step: usize) -> bool {
        for node in self.nodes.front().into_iter().chain(self.nodes.back()) {
            match &node.body {
                _ if step == 0 => prefetch(node),
                Body::Chunk(chunk) => _ = chunk.look_ahead(0),
                _ => {}
            }
        }
        step == 0
    }
    /// The list that has this chunk.
    pub fn of(chunk: Chunk) -> Self {
        let count = chunk.count();
        Chunked { nodes: (count > 0).then(|| Node::of(chunk)).into_iter().collect(), count }
    }
    #[inline]
    pub fn count(&self) -> usize {
        self.count
    }
    /// Number of chunks, elements alone included.
    pub fn chunk_count(&self) -> usize {
        self.nodes.len()
    }
    /// Bytes of all elements before any squeezing.
    /// Cost: a walk over the row.
    pub fn unpacked_len(&self) -> usize {
        self.nodes.iter().map(|node| node.len as usize).sum()
    }
    /// The chunk, if there is only one and no element alone.
    #[inline]
    pub fn only_chunk(&mut self) -> Option<&mut Chunk> {
        if self.nodes.len() != 1 {
            return None;
        }
        let node = &mut self.nodes[0];
        node.open();
        if let Body::Chunk(chunk) = &mut node.body { Some(chunk) } else { None }
    }
    #[inline]
    fn node_at(&mut self, end: End) -> Option<&mut Node> {
        match end {
            End::Front => self.nodes.front_mut(),
            End::Back => self.nodes.back_mut(),
        }
    }
    fn put_node(&mut self, end: End, node: Node) {
        match end {
            End::Front => self.nodes.push_front(node),
            End::Back => self.nodes.push_back(node),
        }
    }
    fn take_node(&mut self, end: End) -> Option<Node> {
        match end {
            End::Front => self.nodes.pop_front(),
            End::Back => self.nodes.pop_back(),
        }
    }

    /// Adds an element at one end.
    #[inline]
    pub fn push(&mut self, end: End, value: &[u8], limits: &Limits) {
        self.count += 1;
        match self.node_at(end) {
            Some(node) if node.admits(value.len(), limits) => node.change(|chunk| chunk.push(end, value)),
            _ => self.push_node(end, value, limits),
        }
    }
    #[cold]
    fn push_node(&mut self, end: End, value: &[u8], limits: &Limits) {
        if let Some(node) = self.node_at(end) {
            node.seal();
        }
        self.put_node(end, Node::fitting(value, limits));
        self.settle_ends(limits);
    }
    /// Removes the element at one end and hands it to `take` before.
    #[inline]
    pub fn pop<R>(&mut self, end: End, limits: &Limits, take: impl FnOnce(Element<'_>) -> R) -> Option<R> {
        let node = self.node_at(end)?;
        node.open();
        let taken = match &node.body {
            Body::Alone(value) => {
                node.count = 0;
                take(Element::of(value))
            }
            _ => node.change(|chunk| chunk.pop(end, take))?,
        };
        let is_empty = node.count == 0;
        self.count -= 1;
        if is_empty {
            self.take_node(end);
            self.settle_ends(limits);
        }
        Some(taken)
    }
    /// Removes `count` elements from one end.
    /// Cost: chunks that go as a whole are freed unread, many of them elsewhere.
    pub fn drop_from(&mut self, end: End, count: usize, limits: &Limits) {
        let mut left = count.min(self.count);
        self.count -= left;
        let mut gone = VecDeque::new();
        while left > 0 {
            let Some(node) = self.node_at(end) else { break };
            if node.count as usize <= left {
                left -= node.count as usize;
                gone.extend(self.take_node(end));
            } else {
                node.change(|chunk| chunk.drop_from(end, left));
                left = 0;
            }
        }
        if gone.len() > 1 {
            drain::discard(Value::new(List::Chunks(Box::new(Chunked { nodes: gone, count: 0 }))));
        }
        self.settle_ends(limits);
    }
    /// See `List::visit`.
    pub fn visit(&self, from: End, index: usize, count: usize, mut visit: impl FnMut(Element<'_>) -> ControlFlow<()>) {
        if index >= self.count || count == 0 {
            return;
        }
        let (mut at, mut index) = self.locate(index);
        let mut left = count;
        loop {
            let node = &self.nodes[at];
            let all = node.count as usize;
            let here = left.min(match from {
                End::Front => all - index,
                End::Back => index + 1,
            });
            let flow = match node.view() {
                View::Elements(bytes) => walk(&bytes, all, from, index, here, &mut visit),
                View::Alone(value) => visit(Element::of(&value)),
            };
            left -= here;
            let next = match from {
                End::Front => Some(at + 1).filter(|&at| at < self.nodes.len()),
                End::Back => at.checked_sub(1),
            };
            let (ControlFlow::Continue(()), Some(next), 1..) = (flow, next, left) else { return };
            at = next;
            index = if from == End::Front { 0 } else { self.nodes[at].count as usize - 1 };
        }
    }
    /// The node of element `index`, which must be there, and the index within it.
    fn locate(&self, index: usize) -> (usize, usize) {
        if index <= self.count / 2 {
            let mut left = index;
            for (at, node) in self.nodes.iter().enumerate() {
                if left < node.count as usize {
                    return (at, left);
                }
                left -= node.count as usize;
            }
        } else {
            let mut left = self.count - index;
            for (at, node) in self.nodes.iter().enumerate().rev() {
                if left <= node.count as usize {
                    return (at, node.count as usize - left);
                }
                left -= node.count as usize;
            }
        }
        unreachable!("the counts add up to the list's")
    }

    /// Inserts before element `index`; `index` may be the count.
    pub fn insert(&mut self, index: usize, value: &[u8], limits: &Limits) {
        if index == self.count {
            return self.push(End::Back, value, limits);
        }
        let (at, within) = self.locate(index);
        self.count += 1;
        if self.nodes[at].admits(value.len(), limits) {
            self.nodes[at].change(|chunk| chunk.insert(within, value));
            self.settle(at, limits);
        } else if within == 0 && at > 0 && self.nodes[at - 1].admits(value.len(), limits) {
            self.nodes[at - 1].change(|chunk| chunk.push(End::Back, value));
            self.settle(at - 1, limits);
        } else {
            let at = self.split(at, within);
            self.nodes.insert(at, Node::fitting(value, limits));
            self.mend(at, limits);
        }
    }
    /// Splits a node in two before its element `within`, unless that is the first, and returns where the second part is.
    fn split(&mut self, at: usize, within: usize) -> usize {
        if within == 0 {
            return at;
        }
        let tail = self.nodes[at].change(|chunk| chunk.split_off(within));
        self.nodes.insert(at + 1, Node::of(tail));
        at + 1
    }
    /// Puts another value in the place of element `index`, which must be there.
    pub fn replace(&mut self, index: usize, value: &[u8], limits: &Limits) {
        let (at, within) = self.locate(index);
        let is_alone = limits.is_alone(value.len());
        let node = &mut self.nodes[at];
        if node.is_chunk() && !is_alone {
            node.change(|chunk| chunk.replace(within, value));
            return self.halve(at, limits);
        }
        if node.count == 1 {
            self.nodes[at] = Node::fitting(value, limits);
        } else {
            let at = self.split(at, within);
            self.nodes[at].change(|chunk| chunk.drop_from(End::Front, 1));
            self.nodes.insert(at, Node::fitting(value, limits));
            if self.nodes[at + 1].count == 0 {
                self.nodes.remove(at + 1);
            }
        }
        self.mend(at, limits);
    }
    /// Halves a chunk that a replacement has made too large, until it is not.
    fn halve(&mut self, at: usize, limits: &Limits) {
        let node = &self.nodes[at];
        let (len, count) = (node.len as usize, node.count as usize);
        if count > 1 && limits.exceeds(LISTPACK_OVERHEAD + len, count) {
            self.split(at, count / 2);
            self.halve(at + 1, limits);
            return self.halve(at, limits);
        }
        self.settle(at, limits);
    }
    /// Joins the chunks around a changed place where they fit together.
    fn mend(&mut self, at: usize, limits: &Limits) {
        let mut first = at.saturating_sub(2);
        for _ in 0..4 {
            let [Some(a), Some(b)] = [self.nodes.get(first), self.nodes.get(first + 1)] else { break };
            let (len, count) = (a.len as usize + b.len as usize, a.count as usize + b.count as usize);
            if a.is_chunk() && b.is_chunk() && !limits.exceeds(LISTPACK_OVERHEAD + len, count) {
                self.join(first);
            } else {
                first += 1;
            }
        }
        for at in at.saturating_sub(3)..(at + 3).min(self.nodes.len()) {
            self.settle(at, limits);
        }
        self.settle_ends(limits);
    }
    /// Moves the elements of the chunk behind `at` into that one.
    fn join(&mut self, at: usize) {
        let Some(mut second) = self.nodes.remove(at + 1) else { return };
        second.change(|second| self.nodes[at].change(|first| first.append(second)));
    }
    /// Removes the `max` elements nearest to `from` that equal `value`.
    /// Cost: one pass; squeezed chunks without a match are unpacked for reading only.
    pub fn remove_equal(&mut self, value: Element<'_>, from: End, max: usize, limits: &Limits) -> usize {
        let mut removed = 0;
        for step in 0..self.nodes.len() {
            if removed == max {
                break;
            }
            let at = if from == End::Front { step } else { self.nodes.len() - 1 - step };
            let node = &mut self.nodes[at];
            let matches = match node.view() {
                View::Elements(bytes) => Chunk::count_equal(&bytes, value),
                View::Alone(text) => (value == Element::of(&text)) as usize,
            };
            if matches == 0 {
                continue;
            }
            let here = matches.min(max - removed);
            removed += here;
            if node.is_chunk() {
                node.change(|chunk| remove_from_chunk(chunk, value, from, here));
            } else {
                node.count = 0;
            }
            self.settle(at, limits);
        }
        self.count -= removed;
        self.nodes.retain(|node| node.count > 0);
        self.settle_ends(limits);
        removed
    }

    /// Is a node so far from both ends that it is squeezed?
    fn is_deep(&self, at: usize, limits: &Limits) -> bool {
        limits.depth > 0 && at >= limits.depth && self.nodes.len() - 1 - at >= limits.depth
    }
    /// Squeezes a node, or not, as its place demands.
    fn settle(&mut self, at: usize, limits: &Limits) {
        if self.is_deep(at, limits) {
            self.nodes[at].squeeze();
        } else if limits.depth > 0 {
            self.nodes[at].open();
        }
    }
    /// To be called when nodes came or went: unpacks those near the ends, and squeezes those that have just moved away
    /// from them.
    fn settle_ends(&mut self, limits: &Limits) {
        if self.nodes.capacity() >= ROW_SHRINK_MIN && self.nodes.len() <= self.nodes.capacity() / 4 {
            self.nodes.shrink_to(self.nodes.len() * 2);
        }
        if limits.depth == 0 {
            return;
        }
        let near = (limits.depth + 1).min(self.nodes.len());
        for at in (0..near).chain(self.nodes.len() - near..self.nodes.len()) {
            self.settle(at, limits);
        }
    }

    /// Do so many elements from `index` on have at least `len` bytes?
    pub fn has_len(&self, index: usize, count: usize, len: usize) -> bool {
        if index >= self.count {
            return false;
        }
        let (at, within) = self.locate(index);
        let (mut left, mut sum) = (count + within, 0);
        for node in self.nodes.iter().skip(at) {
            sum += node.len as usize;
            left = left.saturating_sub(node.count as usize);
            if sum >= len || left == 0 {
                break;
            }
        }
        sum >= len
    }
    /// `count` elements from `index` on, all of them there, as they are now. Their chunks are shared from here on.
    /// Cost: a small allocation per chunk.
    pub fn snapshot(&mut self, index: usize, count: usize) -> Snapshot {
        let (at, within) = self.locate(index);
        let (mut all, mut nodes) = (0, VecDeque::new());
        for node in self.nodes.iter_mut().skip(at) {
            if all >= within + count {
                break;
            }
            all += node.count as usize;
            nodes.push_back(node.share());
        }
        Snapshot { chunks: Box::new(Chunked { nodes, count: all }), passed: within, left: count }
    }

    /// Bytes, estimated from the first `samples` chunks (0: all).
    pub fn memory(&self, samples: usize) -> usize {
        let samples = if samples == 0 { self.nodes.len() } else { samples.min(self.nodes.len()) };
        let seen: usize = self.nodes.iter().take(samples).map(|node| node.body.heap_len()).sum();
        let chunks = seen as f64 / samples.max(1) as f64 * self.nodes.len() as f64;
        size_of::<Self>() + self.nodes.capacity() * size_of::<Node>() + chunks as usize
    }
    /// A copy without spare room.
    pub fn duplicate(&self) -> Self {
        Chunked { nodes: self.nodes.iter().map(Node::duplicate).collect(), count: self.count }
    }
}

/// A stretch of a list as it was at one moment, to be read bit by bit while the list goes on.
pub struct Snapshot {
    chunks: Box<Chunked>,
    /// Elements of the first chunk that lie before the stretch.
    passed: usize,
    left: usize,
}

impl Snapshot {
    /// Visits the next elements, those of one chunk, and forgets them. False: there were no more.
    pub fn visit_some(&mut self, mut visit: impl FnMut(Element<'_>)) -> bool {
        let Some(node) = self.chunks.nodes.pop_front() else { return false };
        let all = node.count as usize;
        let here = self.left.min(all - self.passed);
        let _ = match node.view() {
            View::Elements(bytes) => walk(&bytes, all, End::Front, self.passed, here, |element| {
                visit(element);
                ControlFlow::Continue(())
            }),
            View::Alone(value) => {
                visit(Element::of(&value));
                ControlFlow::Continue(())
            }
        };
        self.chunks.count -= all;
        (self.passed, self.left) = (0, self.left - here);
        true
    }
    /// What was not visited, to be freed where that disturbs nobody.
    pub fn into_rest(self) -> super::List {
        super::List::Chunks(self.chunks)
    }
}
