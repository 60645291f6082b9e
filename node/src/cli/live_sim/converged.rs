//! Whether all nodes that run agree: each holds each other for alive, and all hold the same chains. Asked at their ordinary doors.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;
use weft_protocol::control::{MemberRow, MembersReport};

use super::cluster::{NodeRow, State};
use super::name::SimNode;
use crate::cli::client::Client;
use crate::home::HomeDir;

/// How long a node may take to answer before it counts as one that does not (guess: one on a busy processor).
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// What each running node says of the members; none of one that did not answer.
pub(crate) type Views = BTreeMap<SimNode, Option<MembersReport>>;

/// Asks all nodes whose processes run.
pub(crate) async fn ask(nodes: &[NodeRow]) -> Views {
    let running = nodes.iter().filter(|node| node.state == State::Running);
    let asked = running.map(|node| async {
        let home = PathBuf::from(&node.home);
        let report = timeout(ANSWER_MAX, members(home)).await.ok().flatten();
        (node.name, report)
    });
    futures::future::join_all(asked).await.into_iter().collect()
}

async fn members(home: PathBuf) -> Option<MembersReport> {
    Client::at(HomeDir::new(&home).ok()?).ok()?.get("/v1/members").await.ok()
}

/// How many members a node holds for alive.
pub(crate) fn alive(report: &MembersReport) -> usize {
    report.members.iter().filter(|member| member.state == "alive").count()
}

/// What is missing until all agree, one line each; nothing when they do.
pub(crate) fn missing(views: &Views) -> Vec<String> {
    let mut lines = Vec::new();
    let mut first: BTreeMap<&str, (SimNode, &MemberRow)> = BTreeMap::new();
    for (name, view) in views {
        let Some(view) = view else {
            lines.push(format!("{name} does not answer"));
            continue;
        };
        for other in views.keys() {
            match view.members.iter().find(|member| member.name == other.to_string()) {
                Some(member) if member.state == "alive" => {}
                Some(member) => lines.push(format!("{name} holds {other} for {}", member.state)),
                None => lines.push(format!("{name} does not know {other}")),
            }
        }
        for member in &view.members {
            let (before, same) = *first.entry(&member.node).or_insert((*name, member));
            if same.chain != member.chain {
                let (one, other) = (same.chain.events, member.chain.events);
                let what = if one == other { "other events of" } else { "not as much of" };
                lines.push(format!("{name} holds {what} {}: {other} events, {before} {one}", member.name));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Members as name, state, events and root.
    fn view(members: &[(&str, &str, u64, &str)]) -> Option<MembersReport> {
        let row = |(name, state, events, root): &(&str, &str, u64, &str)| {
            json!({"name": name, "node": format!("id of {name}"), "state": state, "role": "worker", "path": "direct",
                "agents": [], "chain": {"events": events, "root": root}})
        };
        let members: Vec<_> = members.iter().map(row).collect();
        serde_json::from_value(json!({ "members": members })).expect("a report")
    }

    fn views(views: [Option<MembersReport>; 2]) -> Views {
        let names = ["n1", "n2"].map(|name| name.parse().expect("a node"));
        names.into_iter().zip(views).collect()
    }

    #[test]
    fn all_agree_or_it_is_said_who_lacks_what() {
        let whole = view(&[("n1", "alive", 7, "a"), ("n2", "alive", 3, "b"), ("n3", "dead", 2, "c")]);
        assert_eq!(missing(&views([whole.clone(), whole.clone()])), Vec::<String>::new());
        let cases = [
            (None, vec!["n2 does not answer"]),
            (view(&[("n1", "alive", 7, "a")]), vec!["n2 does not know n2"]),
            (
                view(&[("n1", "suspect", 7, "a"), ("n2", "alive", 3, "b"), ("n3", "dead", 2, "c")]),
                vec!["n2 holds n1 for suspect"],
            ),
            (
                view(&[("n1", "alive", 5, "z"), ("n2", "alive", 3, "y"), ("n3", "dead", 2, "c")]),
                vec!["n2 holds not as much of n1: 5 events, n1 7", "n2 holds other events of n2: 3 events, n1 3"],
            ),
        ];
        for (other, lines) in cases {
            assert_eq!(missing(&views([whole.clone(), other])), lines);
        }
        let running = whole.as_ref().map_or(0, alive);
        assert_eq!(running, 2, "n3 is dead to all: it does not run, and nobody waits for it");
    }
}
