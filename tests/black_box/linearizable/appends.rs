//! Histories of transactions that append to lists and strings and read them, searched for cycles: strict serializability.
//! Some of them hold their keys, others stop everybody: both beside each other.
//!
//! Every element is appended once, so the lists at the end tell the order of all appends to a key, and a read tells how much
//! of it was there. That gives edges between transactions:
//!
//! ```text
//! append before append      of neighbouring elements of a list
//! append before read        of the last element that was read
//! read before append        of the first element that was not
//! end before begin          of another transaction, in real time
//! ```
//! Transactions that appear to happen one after the other, in real time's order, have no cycle among them; and a cycle is a
//! violation that a person can read. Source: Kingsbury & Alvaro, "Elle", VLDB 2020 (the idea of list-append histories).
//!
//! `APPEND_OPS=1000000 cargo test --test black_box appends` makes a longer search.

use crate::harness::random::{Random, seed};
use crate::harness::{Client, Server, Value, engines, request, words};
use std::collections::HashMap;
use std::time::Instant;

/// One step of a transaction, with what came back.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Append { key: usize, element: u64 },
    Read { key: usize, seen: Vec<u64> },
}

/// A transaction that has run.
#[derive(Clone, Debug)]
struct Transaction {
    called: u64,
    returned: u64,
    steps: Vec<Step>,
}

/// What a transaction is going to do: its key, and the element if it appends.
type Plan = Vec<(usize, Option<u64>)>;

const CLIENTS: usize = 4;
/// Transactions of each client for one set of keys, so that lists stay short.
const PER_KEYS: usize = 40;
const KEYS: usize = 5;

fn plan(random: &mut Random, client: usize, index: usize) -> Plan {
    let keys = index / PER_KEYS * KEYS;
    let step = |at: usize, random: &mut Random| {
        let element = ((index * 8 + at) * CLIENTS + client) as u64;
        (keys + random.below(KEYS), random.percent(50).then_some(element))
    };
    (0..1 + random.below(5)).map(|at| step(at, random)).collect()
}

/// How a plan is run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Multi,
    /// With a command that names no keys, so that all loops stand still for it.
    Stopping,
    /// A script with the keys as its keys, and per key the element, or nothing to read. It is plain, so it holds them.
    Script,
    /// Its one step as a command.
    Alone,
}

const SCRIPT: &str = "local out = {} for at, key in ipairs(KEYS) do local is_list = key:sub(1, 1) == 'l' \
    if ARGV[at] == '' then out[at] = is_list and redis.call('LRANGE', key, 0, -1) or redis.call('GET', key) \
    elseif is_list then out[at] = redis.call('RPUSH', key, ARGV[at]) \
    else out[at] = redis.call('APPEND', key, ARGV[at] .. ',') end end return out";

/// Lists and strings by turns.
fn is_list(key: usize) -> bool {
    key.is_multiple_of(2)
}

fn name(key: usize) -> String {
    format!("{}{key}", if is_list(key) { "l" } else { "s" })
}

/// The command that reads a key whole.
fn read_command(key: usize) -> String {
    if is_list(key) { format!("LRANGE {} 0 -1", name(key)) } else { format!("GET {}", name(key)) }
}

/// A plan as it is sent.
fn wire(plan: &Plan, way: Way) -> Vec<u8> {
    let command = |&(key, element): &(usize, Option<u64>)| match element {
        Some(element) if is_list(key) => request(&["RPUSH".into(), name(key), element.to_string()]),
        Some(element) => request(&["APPEND".into(), name(key), format!("{element},")]),
        None => request(&words(&read_command(key))),
    };
    let steps: Vec<u8> = plan.iter().flat_map(command).collect();
    match way {
        Way::Alone => steps,
        Way::Multi => [request(&["MULTI"]), steps, request(&["EXEC"])].concat(),
        Way::Stopping => [request(&["MULTI"]), steps, request(&["PING"]), request(&["EXEC"])].concat(),
        Way::Script => {
            let keys = plan.iter().map(|(key, _)| name(*key));
            let elements = plan.iter().map(|(_, element)| element.map_or(String::new(), |it| it.to_string()));
            let head = ["EVAL".to_string(), SCRIPT.to_string(), plan.len().to_string()];
            request(&head.into_iter().chain(keys).chain(elements).collect::<Vec<_>>())
        }
    }
}

