//! Nine nodes that have nothing to do for an hour of virtual time keep their memory.
#![expect(clippy::expect_used, clippy::print_stderr, reason = "a test fails by panicking, and says what it measured")]

use std::alloc::System;

use cap::Cap;
use weft_simulations::idle;

/// Counts the bytes that are allocated and not freed.
#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// So that each node has eight others.
const NODES: usize = 9;
/// What may be said once and kept is said by then.
const SETTLED: u64 = 5;
const HOUR: u64 = 60;
/// What one node may grow by meanwhile, in bytes.
const GROWTH_MAX: usize = 4 * 1024 * 1024;

#[test]
fn an_hour_of_nothing_adds_no_memory() {
    let mut heaps = Vec::new();
    idle(NODES, 1, HOUR, |_| heaps.push(HEAP.allocated())).expect("no check fails");
    let at = |minute: u64| heaps[usize::try_from(minute - 1).expect("a small number")];
    let growth = at(HOUR).saturating_sub(at(SETTLED)) / NODES;
    eprintln!("{} bytes at minute {SETTLED}, {} at minute {HOUR}: {growth} more for each node", at(SETTLED), at(HOUR));
    assert!(growth <= GROWTH_MAX, "{growth} bytes more for each node: {heaps:?}");
}
