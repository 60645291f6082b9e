//! Carries out one fault, and says what it did.

use std::collections::BTreeSet;

use super::cluster::{Cluster, State};
use super::fault::{Fault, FaultReport, FaultRow, written};
use super::name::{SimNode, listed};
use crate::cli::CliError;
use crate::cli::output::clock;

/// Does what is asked for.
///
/// # Errors
/// `not-found` for a node that there is not, `conflict` when it is not in the state for that, and why a node did not start.
pub(crate) async fn act(cluster: &mut Cluster, fault: Fault) -> Result<FaultReport, CliError> {
    for node in fault.nodes() {
        cluster.state(node)?;
    }
    let (done, ended) = match fault {
        Fault::Partition { groups } => (part(cluster, groups)?, Vec::new()),
        Fault::Heal => heal(cluster),
        Fault::Kill { node } => {
            demand(cluster, node, &[State::Running, State::Paused], &format!("weft sim fault start {node}"))?;
            cluster.kill(node).await;
            (format!("{node} was killed; weft sim fault start {node} starts it again"), Vec::new())
        }
        Fault::Start { node } => {
            demand(cluster, node, &[State::Killed, State::Ended], &format!("weft sim fault kill {node}, before"))?;
            cluster.start(node).await?;
            (format!("{node} runs again, in the same home"), Vec::new())
        }
        Fault::Pause { node } => {
            demand(cluster, node, &[State::Running], "weft sim fault ls")?;
            cluster.pause(node, true);
            (format!("{node} is stopped; weft sim fault resume {node} lets it go on"), Vec::new())
        }
        Fault::Resume { node } => {
            demand(cluster, node, &[State::Paused], "weft sim fault ls")?;
            cluster.pause(node, false);
            (format!("{node} goes on"), Vec::new())
        }
        Fault::Slow { node, delay_ms, loss_ppm } => {
            let before = cluster.forwarders.change(|rules| rules.slow(node, delay_ms, loss_ppm));
            let percent = f64::from(loss_ppm) / 10_000.0;
            let lost = if loss_ppm == 0 { String::new() } else { format!(", and {percent}% of the datagrams do not") };
            (format!("everything to and from {node} comes {delay_ms} ms later{lost}"), before.into_iter().collect())
        }
        Fault::Skew { node, offset_ms } => {
            demand(
                cluster,
                node,
                &[State::Running, State::Killed, State::Ended],
                &format!("weft sim fault resume {node}"),
            )?;
            cluster.skew(node, offset_ms).await?;
            (format!("{node} was started again, and its clock is {}", clock(offset_ms)), Vec::new())
        }
    };
    Ok(FaultReport { done, ended, in_force: in_force(cluster) })
}

/// All faults in force.
pub(crate) fn in_force(cluster: &Cluster) -> Vec<FaultRow> {
    cluster.forwarders.rows().into_iter().chain(cluster.faults()).collect()
}

fn part(cluster: &Cluster, groups: Vec<BTreeSet<SimNode>>) -> Result<String, CliError> {
    let named: BTreeSet<SimNode> = groups.iter().flatten().copied().collect();
    let others: Vec<SimNode> = cluster.rows().iter().map(|row| row.name).filter(|name| !named.contains(name)).collect();
    let text = match (groups.len(), others.is_empty()) {
        (1, true) => {
            let message = "one group of all nodes parts nobody from anybody";
            return Err(CliError::new("invalid", message).hint("weft sim fault partition n1,n2 / n3"));
        }
        (1, false) => format!("{} / {}", written(&groups), listed(&others)),
        (_, true) => written(&groups),
        (_, false) => format!(
            "{}; {} reach all of them, and may pass connections on: name them too, unless that is wanted",
            written(&groups),
            listed(&others)
        ),
    };
    cluster.forwarders.change(|rules| rules.part(groups));
    Ok(format!("nothing passes between {text}"))
}

fn heal(cluster: &Cluster) -> (String, Vec<FaultRow>) {
    let ended = cluster.forwarders.change(super::rules::Rules::heal);
    let done = match ended.len() {
        0 => "there was no partition and no delay".to_owned(),
        1 => "everything passes again".to_owned(),
        several => format!("everything passes again: {several} faults have ended"),
    };
    (done, ended)
}

/// Whether the node is in one of these states.
fn demand(cluster: &Cluster, node: SimNode, states: &[State], hint: &str) -> Result<(), CliError> {
    let state = cluster.state(node)?;
    if states.contains(&state) {
        return Ok(());
    }
    Err(CliError::new("conflict", format!("{node} is {}", state.name())).hint(hint))
}