fn elements(read: &Value) -> Vec<u64> {
    let number = |text: &str| text.parse().expect("a number");
    match read {
        Value::Nil => Vec::new(),
        Value::Bulk(_) => read.text().split_terminator(',').map(number).collect(),
        list => list.items().iter().map(|item| number(&item.text())).collect(),
    }
}

/// Reads the replies of a plan.
fn steps(client: &mut Client, plan: &Plan, way: Way) -> Vec<Step> {
    let replies = match way {
        Way::Alone => client.replies(plan.len()),
        Way::Script => client.reply().items(),
        Way::Multi | Way::Stopping => {
            client.replies(1 + plan.len() + (way == Way::Stopping) as usize); // OK and QUEUED.
            let mut items = client.reply().items();
            items.truncate(items.len() - (way == Way::Stopping) as usize); // PONG.
            items
        }
    };
    assert_eq!(replies.len(), plan.len(), "a reply for each command");
    let step = |(&(key, element), reply): (&(usize, Option<u64>), &Value)| match element {
        Some(element) => Step::Append { key, element },
        None => Step::Read { key, seen: elements(reply) },
    };
    plan.iter().zip(&replies).map(step).collect()
}

/// What one client does, some transactions at a time.
fn run_client(server: &Server, client: usize, seed: u64, count: usize, clock: Instant) -> Vec<Transaction> {
    let (mut random, mut socket, mut done) = (Random::seeded(seed * 64 + client as u64), server.client(), Vec::new());
    while done.len() < count {
        let ahead = 1 + random.below(4);
        let mut one = |at: usize| {
            let plan = plan(&mut random, client, done.len() + at);
            let way = match random.below(8) {
                0 | 1 => Way::Script,
                2..=5 if plan.len() == 1 => Way::Alone,
                6 => Way::Stopping,
                _ => Way::Multi,
            };
            (plan, way)
        };
        let plans: Vec<(Plan, Way)> = (0..ahead).map(&mut one).collect();
        let bytes: Vec<u8> = plans.iter().flat_map(|(plan, way)| wire(plan, *way)).collect();
        let called = clock.elapsed().as_nanos() as u64;
        socket.send(&bytes);
        for (plan, way) in &plans {
            let steps = steps(&mut socket, plan, *way);
            done.push(Transaction { called, returned: clock.elapsed().as_nanos() as u64, steps });
        }
    }
    done
}

/// The order of the appends to each key.
type Orders = HashMap<usize, Vec<u64>>;

/// Runs transactions of several clients with so many steps in all, and reads the lists at the end.
fn record(server: &Server, seed: u64, steps: usize) -> (Vec<Transaction>, Orders) {
    let (clock, count) = (Instant::now(), steps / CLIENTS / 3);
    let history: Vec<Transaction> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..CLIENTS).map(|client| scope.spawn(move || run_client(server, client, seed, count, clock))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a client's thread")).collect()
    });
    let mut reader = server.client();
    let keys = ((count + 8) / PER_KEYS + 1) * KEYS;
    let order = |key: usize| (key, elements(&reader.run(&read_command(key))));
    (history, (0..keys).map(order).collect())
}

/// A graph of transactions, and behind them the moments at which they returned, in order: with these, "before in real time"
/// needs a few edges per transaction instead of one per pair.
struct Graph {
    next: Vec<Vec<usize>>,
}

