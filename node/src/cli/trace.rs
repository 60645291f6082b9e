//! `weft trace`: one conversation as every concerned node recorded it.

use weft_protocol::TraceId;
use weft_protocol::control::{PrunedHop, TraceHop, TraceReport};

use super::client::Client;
use super::output::{Output, bad, dim, doubtful, good, micros, plural, table};
use super::{At, CliError};

/// `weft trace`.
pub(crate) async fn trace(id: &str, at: &At) -> Result<(), CliError> {
    let id: TraceId = id.parse()?;
    let report: TraceReport = Client::of(at)?.get(&format!("/v1/trace/{id}")).await?;
    Output::new(at.json).report(&report, text)
}

pub(crate) fn text(report: &TraceReport) -> String {
    let header = ["node", "what", "record", "after", "target", "rule", ""];
    let steps = table(header, report.hops.iter().map(row).chain(report.pruned.iter().map(pruned_row)).collect(), "");
    format!("{steps}\n{}\n", verdict(report))
}

fn row(hop: &TraceHop) -> [String; 7] {
    let parts = hop.parts.map_or_else(String::new, |count| format!(", {}", plural(u64::from(count), "part")));
    let doubts = match (hop.proven, hop.sealed) {
        (true, true) if hop.witnesses > 0 => dim(&plural(hop.witnesses, "witness")),
        (true, true) => String::new(),
        (true, false) => dim("not sealed yet"),
        (false, _) => doubtful("not proven here yet"),
    };
    [
        hop.name.clone(),
        hop.kind.clone(),
        format!("{}#{}", hop.name, hop.seq),
        micros(hop.offset_us),
        hop.target.clone(),
        format!("{}{parts}", hop.rule),
        doubts,
    ]
}

fn pruned_row(hop: &PrunedHop) -> [String; 7] {
    let record = format!("{}#{}", hop.name, hop.seq);
    let [after, target, rule] = [(); 3].map(|()| String::new());
    [hop.name.clone(), dim("pruned"), record, after, target, rule, dim(&format!("leaf {}", hop.leaf))]
}

fn verdict(report: &TraceReport) -> String {
    let agree = match (report.agree, report.disagreements.is_empty()) {
        (true, _) if report.hops.iter().all(|hop| hop.kind == "refused") => doubtful("it was not sent"),
        (true, _) => good("both sides agree"),
        (false, true) if !report.pruned.is_empty() => doubtful("pruned"),
        (false, true) => doubtful("one side alone"),
        (false, false) => bad("not agreed"),
    };
    let sealed = if report.sealed { good("sealed") } else { doubtful("not sealed yet") };
    let mut lines = vec![format!("{agree}, {sealed}")];
    let sentences = report.disagreements.iter().chain(&report.unheard);
    lines.extend(sentences.map(|sentence| format!("  {sentence}")));
    lines.join("\n")
}
