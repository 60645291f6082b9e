//! `weft chain checkpoint`, `check-anchor`, `stamp`, `stamps` and `check-stamp`: what others can hold against this node's chain.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use data_encoding::HEXLOWER_PERMISSIVE;
use weft_protocol::control::{
    AnchorCheckReport, AnchorRow, AnchorsReport, CheckpointFile, CheckpointReport, StampCheckReport, StampRequest,
    StampRow, StampsReport,
};
use weft_replication::StateOfChain;

use super::args::{CheckAnchorArgs, CheckStampArgs};
use super::client::{Client, segment};
use super::offline::{read, require_node};
use super::output::{Output, bad, card, count, dim, doubtful, good, plural, short, table};
use super::{At, CliError};
use crate::anchor::checkpoint::{Checkpoint, Comparison, KeptError, Written, held, write};
use crate::anchor::proof::{PROOF_BYTES_MAX, Proof};
use crate::anchor::{Block, blocks_of};

/// Bytes of a block header of Bitcoin.
const HEADER_BYTES: usize = 80;

/// `weft chain checkpoint`.
pub(crate) async fn checkpoint(path: Option<&Path>, at: &At) -> Result<(), CliError> {
    let client = Client::of(at)?;
    let Some(path) = path else {
        let file: CheckpointFile = client.get("/v1/chain/checkpoint").await?;
        return Output::new(at.json).object(&file);
    };
    // A file that is there must be one that this chain continues: the node says so before it gives the next.
    let before = match std::fs::read(path) {
        Ok(bytes) => Checkpoint::read(&bytes).ok(),
        Err(_missing) => None,
    };
    let query = before.as_ref().map_or_else(String::new, |before| {
        format!("?commit_no={}&commit={}", before.head.commit_no, segment(&before.head.commit_hash.to_string()))
    });
    let bytes = client.bytes(&format!("/v1/chain/checkpoint{query}")).await;
    let bytes = match (bytes, &before) {
        // Another chain, or a later commit: the file itself says what is wrong.
        (Err(_), Some(before)) => {
            let now = Checkpoint::read(&client.bytes("/v1/chain/checkpoint").await?).map_err(broken)?;
            held(path, &now.head)?;
            let message = format!("{} holds a checkpoint that this chain contradicts", path.display());
            return Err(CliError::new("contradicted", message).hint(format!(
                "keep it: weft chain check-anchor {} --against EXPORT shows that commit {} was rewritten",
                path.display(),
                before.head.commit_no
            )));
        }
        (bytes, _) => bytes?,
    };
    let checkpoint = Checkpoint::read(&bytes).map_err(broken)?;
    let written = write(path, &checkpoint, |_| before.is_some())?;
    let report = CheckpointReport {
        path: path.display().to_string(),
        commit_no: checkpoint.head.commit_no,
        events: checkpoint.head.size,
        sha256: data_encoding::HEXLOWER.encode(&checkpoint.sha256()),
        written: written == Written::New,
    };
    Output::new(at.json).report(&report, |report| {
        let state = if report.written { "" } else { ", as it was" };
        format!("{}: commit {} over {}{state}", report.path, report.commit_no, plural(report.events, "event"))
    })
}

fn broken(problem: String) -> CliError {
    CliError::new("failed", format!("the node sent no checkpoint: {problem}"))
}

impl From<KeptError> for CliError {
    fn from(error: KeptError) -> Self {
        let code = match &error {
            KeptError::Io(_) => "failed",
            KeptError::Contradicted { .. } => "contradicted",
            KeptError::Other { .. } | KeptError::OtherChain { .. } | KeptError::Later { .. } => "conflict",
        };
        Self::new(code, error.to_string()).hint("--output another file")
    }
}

