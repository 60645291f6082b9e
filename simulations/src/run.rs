//! One run from beginning to end: the nodes join, things happen, everything is mended, calm returns, every disk is examined.

use crate::checks::Check;
use crate::generate::{plan, shrink};
use crate::mutation::Mutation;
use crate::replay::Replay;
use crate::report::{REAL, REPLACED, SimReport};
use crate::scenario::Scenario;
use crate::transition::Step;
use crate::world::World;

/// How long the nodes that begin together may take to join, in virtual microseconds (guess: tens of round trips).
const SETUP_US_MAX: u64 = 60_000_000;
/// How often it is looked whether something that is waited for has come, in virtual microseconds.
const LOOK_US: u64 = 250_000;
/// For how many looks in a row everything must be quiet: longer than the second after which an open tail is sealed.
const QUIET_LOOKS: u64 = 12;

/// Runs `scenario` under `seed`: the same two give the same report, on every machine.
#[must_use]
pub fn run(scenario: &Scenario, seed: u64) -> SimReport {
    run_plan(scenario, seed, &plan(scenario, seed), None)
}

/// Runs `scenario` under `seed` and, when that fails a check, looks for the fewest steps that fail the same one.
/// That takes up to 200 further runs.
#[must_use]
pub fn run_and_shrink(scenario: &Scenario, seed: u64) -> SimReport {
    let plan = plan(scenario, seed);
    let report = run_steps(scenario, seed, &plan);
    if report.pass {
        return report;
    }
    let before = plan.len();
    let Some(wanted) = failed_check(&report) else {
        let replay = Replay::new(scenario, &report, plan, before);
        return SimReport { replay: Some(Box::new(replay)), ..report };
    };
    let fails = |steps: &[Step]| failed_check(&run_steps(scenario, seed, steps)) == Some(wanted);
    let smallest = shrink(plan, fails);
    let minimal = smallest.iter().map(Step::to_string).collect();
    let again = run_steps(scenario, seed, &smallest);
    let replay = Replay::new(scenario, &again, smallest, before);
    SimReport { minimal, replay: Some(Box::new(replay)), ..report }
}

/// Runs these steps in a world with a defect, to see that a check fails: for tests of the checks themselves.
#[must_use]
pub fn run_mutated(scenario: &Scenario, seed: u64, steps: Option<&[Step]>, mutation: Mutation) -> SimReport {
    match steps {
        Some(steps) => run_plan(scenario, seed, steps, Some(mutation)),
        None => run_plan(scenario, seed, &plan(scenario, seed), Some(mutation)),
    }
}

/// Runs exactly these steps.
#[must_use]
pub fn run_steps(scenario: &Scenario, seed: u64, steps: &[Step]) -> SimReport {
    run_plan(scenario, seed, steps, None)
}

fn failed_check(report: &SimReport) -> Option<&'static str> {
    report.checks.iter().find(|(_, check)| !check.ok).map(|(name, _)| *name)
}

fn run_plan(scenario: &Scenario, seed: u64, steps: &[Step], mutation: Option<Mutation>) -> SimReport {
    let mut world = World::new(scenario.clone(), seed, mutation);
    set_up(&mut world);
    let begun_us = world.now_us;
    world.follow(steps);
    world.run_until(begun_us + steps.iter().map(Step::end_us).max().unwrap_or_default());
    if !world.is_over() {
        settle(&mut world);
    }
    if !world.is_over() {
        world.judge_evidence();
        world.judge_thresholds();
        world.judge.quiet(scenario.nodes);
        world.judge_stability();
        world.judge_guests();
        world.examine();
    }
    SimReport { failed_at_us: failed_at_us(&world, begun_us), ..report(&mut world, steps) }
}

/// When the first check failed, counted as the steps are; none in a run that passed, or that lacked something in the end.
fn failed_at_us(world: &World, begun_us: u64) -> Option<u64> {
    world.judge.book.has_failed().then(|| world.now_us.saturating_sub(begun_us))
}

/// The founder starts, and all that do not come late join.
pub(crate) fn set_up(world: &mut World) {
    world.found();
    let together = world.scenario.nodes - world.scenario.late;
    for node in 1..together {
        world.begin_join(node);
    }
    let ready = |world: &World| {
        let running = world.nodes[..together].iter().filter_map(|node| node.running.as_ref());
        running.filter(|running| !running.links.is_empty()).count() == together
    };
    if !wait(world, SETUP_US_MAX, 1, ready) && !world.judge.book.has_failed() {
        let unrest = world.unrest();
        world.judge.book.complain(format!("the nodes did not find each other within {SETUP_US_MAX} us: {unrest}"));
    }
}

