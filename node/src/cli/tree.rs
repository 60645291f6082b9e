//! `weft tree …`: the resources of the cluster, their scores, and proofs of them.

use std::io::Write as _;
use std::path::Path;

use weft_protocol::control::{
    ResourceRow, ScoreRequest, TreeProofCheckReport, TreeProofFile, TreeReport, TreeRootReport,
};
use weft_protocol::{Millionths, TreeClaim, TreeStatement, decode, limits::TREE_PROOF_BYTES_MAX};

use super::args::{TreeCheckProofArgs, TreeCommand, TreeScoreArgs};
use super::client::{Client, segment};
use super::offline::read;
use super::output::{Output, card, count, good, table};
use super::{At, CliError};

/// The format of the file that `weft tree prove` writes.
pub(crate) const TREE_PROOF_FORMAT: &str = "weft-tree-proof-1";

/// `weft tree …`.
pub(crate) async fn tree(command: &TreeCommand, before: &At) -> Result<(), CliError> {
    match command {
        TreeCommand::Ls { path, at } => list(path, &at.or(before)).await,
        TreeCommand::Get { path, at } => {
            let at = at.or(before);
            let row: ResourceRow = Client::of(&at)?.get(&format!("/v1/tree/resource?path={}", segment(path))).await?;
            Output::new(at.json).report(&row, resource)
        }
        TreeCommand::Root(only) => root(&only.at.or(before)).await,
        TreeCommand::Prove { path, output, at } => prove(path, output, &at.or(before)).await,
        TreeCommand::CheckProof(args) => check_proof(args, args.json || before.json),
        TreeCommand::Score(args) => score(args, &args.at.or(before)).await,
    }
}

async fn list(path: &str, at: &At) -> Result<(), CliError> {
    let client = Client::of(at)?;
    let mut report: TreeReport = client.get(&format!("/v1/tree?path={}", segment(path))).await?;
    while let Some(after) = report.next.take() {
        let path = format!("/v1/tree?path={}&after={}", segment(path), segment(&after));
        let page: TreeReport = client.get(&path).await?;
        report.resources.extend(page.resources);
        report.next = page.next;
    }
    Output::new(at.json).report(&report, |report| {
        let row = |row: &ResourceRow| {
            let below = if row.children == 0 { String::new() } else { count(row.children) };
            let state = row.metadata.get("state").cloned().unwrap_or_default();
            [row.name.clone(), row.kind.clone(), state, number(row.scoring.reliability), below]
        };
        let header = ["name", "kind", "state", "reliability", "below it"];
        table(header, report.resources.iter().map(row).collect(), "nothing stands below it")
    })
}

fn number(score: f64) -> String {
    format!("{score:.3}")
}

fn resource(row: &ResourceRow) -> String {
    let scoring = &row.scoring;
    let scores = [
        ("trust", scoring.trust),
        ("performance", scoring.performance),
        ("difficulty", scoring.difficulty),
        ("reward", scoring.reward),
        ("reliability", scoring.reliability),
        ("velocity", scoring.velocity),
    ];
    let said = row.metadata.iter().map(|(key, value)| (key.as_str(), value.clone()));
    let first = [("path", row.path.clone()), ("kind", row.kind.clone()), ("below it", count(row.children))];
    let rows = first.into_iter().chain(said).chain(scores.map(|(name, score)| (name, number(score))));
    card(rows)
}

async fn root(at: &At) -> Result<(), CliError> {
    let report: TreeRootReport = Client::of(at)?.get("/v1/tree/root").await?;
    Output::new(at.json).report(&report, |report| {
        let stable = report.stable.as_ref().map_or_else(
            || "not known yet: nobody can say what is stable".to_owned(),
            |stable| format!("{} up to {}", stable.root, stable.hlc),
        );
        let left_out =
            if report.left_out == 0 { String::new() } else { format!(", {} left out", count(report.left_out)) };
        card([
            ("root", format!("{} (provisional)", report.root)),
            ("stable root", stable),
            ("vector root", report.vector_root.clone()),
            ("resources", format!("{}{left_out}", count(report.resources))),
        ])
    })
}

