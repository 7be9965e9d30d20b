//! Commands out of a log that was checked: one after the other, comments passed over.

use super::frame::LINE_LEN_MAX;
use crate::resp::args::{Arg, Parts};
use std::io::{self, Read};

/// Words of more commands than this are nonsense.
const WORDS_MAX: u64 = 1 << 20;
/// Bytes that are read at once.
const CHUNK: usize = 256 << 10;

/// See the module header.
pub struct Commands<R> {
    file: R,
    chunk: Box<[u8]>,
    /// What of the chunk was read from the file and not looked at.
    at: usize,
    end: usize,
    /// The place of `at` in the file.
    offset: u64,
    buf: Vec<u8>,
    items: Vec<Arg>,
}

/// What is there is no command.
fn odd() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

impl<R: Read> Commands<R> {
    pub fn new(file: R) -> Self {
        let chunk = vec![0; CHUNK].into_boxed_slice();
        Commands { file, chunk, at: 0, end: 0, offset: 0, buf: Vec::new(), items: Vec::new() }
    }
    /// How much was read.
    pub fn offset(&self) -> u64 {
        self.offset
    }
    /// The next command. None: the end.
    /// Errors: the file cannot be read, or is not what was checked (`InvalidData`).
    pub fn read(&mut self) -> io::Result<Option<Parts<'_>>> {
        let (mut buf, mut items) = (std::mem::take(&mut self.buf), std::mem::take(&mut self.items));
        buf.clear();
        items.clear();
        let is_there = self.read_into(&mut buf, &mut items)?;
        (self.buf, self.items) = (buf, items);
        Ok(is_there.then(|| Parts { buf: &self.buf, items: &self.items, large: &[] }))
    }
    /// Appends the next command. False: the end.
    /// Errors: as above; what was appended is of no use then.
    pub fn read_into(&mut self, buf: &mut Vec<u8>, items: &mut Vec<Arg>) -> io::Result<bool> {
        let count = loop {
            match self.line()? {
                None => return Ok(false),
                Some([b'#', ..]) => {}
                Some([b'*', digits @ ..]) => break number(digits)?,
                Some(_) => return Err(odd()),
            }
        };
        if count == 0 || count > WORDS_MAX {
            return Err(odd());
        }
        for _ in 0..count {
            let Some([b'$', digits @ ..]) = self.line()? else { return Err(odd()) };
            let len = number(digits)?;
            let offset = u32::try_from(buf.len()).ok().filter(|offset| *offset < u32::MAX);
            let (Some(offset), Ok(short)) = (offset, u32::try_from(len)) else { return Err(odd()) };
            self.word(len as usize + 2, buf)?;
            items.push(Arg { offset, len: short, hash: 0 });
        }
        Ok(true)
    }
    /// Appends the next `len` bytes, which have to be a word and its line's end.
    fn word(&mut self, len: usize, buf: &mut Vec<u8>) -> io::Result<()> {
        let here = len.min(self.end - self.at);
        buf.extend_from_slice(&self.chunk[self.at..][..here]);
        self.at += here;
        // No more room is made than bytes have come.
        let behind = if here == len { 0 } else { (&mut self.file).take((len - here) as u64).read_to_end(buf)? };
        self.offset += (here + behind) as u64;
        if here + behind == len && buf.ends_with(b"\r\n") { Ok(()) } else { Err(odd()) }
    }
    /// The next line, without its end. None: the file is at its end.
    fn line(&mut self) -> io::Result<Option<&[u8]>> {
        let mut looked_at = 0;
        loop {
            let rest = &self.chunk[self.at..self.end];
            if let Some(len) = rest[looked_at..].iter().position(|&byte| byte == b'\n').map(|at| looked_at + at) {
                if len == 0 || rest[len - 1] != b'\r' {
                    return Err(odd());
                }
                let begin = self.at;
                self.at += len + 1;
                self.offset += len as u64 + 1;
                return Ok(Some(&self.chunk[begin..begin + len - 1]));
            }
            looked_at = rest.len();
            if looked_at > LINE_LEN_MAX {
                return Err(odd());
            }
            self.chunk.copy_within(self.at..self.end, 0);
            (self.at, self.end) = (0, looked_at);
            match self.file.read(&mut self.chunk[looked_at..]) {
                Ok(0) if looked_at == 0 => return Ok(None),
                Ok(0) => return Err(odd()),
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A natural number without a sign.
fn number(digits: &[u8]) -> io::Result<u64> {
    let is_number = !digits.is_empty() && digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit);
    let value = digits.iter().fold(0, |value, digit| value * 10 + (digit.wrapping_sub(b'0')) as u64 % 10);
    if is_number { Ok(value) } else { Err(odd()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    #[test]
    fn commands_are_read_and_comments_passed_over() {
        let text = b"#TS:1\r\n*2\r\n$3\r\nGET\r\n$1\r\n\n\r\n#x\r\n*1\r\n$0\r\n\r\n";
        let mut commands = Commands::new(&text[..]);
        let first = commands.read().unwrap().unwrap();
        assert_eq!((first.get(0), first.get(1), first.items.len()), (&b"GET"[..], &b"\n"[..], 2));
        assert_eq!(commands.read().unwrap().unwrap().get(0), b"");
        assert!(commands.read().unwrap().is_none());
        assert_eq!(commands.offset(), text.len() as u64);
    }

    /// Gives so many bytes at once.
    struct Drops<'d>(&'d [u8], usize);

    impl Read for Drops<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let len = self.1.min(buf.len()).min(self.0.len());
            buf[..len].copy_from_slice(&self.0[..len]);
            self.0 = &self.0[len..];
            Ok(len)
        }
    }

    #[test]
    fn commands_are_the_same_however_the_file_comes() {
        let mut text = Vec::new();
        for number in 0..2000_usize {
            let value = vec![b'v'; number * 7 % 900];
            let words = [&b"SET"[..], number.to_string().as_bytes(), &value].map(<[u8]>::to_vec);
            text.extend_from_slice(b"#a comment\r\n*3\r\n");
            for word in words {
                text.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                text.extend_from_slice(&[&word, &b"\r\n"[..]].concat());
            }
        }
        for step in [1, 3, 1000, 100_000, usize::MAX] {
            let mut commands = Commands::new(Drops(&text, step));
            let mut number = 0;
            while let Some(parts) = commands.read().unwrap() {
                assert_eq!(parts.get(1), number.to_string().as_bytes());
                assert_eq!(parts.get(2).len(), number * 7 % 900);
                number += 1;
            }
            assert_eq!((number, commands.offset()), (2000, text.len() as u64));
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut prng = Prng::seeded(3);
        for _ in 0..5000 {
            let mut text = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1\r\n$4\r\nPING\r\n".to_vec();
            for _ in 0..2 {
                let at = prng.below(text.len() as u64) as usize;
                text[at] = prng.next_u64() as u8;
            }
            let mut commands = Commands::new(&text[..]);
            while let Ok(Some(parts)) = commands.read() {
                let _ = parts.get(0);
            }
        }
    }
}