/// `weft chain check-anchor`.
pub(crate) fn check_anchor(args: &CheckAnchorArgs, json: bool) -> Result<(), CliError> {
    let checkpoint = read_checkpoint(&args.file)?;
    let node = checkpoint.head.chain.node;
    if let Some(expected) = args.node.filter(|expected| *expected != node) {
        let message = format!("{}: it is a checkpoint of {node}, not of {expected}", args.file.display());
        return Err(CliError::new("bad-checkpoint", message));
    }
    let chain = args.against.as_deref().map(|folder| against(folder, &checkpoint)).transpose()?;
    let (word, events, path) = match &chain {
        None => (None, None, Vec::new()),
        Some((Comparison::Extends(path), events)) => (Some("extends"), Some(*events), path.clone()),
        Some((Comparison::Shorter, events)) => (Some("shorter"), Some(*events), Vec::new()),
        Some((Comparison::Contradicts, events)) => (Some("contradicts"), Some(*events), Vec::new()),
    };
    let known = args.node.is_some() || args.any_node;
    let report = AnchorCheckReport {
        ok: known && matches!(chain, None | Some((Comparison::Extends(_), _))),
        node: node.to_string(),
        cluster: checkpoint.commit.cluster.to_string(),
        incarnation: checkpoint.head.chain.incarnation.to_string(),
        commit_no: checkpoint.head.commit_no,
        events: checkpoint.head.size,
        root: checkpoint.head.root.to_string(),
        chain: word.map(str::to_owned),
        chain_events: events,
        consistency: path.iter().map(ToString::to_string).collect(),
    };
    Output::new(json).report(&report, |report| {
        let held = match (report.chain.as_deref(), report.chain_events) {
            (Some("extends"), Some(events)) => {
                let steps = plural(report.consistency.len() as u64, "step");
                good(&format!("extends it, to {} events, as a proof of {steps} shows", count(events)))
            }
            (Some("shorter"), Some(events)) => doubtful(&format!("ends before it, at {} events", count(events))),
            (Some(_), _) => bad("contradicts it"),
            (None, _) => "not held against any chain".to_owned(),
        };
        card([
            ("chain", format!("{} / {}", report.node, report.incarnation)),
            ("cluster", report.cluster.clone()),
            ("checkpoint", format!("commit {} over {} events", report.commit_no, count(report.events))),
            ("signatures", good("ed25519 and ml-dsa-65 verify, with the keys of the first event")),
            ("export", held),
        ])
    })?;
    match chain {
        Some((Comparison::Contradicts, _)) => {
            let message =
                "the exported chain contradicts the checkpoint: its writer signed two histories, or it was rewritten";
            Err(CliError::new("contradicted", message).hint("keep both files").reported(json))
        }
        Some((Comparison::Shorter, events)) => {
            let message = format!("the exported chain ends at {events} events, before the checkpoint");
            Err(CliError::new("not-reached", message)
                .hint("weft chain export, from a node that holds more")
                .reported(json))
        }
        Some((Comparison::Extends(_), _)) | None => require_node(known, node, json),
    }
}

fn read_checkpoint(path: &Path) -> Result<Checkpoint, CliError> {
    Checkpoint::read(&read(path)?)
        .map_err(|problem| CliError::new("bad-checkpoint", format!("{}: {problem}", path.display())))
}

/// What the chain in an export is to the checkpoint, and how many events it has.
fn against(folder: &Path, checkpoint: &Checkpoint) -> Result<(Comparison, u64), CliError> {
    let chain = checkpoint.head.chain;
    let exported = weft_storage::exported_chain(folder, chain, StateOfChain::begin)?.ok_or_else(|| {
        let message = format!("{} holds no chain {chain}", folder.display());
        CliError::new("not-found", message).hint("weft chain export, from a node that holds it")
    })?;
    if let Some(fault) = exported.report.fault {
        let message = format!("the exported chain is damaged: commit {}: {}", fault.first_bad_commit, fault.reason);
        return Err(CliError::new("damaged", message).hint("weft chain export once more"));
    }
    Ok((checkpoint.compare(&exported.leaves), exported.leaves.len() as u64))
}

/// `weft chain anchors`.
pub(crate) async fn anchors(at: &At) -> Result<(), CliError> {
    let report: AnchorsReport = Client::of(at)?.get("/v1/chain/anchors").await?;
    Output::new(at.json).report(&report, |report| {
        let row = |row: &AnchorRow| {
            let events = row.events.map_or_else(|| "-".to_owned(), count);
            [row.backend.clone(), events, row.place.clone(), row.state.clone()]
        };
        let rows = report.anchors.iter().map(row).collect();
        format!("of {} events:\n{}", count(report.events), table(["held by", "up to", "where", ""], rows, ""))
    })
}

/// `weft chain stamp`.
pub(crate) async fn stamp(calendars: &[String], at: &At) -> Result<(), CliError> {
    let request = StampRequest { calendars: calendars.to_vec() };
    let row: StampRow = Client::of(at)?.post("/v1/chain/stamps", &request).await?;
    let output = Output::new(at.json);
    output.report(&row, |row| row.proof.clone().unwrap_or_default())?;
    let promised = row.calendars.iter().filter(|calendar| calendar.error.is_none()).count() as u64;
    let of = plural(row.calendars.len() as u64, "calendar");
    output.remark(&dim(&format!("promised by {promised} of {of}; a block takes hours: weft chain stamps")));
    Ok(())
}

/// `weft chain stamps`.
pub(crate) async fn stamps(at: &At) -> Result<(), CliError> {
    let report: StampsReport = Client::of(at)?.get("/v1/chain/stamps").await?;
    Output::new(at.json).report(&report, |report| {
        let rows = report.stamps.iter().flat_map(stamp_rows).collect();
        table(["made", "commit", "events", "file", "where", "state"], rows, "nothing was stamped: weft chain stamp")
    })
}

