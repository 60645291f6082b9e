//! `weft up`: start a node and keep it running.

use weft_protocol::control::UpReport;

use super::args::UpArgs;
use super::output::{Output, dim, plural, short};
use super::start::{Place, Running, detach, foreground};
use super::status::listening;
use super::{At, CliError};
use crate::home::Home;

/// `weft up`.
pub(crate) async fn up(args: &UpArgs, at: &At) -> Result<(), CliError> {
    let place = Place::choose(args.name.as_ref(), &args.run, at)?;
    let output = Output::new(at.json);
    let is_new = place.home.cluster()?.is_none();
    if is_new && let Some(cluster) = place.home.joining() {
        let message =
            format!("a join to cluster {cluster} has begun in {} and is not complete", place.home.path().display());
        return Err(CliError::new("joining", message).hint("weft join TOKEN again, or another node: --name other"));
    }
    if args.run.detach {
        let status = detach(&place, &args.run, output).await?;
        return print(&status.up(), is_new, output);
    }
    let home = Home::open(place.home)?;
    let running = Running { config: place.config, flags: place.flags, boot: place.boot };
    foreground(home, running, args.run.background, move |report| {
        // A reader that is gone does not end the node.
        let _reader_is_gone = print(report, is_new, output);
    })
    .await
}

/// The lines that say that the node serves.
fn print(report: &UpReport, is_new: bool, output: Output) -> Result<(), CliError> {
    output.report(report, |report| {
        let members = match (is_new, report.members) {
            (true, 1) => "(new, only you)".to_owned(),
            (false, 1) => "(only you)".to_owned(),
            (_, members) => format!("({})", plural(members, "member")),
        };
        let lines = [
            ("identity", identity(report)),
            ("listening", listening(&report.listen)),
            ("cluster", format!("{} {members}", report.cluster.name)),
            ("next", format!("weft invite        {}", dim("then on the other machine: weft join TOKEN"))),
        ];
        lines.map(|(name, value)| format!("  {name:<10} {value}\n")).concat()
    })
}

fn identity(report: &UpReport) -> String {
    format!("{}  {}  {}", report.name, short(&report.node), dim("(ed25519 + ml-dsa-65)"))
}