async fn prove(path: &str, file: &Path, at: &At) -> Result<(), CliError> {
    let proof: TreeProofFile = Client::of(at)?.get(&format!("/v1/tree/proof?path={}", segment(path))).await?;
    let text = serde_json::to_string(&proof).map_err(|error| CliError::new("failed", error.to_string()))?;
    if file == Path::new("-") {
        return Output::new(true).text(&text);
    }
    let failed = |error: std::io::Error| {
        let code = if error.kind() == std::io::ErrorKind::AlreadyExists { "conflict" } else { "failed" };
        CliError::new(code, format!("{}: {error}", file.display())).hint("name a new file, or - for stdout")
    };
    let mut out = std::fs::File::create_new(file).map_err(failed)?;
    out.write_all(text.as_bytes()).and_then(|()| out.sync_all()).map_err(failed)?;
    Output::new(at.json).report(&proof, |proof| {
        let there = if proof.present { "is there" } else { "is not there" };
        format!("{}: {} {there}, under root {}", file.display(), proof.path, proof.root)
    })
}

/// `weft tree check-proof`.
fn check_proof(args: &TreeCheckProofArgs, json: bool) -> Result<(), CliError> {
    let bad = |problem: String| CliError::new("bad-proof", format!("{}: {problem}", args.file.display()));
    let file: TreeProofFile = serde_json::from_slice(&read(&args.file)?).map_err(|error| bad(error.to_string()))?;
    if file.format != TREE_PROOF_FORMAT {
        return Err(bad(format!("its format is {}, not {TREE_PROOF_FORMAT}", file.format)));
    }
    let bytes = data_encoding::BASE64.decode(file.proof.as_bytes());
    let bytes = bytes.map_err(|error| bad(format!("its proof is no base64: {error}")))?;
    let statement = decode::<TreeStatement>(&bytes, TREE_PROOF_BYTES_MAX);
    let statement = statement.map_err(|error| bad(format!("its proof cannot be read: {error}")))?;
    let (proof, root) = (&statement.proof, args.root.unwrap_or(statement.root));
    proof.check(&root).map_err(|error| bad(error.to_string()))?;
    let (present, resource) = match &proof.claim {
        TreeClaim::Present { resource, .. } => (true, Some(ResourceRow::new(resource, resource.path.to_string(), 0))),
        TreeClaim::Absent { .. } => (false, None),
    };
    let report = TreeProofCheckReport {
        ok: args.root.is_some(),
        path: proof.path().to_string(),
        present,
        cluster: statement.cluster.to_string(),
        vector_root: statement.vector_root.to_string(),
        root: root.to_string(),
        resource,
    };
    Output::new(json).report(&report, |report| {
        let there = if report.present { "is there" } else { "is not there" };
        let said = report.resource.iter().flat_map(|row| row.metadata.iter());
        let said = said.map(|(key, value)| (key.as_str(), value.clone()));
        let first = [
            ("resource", format!("{} {there}", report.path)),
            ("root", report.root.clone()),
            ("cluster", report.cluster.clone()),
            ("vector root", report.vector_root.clone()),
        ];
        card(first.into_iter().chain(said).chain([("proof", good("holds under this root"))]))
    })?;
    if report.ok {
        return Ok(());
    }
    let message = "anybody can make a tree of their own: say which root it must be";
    let hint = format!("--root {} if a node that you trust shows it: weft tree root", report.root);
    Err(CliError::new("failed", message).hint(hint).reported(json))
}

async fn score(args: &TreeScoreArgs, at: &At) -> Result<(), CliError> {
    let part = |part: Option<Millionths>| part.map(|part| f64::from(part.get()) / f64::from(Millionths::ONE.get()));
    let request = ScoreRequest {
        path: args.path.clone(),
        trust: part(args.trust),
        performance: part(args.performance),
        difficulty: part(args.difficulty),
        reward: part(args.reward),
        reliability: part(args.reliability),
        velocity: part(args.velocity),
        weight: part(args.weight),
    };
    let row: ResourceRow = Client::of(at)?.post("/v1/tree/score", &request).await?;
    Output::new(at.json).report(&row, resource)
}