fn stamp_rows(stamp: &StampRow) -> Vec<[String; 6]> {
    let row = |place: &str, state: String| {
        let (commit, events) = (stamp.commit_no.to_string(), count(stamp.events));
        [stamp.at.clone(), commit, events, short(&stamp.sha256), place.to_owned(), state]
    };
    let calendars = stamp.calendars.iter().map(|calendar| {
        let state = match (&calendar.error, calendar.state.as_str()) {
            (Some(error), _) => bad(error),
            (None, "attested") => good("attested"),
            (None, state) => doubtful(state),
        };
        row(&calendar.calendar, state)
    });
    let blocks = stamp.blocks.iter().map(|block| {
        let unverified = dim(&format!("if its merkle root is {}", block.merkle_root));
        row(&format!("Bitcoin block {}", block.height), unverified)
    });
    calendars.chain(blocks).collect()
}

/// `weft chain check-stamp`.
pub(crate) fn check_stamp(args: &CheckStampArgs, json: bool) -> Result<(), CliError> {
    let wrong = |problem: String| CliError::new("bad-stamp", format!("{}: {problem}", args.file.display()));
    let beside = args.file.with_extension("checkpoint");
    let checkpoint = read_checkpoint(args.checkpoint.as_deref().unwrap_or(&beside))?;
    let proof = Proof::decode(&read_proof(&args.file)?).map_err(|error| wrong(error.to_string()))?;
    if proof.digest != checkpoint.sha256() {
        return Err(wrong("it is a proof of another file".to_owned()));
    }
    let (blocks, pending) = blocks_of(&proof);
    let header = args.block_header.as_deref().map(header).transpose()?;
    let verified = |block: &Block| header.is_some_and(|header| header[36..68] == block.merkle_root);
    let time = header.map(|header| u32::from_le_bytes([header[68], header[69], header[70], header[71]]));
    let ok = blocks.iter().any(verified);
    let report = StampCheckReport {
        ok,
        sha256: data_encoding::HEXLOWER.encode(&proof.digest),
        commit_no: checkpoint.head.commit_no,
        events: checkpoint.head.size,
        pending,
        blocks: blocks.iter().map(|block| block.row(verified(block))).collect(),
        block_time: time
            .filter(|_| ok)
            .map(|seconds| weft_kernel::time_text(weft_protocol::Timestamp(u64::from(seconds) * 1_000_000))),
    };
    Output::new(json).report(&report, |report| {
        let mut rows = vec![
            ("stamped", format!("{} / {}", checkpoint.head.chain.node, checkpoint.head.chain.incarnation)),
            ("checkpoint", format!("commit {} over {} events", report.commit_no, count(report.events))),
        ];
        rows.extend(report.pending.iter().map(|calendar| ("promised", calendar.clone())));
        rows.extend(report.blocks.iter().map(|block| {
            let state =
                if block.verified { good("as the header says") } else { doubtful("not compared with a header") };
            ("block", format!("{}: merkle root {}, {state}", block.height, block.merkle_root))
        }));
        rows.extend(report.block_time.iter().map(|time| ("found", time.clone())));
        rows.iter().map(|(name, value)| format!("{name:<12} {value}")).collect::<Vec<_>>().join("\n")
    })?;
    match (ok, header.is_some(), report.blocks.is_empty()) {
        (true, ..) => Ok(()),
        (false, true, false) => {
            let message = "that header is not of a block that the proof leads to";
            Err(CliError::new("bad-stamp", message).hint("the header of the block at the height above").reported(json))
        }
        (false, _, true) => {
            let message = "no block holds it yet: calendars promise it";
            Err(CliError::new("not-reached", message).hint("weft chain stamps, in some hours").retry().reported(json))
        }
        (false, false, false) => {
            let message = "a block is said to hold it, and nobody has looked at that block";
            let hint = "--block-header HEX, from a node of Bitcoin that you trust: its 80 bytes";
            Err(CliError::new("failed", message).hint(hint).reported(json))
        }
    }
}

fn read_proof(path: &Path) -> Result<Vec<u8>, CliError> {
    let failed = |error: std::io::Error| {
        let code = if error.kind() == std::io::ErrorKind::NotFound { "not-found" } else { "failed" };
        CliError::new(code, format!("{}: {error}", path.display()))
    };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(PROOF_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn header(text: &str) -> Result<[u8; HEADER_BYTES], CliError> {
    let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| {
        let message = format!("a block header is {HEADER_BYTES} bytes, as {} hexadecimal digits", 2 * HEADER_BYTES);
        CliError::new("usage", message).hint("--block-header HEX")
    })
}
