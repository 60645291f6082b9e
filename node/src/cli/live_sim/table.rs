//! What a live simulation shows: one table that is kept up to date on a terminal, else a line for each change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

use serde::Serialize;

use super::cluster::{NodeRow, State};
use super::converged::{Views, alive};
use super::fault::FaultRow;
use super::name::SimNode;
use crate::cli::CliError;
use crate::cli::output::{Output, bad, count, dim, doubtful, good, table};

/// What is missing is shown up to so many lines; the rest is counted.
const MISSING_SHOWN: usize = 3;

/// All that is shown of one moment.
#[derive(Debug)]
pub(crate) struct Moment<'a> {
    pub(crate) nodes: &'a [NodeRow],
    pub(crate) views: &'a Views,
    pub(crate) missing: &'a [String],
    pub(crate) faults: &'a [FaultRow],
    /// Since the start, or since the last fault.
    pub(crate) since: Duration,
}

/// One line of what is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum News {
    Node { node: SimNode, state: State },
    Fault { fault: String, nodes: String, what: String, in_force: bool },
    Verdict { converged: bool, after_ms: u128 },
}

/// Where it is shown.
#[derive(Debug)]
pub(crate) struct Screen {
    output: Output,
    terminal: bool,
    /// Lines of the last table, which the next one replaces.
    drawn: usize,
    /// What was told last. Nodes that run, and faults that are not there, are told of when that has changed.
    states: BTreeMap<SimNode, State>,
    faults: BTreeSet<[String; 3]>,
    converged: bool,
    /// When all agreed first, and do since.
    agreed: Option<Duration>,
}

impl Screen {
    /// Nothing is shown yet.
    pub(crate) fn new(output: Output) -> Self {
        let terminal = std::io::stdout().is_terminal() && !output.json();
        Self {
            output,
            terminal,
            drawn: 0,
            states: BTreeMap::new(),
            faults: BTreeSet::new(),
            converged: false,
            agreed: None,
        }
    }

    /// Shows what is now, where it is new.
    ///
    /// # Errors
    /// A failed write.
    pub(crate) fn show(&mut self, moment: &Moment<'_>) -> Result<(), CliError> {
        // A fault begins the time anew.
        let before = self.agreed.filter(|agreed| *agreed <= moment.since);
        self.agreed = moment.missing.is_empty().then(|| before.unwrap_or(moment.since));
        let moment = &Moment { since: self.agreed.unwrap_or(moment.since), ..*moment };
        if self.terminal { self.draw(moment) } else { self.tell(moment) }
    }

    fn draw(&mut self, moment: &Moment<'_>) -> Result<(), CliError> {
        let text = whole(moment);
        // Back to the first line of the last table, and everything below it is cleared.
        let back = if self.drawn == 0 { String::new() } else { format!("\x1b[{}A\x1b[J", self.drawn) };
        self.drawn = text.lines().count();
        self.output.piece(&format!("{back}{text}"))
    }

    fn tell(&mut self, moment: &Moment<'_>) -> Result<(), CliError> {
        for news in self.news(moment) {
            self.output.report(&news, |news| match news {
                News::Node { node, state } => format!("{node}  {}", state.name()),
                News::Fault { fault, nodes, what, in_force: true } => format!("{fault}  {nodes}  {what}"),
                News::Fault { fault, nodes, in_force: false, .. } => format!("{fault}  {nodes}  has ended"),
                News::Verdict { .. } => verdict(moment),
            })?;
        }
        Ok(())
    }

    /// What is otherwise than it was told last.
    fn news(&mut self, moment: &Moment<'_>) -> Vec<News> {
        let mut news = Vec::new();
        for node in moment.nodes {
            let before = self.states.insert(node.name, node.state).unwrap_or(State::Running);
            if before != node.state {
                news.push(News::Node { node: node.name, state: node.state });
            }
        }
        // What is done to a process is told as its state.
        let others = moment.faults.iter().filter(|fault| fault.counts.is_some());
        let faults = others.map(|it| [it.fault.clone(), it.nodes.clone(), it.what.clone()]).collect();
        let before = std::mem::replace(&mut self.faults, faults);
        let begun = self.faults.difference(&before).map(|fault| (fault, true));
        let changed = begun.chain(before.difference(&self.faults).map(|fault| (fault, false)));
        news.extend(changed.map(|([fault, nodes, what], in_force)| News::Fault {
            fault: fault.clone(),
            nodes: nodes.clone(),
            what: what.clone(),
            in_force,
        }));
        let converged = moment.missing.is_empty();
        if converged != self.converged {
            self.converged = converged;
            news.push(News::Verdict { converged, after_ms: moment.since.as_millis() });
        }
        news
    }
}

