//! A message on its way out, and how far it has come.

use super::Message;

/// A message owned by an engine while the kernel may read it.
pub(super) struct Outgoing {
    message: Message,
    len: usize,
    sent: usize,
}

impl Outgoing {
    pub fn new(message: Message) -> Self {
        let len = message.len();
        assert!(len > 0, "nothing to send");
        debug_assert!(message.large.is_sorted_by_key(|insert| insert.at));
        Outgoing { message, len, sent: 0 }
    }

    /// Bytes of the whole message.
    pub fn len(&self) -> usize {
        self.len
    }
    /// Is all of it sent?
    pub fn is_done(&self) -> bool {
        self.sent == self.len
    }
    /// The kernel took `count` more bytes.
    pub fn advance(&mut self, count: usize) {
        self.sent += count;
        assert!(self.sent <= self.len, "more bytes sent than there are");
    }
    /// Gives the message back, emptied: what it held by reference is released here.
    pub fn finish(mut self) -> Message {
        self.message.clear();
        self.message
    }

    /// Gives the message back as it is.
    #[cfg(test)]
    pub fn into_message(self) -> Message {
        self.message
    }

    /// The bytes not yet sent, if they lie in one piece.
    #[inline]
    pub fn one_piece(&self) -> Option<&[u8]> {
        if self.message.large.is_empty() { Some(&self.message.small[self.sent..]) } else { None }
    }

    /// The bytes not yet sent, piece by piece, none of them empty.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let small = &self.message.small;
        let mut from = 0;
        let mut skip = self.sent;
        let inserts = self.message.large.iter();
        let pairs = inserts.flat_map(move |insert| {
            let before = &small[from..insert.at];
            from = insert.at;
            [before, &insert.bytes[..]]
        });
        let tail = &small[self.message.large.last().map_or(0, |insert| insert.at)..];
        pairs.chain([tail]).filter_map(move |piece| {
            let skipped = skip.min(piece.len());
            skip -= skipped;
            let rest = &piece[skipped..];
            if rest.is_empty() { None } else { Some(rest) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Insert;
    use super::*;
    use bytes::Bytes;

    fn sample() -> Outgoing {
        let insert = |at, text: &'static str| Insert { at, bytes: Bytes::from_static(text.as_bytes()) };
        let large = vec![insert(0, "AA"), insert(2, "BBB"), insert(2, ""), insert(2, "C"), insert(5, "D")];
        Outgoing::new(Message { small: b"12345".to_vec(), large })
    }

    #[test]
    fn large_values_come_where_they_were_put() {
        assert_eq!(sample().pieces().collect::<Vec<_>>().concat(), b"AA12BBBC345D");
        assert_eq!(sample().len(), 12);
    }

    #[test]
    fn the_rest_starts_after_what_was_sent_wherever_that_ended() {
        for sent in 0..=12 {
            let mut outgoing = sample();
            outgoing.advance(sent);
            assert_eq!(outgoing.pieces().collect::<Vec<_>>().concat(), &b"AA12BBBC345D"[sent..]);
            assert_eq!(outgoing.is_done(), sent == 12);
        }
    }
}
