//! Replies as values, and requests as bytes. Written against the protocol's description and independent of the server's
//! own reader and writer, which it is there to check.

use std::fmt;

/// One reply. Numbers that are text on the wire stay text, so that nothing is lost.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Int(i64),
    Bulk(Vec<u8>),
    /// `$-1`, `*-1` or `_`.
    Nil,
    Array(Vec<Value>),
    Set(Vec<Value>),
    Push(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Double(Vec<u8>),
    Bool(bool),
    Big(Vec<u8>),
    Verbatim(Vec<u8>),
}

impl Value {
    pub fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }
    /// The bytes of a string of any kind; empty for anything else.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Value::Simple(b) | Value::Error(b) | Value::Bulk(b) | Value::Double(b) | Value::Big(b) => b,
            Value::Verbatim(b) => b.get(4..).unwrap_or_default(),
            _ => b"",
        }
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }
    /// The items of a list of any kind; a map's keys and values in turn.
    pub fn items(&self) -> Vec<Value> {
        match self {
            Value::Array(items) | Value::Set(items) | Value::Push(items) => items.clone(),
            Value::Map(pairs) => pairs.iter().flat_map(|(k, v)| [k.clone(), v.clone()]).collect(),
            _ => Vec::new(),
        }
    }
    pub fn int(&self) -> i64 {
        match self {
            Value::Int(n) => *n,
            other => panic!("not an integer: {other}"),
        }
    }
    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }
}

/// As scenarios write it: `OK`, `7`, `'bulk'`, `(nil)`, `[a, b]`, `~[set]`, `{k: v}`, `,1.5`, `#t`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: &[Value]| items.iter().map(Value::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Value::Simple(text) | Value::Error(text) => {
                write!(f, "{}", text.escape_ascii().to_string().replace("\\\'", "'").replace("\\\"", "\""))
            }
            Value::Int(n) => write!(f, "{n}"),
            Value::Bulk(bytes) => write!(f, "'{}'", bytes.escape_ascii()),
            Value::Verbatim(bytes) => write!(f, "'{}'", bytes.get(4..).unwrap_or_default().escape_ascii()),
            Value::Nil => write!(f, "(nil)"),
            Value::Array(items) => write!(f, "[{}]", list(items)),
            Value::Set(items) => write!(f, "~[{}]", list(items)),
            Value::Push(items) => write!(f, ">[{}]", list(items)),
            Value::Map(pairs) => {
                let pairs: Vec<_> = pairs.iter().map(|(key, value)| format!("{key}: {value}")).collect();
                write!(f, "{{{}}}", pairs.join(", "))
            }
            Value::Double(text) => write!(f, ",{}", text.escape_ascii()),
            Value::Big(text) => write!(f, "({}", text.escape_ascii()),
            Value::Bool(yes) => write!(f, "#{}", if *yes { 't' } else { 'f' }),
        }
    }
}

/// The first reply in `bytes` and its length; None if it has not arrived whole. Panics on what is not a reply.
pub fn decode(bytes: &[u8]) -> Option<(Value, usize)> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, mut at) = (&bytes[1..end], end + 2);
    let number = || -> i64 {
        let text = std::str::from_utf8(line).ok().and_then(|text| text.parse().ok());
        text.unwrap_or_else(|| panic!("not a number in a reply: {}", bytes[..end].escape_ascii()))
    };
    let value = match bytes[0] {
        b'+' => Value::Simple(line.to_vec()),
        b'-' => Value::Error(line.to_vec()),
        b':' => Value::Int(number()),
        b',' => Value::Double(line.to_vec()),
        b'(' => Value::Big(line.to_vec()),
        b'#' => Value::Bool(line == b"t"),
        b'_' => Value::Nil,
        b'$' | b'*' if line == b"-1" => Value::Nil,
        b'$' | b'=' => {
            let len = number() as usize;
            let body = bytes.get(at..at + len)?.to_vec();
            assert_eq!(bytes.get(at + len..at + len + 2)?, b"\r\n", "a bulk ends with CRLF");
            at += len + 2;
            if bytes[0] == b'=' { Value::Verbatim(body) } else { Value::Bulk(body) }
        }
        b'*' => Value::Array(decode_items(bytes, &mut at, number())?),
        b'~' => Value::Set(decode_items(bytes, &mut at, number())?),
        b'>' => Value::Push(decode_items(bytes, &mut at, number())?),
        b'%' => {
            let items = decode_items(bytes, &mut at, 2 * number())?;
            Value::Map(items.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
        }
        _ => panic!("not a reply: {}", bytes[..bytes.len().min(200)].escape_ascii()),
    };
    Some((value, at))
}

fn decode_items(bytes: &[u8], at: &mut usize, count: i64) -> Option<Vec<Value>> {
    let mut items = Vec::new();
    for _ in 0..count {
        let (item, len) = decode(bytes.get(*at..).filter(|rest| !rest.is_empty())?)?;
        *at += len;
        items.push(item);
    }
    Some(items)
}

/// The bytes of a request.
pub fn request<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args.iter().map(AsRef::as_ref) {
        bytes.extend(format!("${}\r\n", arg.len()).bytes());
        bytes.extend(arg);
        bytes.extend(b"\r\n");
    }
    bytes
}

/// Splits a command line into words: by blanks, `"…"` with `\n \r \t \0 \" \\ \xHH`, `'…'` literally.
pub fn words(line: &str) -> Vec<Vec<u8>> {
    let (mut words, mut bytes) = (Vec::new(), line.trim().bytes().peekable());
    while let Some(&first) = bytes.peek() {
        match first {
            b' ' => drop(bytes.next()),
            b'"' | b'\'' => {
                bytes.next();
                words.push(quoted(&mut bytes, first));
            }
            _ => words.push(std::iter::from_fn(|| bytes.next_if(|&byte| byte != b' ')).collect()),
        }
    }
    words
}

fn quoted(bytes: &mut impl Iterator<Item = u8>, quote: u8) -> Vec<u8> {
    let (mut word, mut next) = (Vec::new(), || bytes.next().expect("a quote or an escape is not closed"));
    loop {
        match next() {
            byte if byte == quote => return word,
            b'\\' if quote == b'"' => word.push(match next() {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'0' => 0,
                b'x' => {
                    let digits = [next(), next()];
                    u8::from_str_radix(&String::from_utf8_lossy(&digits), 16).expect("two hex digits")
                }
                other => other,
            }),
            byte => word.push(byte),
        }
    }
}

#[test]
fn replies_of_every_kind_are_decoded_however_they_are_cut() {
    let bytes =
        b"*9\r\n+OK\r\n-ERR x\r\n:-7\r\n$2\r\n\r\n\r\n_\r\n,1.5\r\n#t\r\n%1\r\n+k\r\n~1\r\n$-1\r\n=5\r\ntxt:a\r\n";
    for len in 0..bytes.len() {
        assert_eq!(decode(&bytes[..len]), None, "{len}");
    }
    let (value, len) = decode(bytes).unwrap();
    assert_eq!(len, bytes.len());
    assert_eq!(value.to_string(), r"[OK, ERR x, -7, '\r\n', (nil), ,1.5, #t, {k: ~[(nil)]}, 'a']");
}
