//! What the commands mean, one after the other: a map from keys to byte strings.

use super::checker::Model;
use crate::harness::Value;
use std::collections::BTreeMap;

/// A command and the reply it got.
pub type Call = (Vec<Vec<u8>>, Value);

/// Keys and values. One key is a map of one.
pub struct Strings;

type State = BTreeMap<Vec<u8>, Vec<u8>>;

impl Model for Strings {
    type Op = Call;
    type State = State;

    fn apply(state: &State, (command, reply): &Call) -> Option<State> {
        let mut state = state.clone();
        let expected = run(&mut state, command);
        (expected == *reply).then_some(state)
    }
}

/// Runs a command and returns its reply.
fn run(state: &mut State, command: &[Vec<u8>]) -> Value {
    let name = String::from_utf8_lossy(&command[0]).to_uppercase();
    let args = &command[1..];
    let ok = Value::Simple(b"OK".to_vec());
    let bulk = |value: Option<Vec<u8>>| value.map_or(Value::Nil, Value::Bulk);
    let count_if = |yes: bool| Value::Int(yes as i64);
    match name.as_str() {
        "GET" => bulk(state.get(&args[0]).cloned()),
        "SET" => {
            state.insert(args[0].clone(), args[1].clone());
            ok
        }
        "SETNX" if state.contains_key(&args[0]) => Value::Int(0),
        "SETNX" => {
            state.insert(args[0].clone(), args[1].clone());
            Value::Int(1)
        }
        "GETSET" => bulk(state.insert(args[0].clone(), args[1].clone())),
        "GETDEL" => bulk(state.remove(&args[0])),
        "DEL" | "UNLINK" => Value::Int(args.iter().filter(|key| state.remove(*key).is_some()).count() as i64),
        "EXISTS" => Value::Int(args.iter().filter(|key| state.contains_key(*key)).count() as i64),
        "APPEND" => {
            let value = state.entry(args[0].clone()).or_default();
            value.extend(&args[1]);
            Value::Int(value.len() as i64)
        }
        "INCR" => {
            let old = state.get(&args[0]).map_or(Some(0), |value| number(value));
            let Some(sum) = old.map(|old| old + 1) else {
                return Value::Error(b"ERR value is not an integer or out of range".to_vec());
            };
            state.insert(args[0].clone(), sum.to_string().into_bytes());
            Value::Int(sum)
        }
        "MGET" => Value::Array(args.iter().map(|key| bulk(state.get(key).cloned())).collect()),
        "MSET" => {
            state.extend(args.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())));
            ok
        }
        "MSETNX" if args.chunks(2).any(|pair| state.contains_key(&pair[0])) => Value::Int(0),
        "MSETNX" => {
            state.extend(args.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())));
            Value::Int(1)
        }
        "RENAME" => match state.remove(&args[0]) {
            None => Value::Error(b"ERR no such key".to_vec()),
            Some(value) => {
                state.insert(args[1].clone(), value);
                ok
            }
        },
        // COPY source destination REPLACE
        "COPY" => match state.get(&args[0]).cloned() {
            None => Value::Int(0),
            Some(value) => {
                state.insert(args[1].clone(), value);
                count_if(true)
            }
        },
        other => panic!("the model does not know {other}"),
    }
}

/// The number that `value` is written as, if it is written as Redis would write it.
fn number(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    text.parse().ok().filter(|number: &i64| number.to_string() == text)
}