impl Graph {
    fn edge(&mut self, from: usize, to: usize) {
        if from != to {
            self.next[from].push(to);
        }
    }
    /// Some nodes that lie on cycles, or behind one. None: there is no cycle.
    fn cycle(&self) -> Option<Vec<usize>> {
        let mut open = vec![0; self.next.len()];
        self.next.iter().flatten().for_each(|&to| open[to] += 1);
        let mut free: Vec<usize> = (0..open.len()).filter(|&node| open[node] == 0).collect();
        let mut done = 0;
        while let Some(node) = free.pop() {
            done += 1;
            for &to in &self.next[node] {
                open[to] -= 1;
                if open[to] == 0 {
                    free.push(to);
                }
            }
        }
        (done < open.len()).then(|| self.walk_back(&open))
    }
    /// Follows nodes with open predecessors until one comes again.
    fn walk_back(&self, open: &[usize]) -> Vec<usize> {
        let mut before = vec![None; open.len()];
        for (node, next) in self.next.iter().enumerate().filter(|(node, _)| open[*node] > 0) {
            next.iter().for_each(|&to| before[to] = Some(node));
        }
        let mut path = vec![open.iter().position(|&count| count > 0).expect("a node is open")];
        loop {
            let Some(node) = before[*path.last().expect("not empty")] else { return path };
            if let Some(at) = path.iter().position(|&seen| seen == node) {
                path.drain(..at);
                path.reverse();
                return path;
            }
            path.push(node);
        }
    }
}

/// Is the history strictly serializable?
/// Errors: what is wrong, with the transactions.
fn check(history: &[Transaction], orders: &Orders) -> Result<(), String> {
    let mut writers: HashMap<u64, usize> = HashMap::new();
    for (index, transaction) in history.iter().enumerate() {
        for step in &transaction.steps {
            if let Step::Append { element, key } = step {
                writers.insert(*element, index);
                let times = orders[key].iter().filter(|&it| it == element).count();
                if times != 1 {
                    return Err(format!("element {element} is {times} times in list {key}"));
                }
            }
        }
    }
    let count: usize = orders.values().map(Vec::len).sum();
    if count != writers.len() {
        return Err(format!("{} elements were appended, {count} are there", writers.len()));
    }
    let mut graph = Graph { next: vec![Vec::new(); history.len() * 2] };
    for order in orders.values() {
        order.windows(2).for_each(|pair| graph.edge(writers[&pair[0]], writers[&pair[1]]));
    }
    for (index, transaction) in history.iter().enumerate() {
        add_reads(&mut graph, index, transaction, orders, &writers)?;
    }
    add_real_time(&mut graph, history);
    let Some(cycle) = graph.cycle() else { return Ok(()) };
    let lines = cycle.iter().filter_map(|&node| history.get(node)).map(|transaction| format!("\n  {transaction:?}"));
    Err(format!("a cycle of {} transactions:{}", cycle.len(), lines.collect::<String>()))
}

/// What the reads of a transaction say, and whether they agree with its own appends.
fn add_reads(
    graph: &mut Graph,
    index: usize,
    transaction: &Transaction,
    orders: &Orders,
    writers: &HashMap<u64, usize>,
) -> Result<(), String> {
    // What the transaction must find in a list from its first look on.
    let mut known: HashMap<usize, Vec<u64>> = HashMap::new();
    let mut own: HashMap<usize, Vec<u64>> = HashMap::new();
    for step in &transaction.steps {
        match step {
            Step::Append { key, element } => {
                known.entry(*key).and_modify(|list| list.push(*element));
                own.entry(*key).or_default().push(*element);
            }
            Step::Read { key, seen } => {
                let own = own.get(key).map_or(&[][..], Vec::as_slice);
                let is_known = known.get(key).is_none_or(|list| list == seen);
                if !is_known || !seen.ends_with(own) || !orders[key].starts_with(seen) {
                    return Err(format!("a read contradicts its own transaction or the end: {transaction:?}"));
                }
                known.insert(*key, seen.clone());
                if let Some(last) = seen.last() {
                    graph.edge(writers[last], index);
                }
                if let Some(next) = orders[key].get(seen.len()) {
                    graph.edge(index, writers[next]);
                }
            }
        }
    }
    Ok(())
}

