//! Entry of every micro-bench: one allocator, short runs, and nothing at all when `cargo test` starts the binary.

use std::time::Duration;

use criterion::Criterion;
use ringdb::base::heap::Heap;

// The server's allocator, for all candidates.
#[global_allocator]
static HEAP: Heap = Heap;

/// Runs `benches` under `cargo bench`; does nothing otherwise.
pub fn run(benches: impl FnOnce(&mut Criterion)) {
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    benches(&mut criterion);
    criterion.final_summary();
}
