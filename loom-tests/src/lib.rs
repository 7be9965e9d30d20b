//! What the models share: the runner, and a small table with its operations as functions of numbers.
//!
//! `README.md` lists the protocols, their files, and the mutations that each model must catch. Run with
//! `RUSTFLAGS="--cfg loom" cargo test -p loom-tests --profile fast`; without the flag this package is empty.
#![cfg(loom)]

pub mod small;

pub use ringdb::base::mutation::{Mutation, mutated};
pub use small::Small;

use ringdb::base::mutation::mutate;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// A model, as one test that it holds and one test per mutation that it must catch.
///
/// `bound` is the number of forced switches per execution that the checker explores; LOOM_MAX_PREEMPTIONS overrides it. A
/// mutation may have a bound of its own: its run ends at the first failure.
#[macro_export]
macro_rules! model {
    ($(#[$doc:meta])* fn $name:ident(bound = $bound:literal, caught $((bound = $deeper:literal))? = [$($mutation:ident),*]) $body:block) => {
        $(#[$doc])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            #[allow(dead_code)]
            const DEEPER: usize = *[$bound $(, $deeper)?].last().unwrap();
            fn run() $body
            #[test]
            fn holds() {
                $crate::holds(stringify!($name), $bound, run);
            }
            $(
                #[test]
                #[allow(non_snake_case)]
                fn $mutation() {
                    $crate::catches(stringify!($name), $crate::Mutation::$mutation, DEEPER, run);
                }
            )*
        }
    };
}

/// Runs `f` under every interleaving with at most `bound` forced switches and returns how many there were.
fn check(bound: usize, f: fn()) -> usize {
    // Not an atomic of the model: it counts executions from outside.
    let executions = std::rc::Rc::new(std::cell::Cell::new(0));
    let counter = Counter(executions.clone());
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(bound);
    builder.max_branches = 20_000;
    builder.check(move || {
        counter.count();
        ringdb::table::reclaim::bury();
        ringdb::base::sync::watched::rewatch();
        f();
    });
    executions.get()
}

struct Counter(std::rc::Rc<std::cell::Cell<usize>>);

// SAFETY: loom runs a model's threads on the OS thread that called it.
unsafe impl Send for Counter {}
// SAFETY: likewise.
unsafe impl Sync for Counter {}

impl Counter {
    fn count(&self) {
        self.0.set(self.0.get() + 1);
    }
}

/// The model passes.
pub fn holds(name: &str, bound: usize, f: fn()) {
    let start = Instant::now();
    let executions = check(bound, f);
    println!("{name}: {executions} executions, {:.1} s", start.elapsed().as_secs_f32());
}

/// The model fails under the mutation.
pub fn catches(name: &str, mutation: Mutation, bound: usize, f: fn()) {
    mutate(Some(mutation));
    let outcome = catch_unwind(AssertUnwindSafe(|| check(bound, f)));
    mutate(None);
    ringdb::table::reclaim::abandon();
    match outcome {
        Ok(executions) => panic!("{name} does not notice {mutation:?} in {executions} executions"),
        Err(failure) => {
            let text = failure.downcast_ref::<String>().map(String::as_str);
            let text = text.or(failure.downcast_ref::<&str>().copied()).unwrap_or("");
            println!("{name} catches {mutation:?}: {}", text.lines().next().unwrap_or(""));
        }
    }
}