fn verdict(moment: &Moment<'_>) -> String {
    if moment.missing.is_empty() {
        return format!(
            "converged within {:.1} s: all that run hold each other for alive, and the same chains",
            moment.since.as_secs_f64()
        );
    }
    let mut text = "not converged: ".to_owned();
    text.push_str(&moment.missing.iter().take(MISSING_SHOWN).map(String::as_str).collect::<Vec<_>>().join("; "));
    if let Some(more @ 1..) = moment.missing.len().checked_sub(MISSING_SHOWN) {
        let _never_fails = write!(text, "; {more} more");
    }
    text
}

/// The whole table, for a terminal.
fn whole(moment: &Moment<'_>) -> String {
    let rows = moment.nodes.iter().map(|node| {
        let view = moment.views.get(&node.name).and_then(Option::as_ref);
        let state = match node.state {
            State::Running => good(node.state.name()),
            State::Paused => doubtful(node.state.name()),
            State::Killed | State::Ended => bad(node.state.name()),
        };
        let own = view.and_then(|view| view.members.iter().find(|member| member.name == node.name.to_string()));
        [
            node.name.to_string(),
            state,
            node.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
            view.map_or_else(|| "-".to_owned(), |view| format!("{} of {}", alive(view), view.members.len())),
            own.map_or_else(|| "-".to_owned(), |own| count(own.chain.events)),
            own.map_or_else(|| "-".to_owned(), |own| own.agents.join(",")),
            node.address.clone(),
        ]
    });
    let header = ["node", "state", "pid", "alive", "events", "agents", "address"];
    let mut text = table(header, rows.collect(), "no nodes");
    text.push_str("\n\n");
    for fault in moment.faults {
        text.push_str(&format!("  {}\n", doubtful(&line(fault))));
    }
    let verdict = verdict(moment);
    let verdict = if moment.missing.is_empty() { good(&verdict) } else { doubtful(&verdict) };
    let next =
        dim("weft call echo@n2 hi --node n1   weft sim fault partition n1 / n2   Ctrl-C ends and removes everything");
    text.push_str(&format!("  {verdict}\n  {next}\n"));
    text
}

/// One fault in one line.
pub(crate) fn line(fault: &FaultRow) -> String {
    let counts = fault.counts.map_or_else(String::new, |counts| {
        format!("  dropped {}, held {}, delayed {}", count(counts.dropped), count(counts.held), count(counts.delayed))
    });
    format!("{}  {}  {}{counts}", fault.fault, fault.nodes, fault.what)
}

#[cfg(test)]
mod tests {
    use super::super::fault::Counts;
    use super::*;

    fn node(name: &str, state: State) -> NodeRow {
        let name = name.parse().expect("a node");
        NodeRow { name, state, pid: None, home: String::new(), address: String::new(), clock_offset_ms: 0 }
    }

    #[test]
    fn what_has_changed_is_told_and_told_once() {
        let (views, since) = (Views::new(), Duration::from_secs(2));
        let mut screen = Screen::new(Output::new(true));
        let mut told = |nodes: &[NodeRow], missing: &[String], faults: &[FaultRow]| {
            let news = screen.news(&Moment { nodes, views: &views, missing, faults, since });
            news.iter().map(|news| serde_json::to_string(news).expect("JSON")).collect::<Vec<_>>()
        };
        let (both, lacks) = ([node("n1", State::Running), node("n2", State::Running)], ["n1 lacks n2".to_owned()]);
        assert_eq!(told(&both, &lacks, &[]), Vec::<String>::new(), "nodes that run while they do not agree yet");
        assert_eq!(told(&both, &[], &[]), [r#"{"converged":true,"after_ms":2000}"#]);
        let fault = |dropped| FaultRow {
            fault: "partition".to_owned(),
            nodes: "n1 / n2".to_owned(),
            what: "nothing passes".to_owned(),
            counts: Some(Counts { dropped, held: 0, delayed: 0 }),
        };
        let begun = r#"{"fault":"partition","nodes":"n1 / n2","what":"nothing passes","in_force":true}"#;
        assert_eq!(told(&both, &[], &[fault(0)]), [begun]);
        assert_eq!(told(&both, &[], &[fault(7)]), Vec::<String>::new(), "that it strikes again is no change");
        let killed = [node("n1", State::Running), node("n2", State::Killed)];
        let ended = begun.replace("true", "false");
        let news = [r#"{"node":"n2","state":"killed"}"#, ended.as_str(), r#"{"converged":false,"after_ms":2000}"#];
        assert_eq!(told(&killed, &lacks, &[]), news);
    }
}
