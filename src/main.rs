//! The server's entry.

#[global_allocator]
static HEAP: ringdb::base::heap::Heap = ringdb::base::heap::Heap;

fn main() {
    std::process::exit(ringdb::server::run());
}