/// A chain of the moments at which transactions returned; each transaction leads to its own, and the last moment before a
/// transaction was called leads to it.
fn add_real_time(graph: &mut Graph, history: &[Transaction]) {
    let mut ends: Vec<(u64, usize)> =
        history.iter().enumerate().map(|(index, transaction)| (transaction.returned, index)).collect();
    ends.sort_unstable();
    let first = history.len();
    for (at, &(_, index)) in ends.iter().enumerate() {
        graph.edge(index, first + at);
        if at > 0 {
            graph.edge(first + at - 1, first + at);
        }
    }
    for (index, transaction) in history.iter().enumerate() {
        let before = ends.partition_point(|&(returned, _)| returned < transaction.called);
        if before > 0 {
            graph.edge(first + before - 1, index);
        }
    }
}

#[test]
fn appends_and_reads_in_transactions_are_strictly_serializable() {
    let ops = std::env::var("APPEND_OPS").ok().and_then(|text| text.parse().ok()).unwrap_or(8_000);
    for &engine in engines() {
        for loops in ["2", "4"] {
            let (server, seed) = (Server::start_on(engine, &["--threads", loops]), seed("APPEND_SEED"));
            let (history, orders) = record(&server, seed, ops);
            check(&history, &orders).unwrap_or_else(|problem| panic!("APPEND_SEED={seed} {engine:?}\n{problem}"));
            let stats = server.client().run("INFO stats").text();
            for way in ["transactions_holding_keys", "transactions_stopping_loops", "scripts_holding_keys"] {
                let count = stats.lines().find_map(|line| line.strip_prefix(&format!("{way}:")));
                assert!(count.is_some_and(|count| count != "0"), "{way}: {stats}");
            }
        }
    }
}

fn transaction(called: u64, returned: u64, steps: &[Step]) -> Transaction {
    Transaction { called, returned, steps: steps.to_vec() }
}
fn append(key: usize, element: u64) -> Step {
    Step::Append { key, element }
}
fn read(key: usize, seen: &[u64]) -> Step {
    Step::Read { key, seen: seen.to_vec() }
}

#[test]
fn planted_violations_of_transactions_are_found() {
    let orders = |lists: &[&[u64]]| lists.iter().map(|list| list.to_vec()).enumerate().collect::<Orders>();
    let both = orders(&[&[1], &[2]]);
    let writes = transaction(0, 9, &[append(0, 1), append(1, 2)]);
    let seen = |x: &[u64], y: &[u64]| transaction(0, 9, &[read(0, x), read(1, y)]);
    assert!(check(&[writes.clone(), seen(&[1], &[2]), seen(&[], &[])], &both).is_ok());
    assert!(check(&[writes.clone(), seen(&[1], &[])], &both).is_err(), "half a transaction is seen");
    assert!(check(&[writes.clone(), seen(&[], &[2])], &both).is_err(), "the other half is seen");
    let late = transaction(10, 11, &[read(0, &[])]);
    assert!(check(&[writes.clone(), late], &both).is_err(), "a read is stale in real time");
    assert!(check(&[writes], &orders(&[&[1], &[]])).is_err(), "an append is lost");
    let skew = |from: usize, to: usize, element: u64| transaction(0, 9, &[read(from, &[]), append(to, element)]);
    assert!(
        check(&[skew(0, 1, 2), skew(1, 0, 1)], &both).is_err(),
        "two transactions have missed each other's appends"
    );
    let mixed = orders(&[&[1, 3, 2], &[]]);
    let inner = [transaction(0, 9, &[append(0, 1), append(0, 2)]), transaction(0, 9, &[append(0, 3)])];
    assert!(check(&inner, &mixed).is_err(), "an append has come between two of a transaction");
    let own = [transaction(0, 9, &[append(0, 1), read(0, &[])])];
    assert!(check(&own, &orders(&[&[1]])).is_err(), "a transaction misses its own append");
}
