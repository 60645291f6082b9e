//! What needs no node: verifying an export or a stopped home, and checking a proof.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use weft_protocol::control::{ProofCheckReport, ProofFile};
use weft_protocol::{EventProof, Fact, NodeId, Recovered, decode, verify_event_proof};
use weft_replication::StateOfChain;
use weft_storage::{ExportError, OpenError, Store};

use super::CliError;
use super::args::CheckProofArgs;
use super::chain::print_verified;
use super::output::{Output, card, good};
use crate::control::verify_report;
use crate::home::{Home, HomeDir};

/// Most bytes of a proof file: an event of 64 KiB, a path of 64 hashes, a checkpoint and keys of about 16 KiB, in base64.
const PROOF_FILE_BYTES_MAX: u64 = 256 * 1024;
/// What a proof file says it is.
pub(crate) const PROOF_FORMAT: &str = "weft-event-proof-1";

/// `weft chain verify --offline PATH`.
pub(crate) fn verify(path: &Path, json: bool) -> Result<(), CliError> {
    let home = HomeDir::new(path)?;
    let (report, names) = if home.store().exists() {
        let running = |error| CliError::from(error).hint("weft chain verify, without --offline, while it runs");
        Home::probe(&home).map_err(running)?;
        let (store, recovered) = Store::open(&home.store())?;
        (
            store.verify_all(StateOfChain::begin).map_err(|error| CliError::new("damaged", error.to_string()))?,
            names(&recovered),
        )
    } else if path.is_dir() {
        let report = weft_storage::verify_export(path, StateOfChain::begin)?;
        if report.chains.is_empty() {
            return Err(CliError::new("not-found", format!("{} holds no exported chain", path.display())));
        }
        (report, BTreeMap::new())
    } else {
        let message = format!("{} is neither an export nor the home of a node", path.display());
        return Err(CliError::new("not-found", message));
    };
    print_verified(&verify_report(&report, |node| names.get(&node).cloned()), Output::new(json))
}

/// The names by which nodes started, from their chains.
fn names(recovered: &Recovered) -> BTreeMap<NodeId, String> {
    let boots = recovered.chains.iter().flat_map(|chain| {
        chain.facts.iter().filter_map(|placed| match &placed.fact {
            Fact::Boot(boot) => Some((chain.state.chain().node, boot.name.to_string())),
            _ => None,
        })
    });
    boots.collect()
}

/// `weft chain check-proof`.
pub(crate) fn check_proof(args: &CheckProofArgs, json: bool) -> Result<(), CliError> {
    let bad = |problem: String| CliError::new("bad-proof", format!("{}: {problem}", args.file.display()));
    let file: ProofFile = serde_json::from_slice(&read(&args.file)?).map_err(|error| bad(error.to_string()))?;
    if file.format != PROOF_FORMAT {
        return Err(bad(format!("its format is {}, not {PROOF_FORMAT}", file.format)));
    }
    let bytes = data_encoding::BASE64.decode(file.proof.as_bytes());
    let bytes = bytes.map_err(|error| bad(format!("its proof is no base64: {error}")))?;
    let proof = decode(&bytes, bytes.len()).map_err(|error| bad(format!("its proof cannot be read: {error}")));
    let proof: EventProof = proof?;
    let (event, commit) =
        verify_event_proof(&proof).map_err(|error| bad(format!("the proof does not verify: {error}")))?;

    let node = commit.chain.node;
    if let Some(expected) = args.node.filter(|expected| *expected != node) {
        return Err(bad(format!("it proves an event of {node}, not of {expected}")));
    }
    if let Some(expected) = args.cluster.filter(|expected| *expected != commit.cluster) {
        return Err(bad(format!("it proves an event in cluster {}, not in {expected}", commit.cluster)));
    }
    let report = ProofCheckReport {
        ok: args.node.is_some() || args.any_node,
        node: node.to_string(),
        cluster: commit.cluster.to_string(),
        incarnation: commit.chain.incarnation.to_string(),
        seq: event.seq,
        hlc: event.hlc.to_string(),
        kind: event.kind,
        source: event.source,
        commit_no: commit.commit_no,
        tree_size: commit.tree_size,
    };
    Output::new(json).report(&report, |report| {
        card([
            ("event", format!("{}  {}  by {}", report.seq, report.kind, report.source)),
            ("chain", format!("{} / {}", report.node, report.incarnation)),
            ("cluster", report.cluster.clone()),
            ("checkpoint", format!("commit {} over {} events", report.commit_no, report.tree_size)),
            ("signatures", good("ed25519 and ml-dsa-65 verify")),
        ])
    })?;
    require_node(report.ok, node, json)
}

/// Whoever checks a file must know from elsewhere whose it is to be.
pub(super) fn require_node(known: bool, node: NodeId, json: bool) -> Result<(), CliError> {
    if known {
        return Ok(());
    }
    let message = "anybody can make a proof of a chain of their own: say whose chain it must be";
    let hint = format!("--node {node} if that is the one you know, or --any-node");
    Err(CliError::new("failed", message).hint(hint).reported(json))
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let failed = |error: std::io::Error| {
        let code = if error.kind() == std::io::ErrorKind::NotFound { "not-found" } else { "failed" };
        CliError::new(code, format!("{}: {error}", path.display()))
    };
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(PROOF_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        File::open(path).map_err(failed)?.take(PROOF_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    }
    if bytes.len() as u64 > PROOF_FILE_BYTES_MAX {
        let message = format!("{}: more than {PROOF_FILE_BYTES_MAX} bytes, which is the most", path.display());
        return Err(CliError::new("too-large", message));
    }
    Ok(bytes)
}

impl From<OpenError> for CliError {
    fn from(error: OpenError) -> Self {
        let (code, hint) = match &error {
            OpenError::Absent { .. } => ("not-found", ""),
            OpenError::Busy => ("locked", "weft down"),
            OpenError::NotAStore | OpenError::Version { .. } => ("invalid", ""),
            OpenError::Damaged { .. } => {
                ("damaged", "start the node while another member is up: it fetches what is missing")
            }
            OpenError::Io(_) => ("failed", ""),
        };
        Self::new(code, error.to_string()).hint(hint)
    }
}

impl From<ExportError> for CliError {
    fn from(error: ExportError) -> Self {
        let code = match &error {
            ExportError::Io { error, .. } if error.kind() == std::io::ErrorKind::NotFound => "not-found",
            ExportError::Io { error, .. }
                if matches!(error.kind(), std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::NotADirectory) =>
            {
                "conflict"
            }
            ExportError::NotEmpty { .. } => "conflict",
            ExportError::Io { .. } | ExportError::Store(_) => "failed",
        };
        Self::new(code, error.to_string())
    }
}