/// Everything is mended, and calm returns.
fn settle(world: &mut World) {
    world.mend();
    let begun_us = world.now_us;
    let calm = wait(world, world.scenario.quiet_us_max, QUIET_LOOKS, World::is_quiet);
    if !world.is_over() {
        let unrest = if calm { String::new() } else { world.unrest() };
        let quiet_us_max = world.scenario.quiet_us_max;
        let waiting = world.judge.reference.asks.is_empty();
        let check = if calm || waiting { Check::Converges } else { Check::OneAnswer };
        // What is seen to last is looked at for a while, and has come before that.
        let took_us = (world.now_us - begun_us).saturating_sub((QUIET_LOOKS - 1) * LOOK_US);
        world.judge.measured.convergence_us = calm.then_some(took_us);
        world.judge.book.check(check, calm, || format!("not quiet within {quiet_us_max} us: {unrest}"));
    }
    if !world.is_over() {
        let quiet_us_max = world.scenario.quiet_us_max;
        wait(world, quiet_us_max, 1, |world| world.undelivered().is_empty());
        let lacking = world.undelivered();
        world.judge.book.check(Check::PublicationsReachAll, lacking.is_empty(), || lacking.join("; "));
    }
    if !world.is_over() && world.scenario.full_mesh_max.is_some() {
        let few = |world: &World| world.links() < world.nodes.len() * (world.nodes.len() - 1) * 3 / 4;
        let alone = |world: &World| world.needless_links().is_empty() && few(world);
        wait(world, world.scenario.quiet_us_max, 1, alone);
        let (links, needless) = (world.links(), world.needless_links().join("; "));
        let holds = alone(world);
        world.judge.book.check(Check::NeighboursAlone, holds, || format!("{links} links; {needless}"));
    }
}

/// Lets time pass until `done` holds at so many looks in a row; false when that takes longer than `us_max`.
fn wait(world: &mut World, us_max: u64, looks: u64, done: impl Fn(&World) -> bool) -> bool {
    let until_us = world.now_us + us_max;
    let mut in_a_row = 0;
    while world.now_us < until_us && !world.is_over() {
        world.run_until(world.now_us + LOOK_US);
        in_a_row = if done(world) { in_a_row + 1 } else { 0 };
        if in_a_row == looks {
            return true;
        }
    }
    false
}

fn report(world: &mut World, steps: &[Step]) -> SimReport {
    world.faults.add_network(world.network.counts());
    for node in &world.nodes {
        world.faults.add_disk(node.disk.counts());
    }
    if !world.is_over() {
        let missing = if world.scenario.over_seeds { Vec::new() } else { world.faults.missing(&world.scenario) };
        for fault in missing {
            world.judge.book.complain(format!("the scenario promises {fault}, and that never struck"));
        }
        let due = |check: &Check| check.is_due(&world.scenario, steps);
        let never: Vec<_> = world.judge.book.never_made().filter(due).collect();
        for check in never.into_iter().map(Check::name) {
            world
                .judge
                .book
                .complain(format!("{check} was never checked, though something happened that gives reason for it"));
        }
    }
    let book = &world.judge.book;
    let mut failures = book.failures().to_vec();
    if book.has_failed() {
        failures.extend(world.trace.last().map(|line| format!("  {line}")));
    }
    SimReport {
        scenario: world.scenario.name.clone(),
        seed: world.seed,
        nodes: world.scenario.nodes,
        pass: !book.has_failed(),
        trace_hash: world.trace.digest().to_string(),
        virtual_s: std::time::Duration::from_micros(world.now_us).as_secs_f64(),
        wall_s: 0.0,
        checks: book.report(),
        faults: world.faults.report(),
        real: REAL.to_vec(),
        replaced: REPLACED.to_vec(),
        failures,
        minimal: Vec::new(),
        ledger: std::mem::take(&mut world.ledger).closed(world.nodes.len(), &world.network, &world.judge.measured),
        replay: None,
        failed_at_us: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::scenario;

    #[test]
    fn those_who_join_in_a_crowd_share_the_epochs_that_let_them_count() {
        let crowd = Scenario { nodes: 10, ..scenario("calm").expect("shipped") };
        let mut world = World::new(crowd, 1, None);
        set_up(&mut world);
        let epochs = |world: &World| -> Vec<(u64, usize)> {
            let running = world.nodes.iter().filter_map(|node| node.running.as_ref());
            let epochs = running.map(|running| running.peer.replication().standing().epochs());
            epochs.map(|epochs| (epochs.number(), epochs.active().len())).collect()
        };
        let all_count = |world: &World| epochs(world).iter().all(|(_, counting)| *counting == 10);
        assert!(wait(&mut world, SETUP_US_MAX, 1, all_count), "{:?}", epochs(&world));
        let (number, _) = epochs(&world)[0];
        assert!((1..=3).contains(&number), "nine admissions took {number} epochs");
    }
}
