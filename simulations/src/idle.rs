//! A cluster that has nothing to do: nodes find each other, and then time passes and nothing is asked of them.

use crate::node::Node;
use crate::run::set_up;
use crate::scenario::scenario;
use crate::world::World;

/// A minute of virtual time, in microseconds.
const MINUTE_US: u64 = 60_000_000;

/// Lets `nodes` of them be idle for so many virtual minutes under `seed`; `at_minute` is called at the end of each, with its number.
///
/// What the real node's loop does by the clock happens here too: SWIM, pings, anti-entropy, checkpoints, ticks, health checks and
/// whatever else a peer wants to be woken for. Each node's disk is memory of this process, and so is what the judge of the run
/// remembers. Returned is the hash over all that happened: the same for the same seed.
///
/// # Errors
/// The checks that failed, in words; also when not all are connected to all in the end.
pub fn idle(nodes: usize, seed: u64, minutes: u64, mut at_minute: impl FnMut(u64)) -> Result<String, Vec<String>> {
    let mut calm = scenario("calm").expect("BUG: a scenario that is shipped");
    (calm.name, calm.nodes) = ("idle".to_owned(), nodes);
    let mut world = World::new(calm, seed, None);
    set_up(&mut world);
    let begun_us = world.now_us;
    for minute in 1..=minutes {
        world.run_until(begun_us + minute * MINUTE_US);
        at_minute(minute);
    }
    let links = |node: &Node| node.running.as_ref().map_or(0, |running| running.links.len());
    if world.nodes.iter().any(|node| links(node) != nodes - 1) {
        world.judge.book.complain(format!("not all are connected to all: {}", world.unrest()));
    }
    if world.judge.book.has_failed() {
        return Err(world.judge.book.failures().to_vec());
    }
    Ok(world.trace.digest().to_string())
}
