//! `weft chain evidence` and `check-evidence`: what is proven against nodes that wrote two histories, or broke their ticks.

use weft_protocol::control::{EvidenceCheckReport, EvidenceFile, EvidenceReport, EvidenceRow};
use weft_protocol::limits::EVIDENCE_BYTES_MAX;
use weft_protocol::{Evidence, PublicKeys, decode};
use weft_replication::check_evidence;

use super::args::{CheckEvidenceArgs, EvidenceArgs};
use super::client::Client;
use super::offline::{read, require_node};
use super::output::{Output, bad, card, count, short, table};
use super::{At, CliError};

/// What a file of evidence says it is.
pub(crate) const EVIDENCE_FORMAT: &str = "weft-fork-evidence-1";
/// Most bytes of a node's two public keys, encoded.
const KEYS_BYTES_MAX: usize = 4 * 1024;

/// `weft chain evidence`.
pub(crate) async fn evidence(args: &EvidenceArgs, at: &At) -> Result<(), CliError> {
    let report: EvidenceReport = Client::of(at)?.get("/v1/chain/evidence").await?;
    let Some(wanted) = &args.member else {
        return Output::new(at.json).report(&report, |report| {
            let header = ["node", "id", "incarnation", "commit", "what", "counts", "bytes"];
            table(
                header,
                report.evidence.iter().map(row).collect(),
                "nobody has written two histories, as far as is known",
            )
        });
    };
    let found = report.evidence.iter().find(|row| row.name == *wanted || row.node == *wanted);
    let found = found.ok_or_else(|| {
        CliError::new("not-found", format!("nothing is held against {wanted}")).hint("weft chain evidence")
    })?;
    Output::new(at.json).object(&found.file)
}

fn row(row: &EvidenceRow) -> [String; 7] {
    [
        row.name.clone(),
        short(&row.node),
        row.incarnation.clone(),
        row.commit_no.to_string(),
        row.kind.clone(),
        row.shared_commits.map_or_else(|| "not known yet".to_owned(), |commits| format!("{commits} commits")),
        count(row.bytes),
    ]
}

/// `weft chain check-evidence`.
pub(crate) fn check(args: &CheckEvidenceArgs, json: bool) -> Result<(), CliError> {
    let wrong = |problem: String| CliError::new("bad-evidence", format!("{}: {problem}", args.file.display()));
    let file: EvidenceFile = serde_json::from_slice(&read(&args.file)?).map_err(|error| wrong(error.to_string()))?;
    if file.format != EVIDENCE_FORMAT {
        return Err(wrong(format!("its format is {}, not {EVIDENCE_FORMAT}", file.format)));
    }
    let bytes = |text: &str, what: &str| {
        let bytes = data_encoding::BASE64.decode(text.as_bytes());
        bytes.map_err(|error| wrong(format!("its {what} is no base64: {error}")))
    };
    let (evidence, keys) = (bytes(&file.evidence, "evidence")?, bytes(&file.keys, "keys")?);
    let size = evidence.len() as u64;
    let unreadable = |error: weft_protocol::DecodeError| wrong(format!("it cannot be read: {error}"));
    let evidence: Evidence = decode(&evidence, EVIDENCE_BYTES_MAX).map_err(unreadable)?;
    let keys: PublicKeys = decode(&keys, KEYS_BYTES_MAX).map_err(unreadable)?;
    let verdict = check_evidence(&evidence, &keys).map_err(|error| wrong(format!("it proves nothing: {error}")))?;

    let node = verdict.chain.node;
    if let Some(expected) = args.node.filter(|expected| *expected != node) {
        return Err(wrong(format!("it is evidence against {node}, not against {expected}")));
    }
    let report = EvidenceCheckReport {
        ok: args.node.is_some() || args.any_node,
        node: node.to_string(),
        incarnation: verdict.chain.incarnation.to_string(),
        commit_no: verdict.commit_no,
        kind: verdict.kind.to_string(),
        shared_commits: verdict.shared_commits(),
        first: evidence.first.hash().to_string(),
        second: evidence.second.hash().to_string(),
        bytes: size,
    };
    Output::new(json).report(&report, |report| {
        card([
            ("proven", bad("this node signed two things about one chain that no single history makes true")),
            ("chain", format!("{} / {}", report.node, report.incarnation)),
            ("where", format!("commit {}: {}", report.commit_no, report.kind)),
            ("one", report.first.clone()),
            ("other", report.second.clone()),
        ])
    })?;
    require_node(report.ok, node, json)
}
