//! The load generator against a toy server that answers honestly, lies, or cuts its replies into crumbs.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Output},
    sync::{Arc, Mutex},
    thread,
};

/// How the toy server misbehaves.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Honest,
    /// Replies leave in pieces of seven bytes.
    Crumbs,
    /// Every eighth command is not done, if it is a SET: often enough that some later GET must miss it.
    Forgetful,
    /// Every hundredth GET is an error.
    Failing,
}

type Store = Arc<Mutex<(HashMap<Vec<u8>, Vec<u8>>, u64)>>;

/// Starts a server; gives back its port. Its threads end with the test's process.
fn serve(manner: Manner) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let store = Store::default();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let store = store.clone();
            thread::spawn(move || talk(stream, &store, manner));
        }
    });
    port
}

/// Answers one connection until it closes.
fn talk(stream: TcpStream, store: &Store, manner: Manner) -> Option<()> {
    stream.set_nodelay(true).ok()?; // Or each crumb waits for the acknowledgement of the one before.
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut out = Vec::new();
    loop {
        let words = request(&mut reader)?;
        let mut guard = store.lock().unwrap();
        let (map, count) = &mut *guard;
        *count += 1;
        let is_hundredth = *count % 100 == 0;
        match words[0].as_slice() {
            b"SET" => {
                if !(manner == Manner::Forgetful && *count % 8 == 0) {
                    map.insert(words[1].clone(), words[2].clone());
                }
                out.extend_from_slice(b"+OK\r\n");
            }
            b"GET" if manner == Manner::Failing && is_hundredth => out.extend_from_slice(b"-ERR no luck\r\n"),
            b"GET" => bulk(&mut out, map.get(&words[1])),
            b"MGET" => {
                out.extend_from_slice(format!("*{}\r\n", words.len() - 1).as_bytes());
                words[1..].iter().for_each(|key| bulk(&mut out, map.get(key)));
            }
            _ => out.extend_from_slice(b"-ERR unknown command\r\n"),
        }
        drop(guard);
        if reader.buffer().is_empty() {
            flush(&stream, &mut out, if manner == Manner::Crumbs { 7 } else { usize::MAX })?;
        }
    }
}

fn request(reader: &mut BufReader<TcpStream>) -> Option<Vec<Vec<u8>>> {
    let mut number = || -> Option<usize> {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        line.trim_end().get(1..)?.parse().ok()
    };
    let count = number()?;
    (0..count)
        .map(|_| {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let len: usize = line.trim_end().get(1..)?.parse().ok()?;
            let mut payload = vec![0; len + 2];
            reader.read_exact(&mut payload).ok()?;
            payload.truncate(len);
            Some(payload)
        })
        .collect()
}

fn bulk(out: &mut Vec<u8>, value: Option<&Vec<u8>>) {
    match value {
        None => out.extend_from_slice(b"$-1\r\n"),
        Some(value) => {
            out.extend_from_slice(format!("${}\r\n", value.len()).as_bytes());
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn flush(mut stream: &TcpStream, out: &mut Vec<u8>, piece: usize) -> Option<()> {
    let whole = std::mem::take(out);
    let done = whole.chunks(piece.min(whole.len().max(1))).try_for_each(|piece| stream.write_all(piece));
    done.ok()
}

/// Runs the generator with `--verify` for a few thousand commands.
fn load(port: u16, flags: &str) -> Output {
    let base = format!("--port {port} -c 4 -k 200 -n 4000 --warm-up 0 --verify --json {flags}");
    Command::new(env!("CARGO_BIN_EXE_ringdb-load")).args(base.split_whitespace()).output().unwrap()
}

#[test]
fn an_honest_server_is_clean_however_its_replies_are_cut() {
    for manner in [Manner::Honest, Manner::Crumbs] {
        let port = serve(manner);
        for flags in ["--fill -w mixed --ratio 1:1 -P 16", "-w mget10 -P 4", "-w get -P 1 --hit-ratio 0.5 --threads 2"]
        {
            let done = load(port, flags);
            assert_eq!(done.status.code(), Some(0), "{flags}: {}", String::from_utf8_lossy(&done.stdout));
        }
    }
}

#[test]
fn a_forgotten_write_is_found() {
    let done = load(serve(Manner::Forgetful), "--fill -w mixed --ratio 1:1 -P 16");
    assert_eq!(done.status.code(), Some(2), "{}", String::from_utf8_lossy(&done.stdout));
    assert!(!String::from_utf8_lossy(&done.stdout).contains("\"wrong\":0,"));
}

#[test]
fn errors_are_counted_and_change_the_exit_code() {
    let done = load(serve(Manner::Failing), "--fill -w get -P 16");
    let report = String::from_utf8_lossy(&done.stdout);
    assert_eq!(done.status.code(), Some(2), "{report}");
    assert!(report.contains("\"first_error\":\"ERR no luck\"") && report.contains("\"wrong\":0,"), "{report}");
}

#[test]
fn a_server_that_is_not_there_is_one_sentence() {
    let done = load(1, ""); // tcpmux: nobody has run it for decades.
    assert_eq!(done.status.code(), Some(1));
    let words = String::from_utf8_lossy(&done.stderr);
    assert!(words.starts_with("ringdb-load: cannot connect to 127.0.0.1:"), "{words}");
}
