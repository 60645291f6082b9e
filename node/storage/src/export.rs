//! Chains as plain files: one per chain, with everything that an offline verifier needs besides the node id it trusts.
//!
//! A file is `weft chain 1\n` and then rows as in the store, checked with a salt of zeros: each group in order, each digest, each
//! body that stands beside an event and that the store holds, and last a head, so that a file that was cut is noticed. Keys are in the first event.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use weft_protocol::{
    BeginFold, ChainId, ChainState, Digest, Event, Fact, MessageBatch, Replay, SnapshotFault, content_address, encode,
};

use crate::error::ExportError;
use crate::recover::{Stored, compare_with_head, empty_state, placed_fact, replay_group};
use crate::row::{self, GroupView, Kind, ROW_HEADER_BYTES, Salt, StoredHead, numbered_key};
use crate::store::Store;
use crate::table::{DIGESTS, GROUPS, STATE, Table};
use crate::verify::{Audit, ChainFault, ChainReport, VerifyReport, body_apart};

const FILE_MAGIC: &[u8; 13] = b"weft chain 1\n";
const FILE_SUFFIX: &str = "chain";
/// Exports are read by anyone; the check only finds accidents there, signatures find the rest.
const OPEN_SALT: Salt = [0; 16];

impl Store {
    /// Writes every chain into a file of its own in `folder`, which is made when it is missing and must be empty.
    ///
    /// # Errors
    /// [`ExportError`].
    pub fn export(&self, folder: &Path) -> Result<Vec<ChainId>, ExportError> {
        let failed = |file: &Path| {
            let file = file.display().to_string();
            move |error| ExportError::Io { file, error }
        };
        fs::create_dir_all(folder).map_err(failed(folder))?;
        if fs::read_dir(folder).map_err(failed(folder))?.next().is_some() {
            return Err(ExportError::NotEmpty { folder: folder.display().to_string() });
        }
        let chains = self.chains()?;
        for chain in &chains {
            let path = folder.join(format!("{}-{}.{FILE_SUFFIX}", chain.node, chain.incarnation));
            let mut file = BufWriter::new(File::create_new(&path).map_err(failed(&path))?);
            self.reading(|transaction| {
                let stored = Stored { transaction, salt: &self.salt };
                Ok(stored.write_chain(*chain, &mut file))
            })?
            .inspect_err(|error| self.notes.failed(&error.to_string()))
            .and_then(|()| file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all())
            .map_err(failed(&path))?;
        }
        Ok(chains)
    }
}

impl Stored<'_> {
    fn write_chain(&self, chain: ChainId, file: &mut impl Write) -> io::Result<()> {
        file.write_all(FILE_MAGIC)?;
        let (first, last) = (numbered_key(chain, 0), numbered_key(chain, u64::MAX));
        let mut apart = BTreeSet::new();
        self.copy(GROUPS, Kind::Group, &first, &last, file, |body| apart.extend(bodies_named_in(body)))?;
        self.copy(DIGESTS, Kind::Digest, &first, &last, file, |_| {})?;
        for address in apart {
            if let Some(body) = self.body(&address).map_err(io::Error::other)? {
                file.write_all(&row::write(&OPEN_SALT, Kind::Body, address.as_bytes(), &encode(&body)))?;
            }
        }
        let head = row::head_key(chain);
        self.copy(STATE, Kind::State, &head, &head, file, |_| {})
    }

    fn copy(
        &self,
        table: Table,
        kind: Kind,
        first: &[u8],
        last: &[u8],
        file: &mut impl Write,
        mut look: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        let table = self.transaction.open_table(table).map_err(io::Error::other)?;
        for entry in table.range(first..=last).map_err(io::Error::other)? {
            let (key, value) = entry.map_err(io::Error::other)?;
            let body = row::body(self.salt, kind, key.value(), value.value()).map_err(io::Error::other)?;
            file.write_all(&row::write(&OPEN_SALT, kind, key.value(), body))?;
            look(body);
        }
        Ok(())
    }
}

/// The names of the bodies that stand beside the events of a group.
fn bodies_named_in(group: &[u8]) -> Vec<Digest> {
    let Ok(group) = GroupView::parse(group).and_then(|view| view.group()) else { return Vec::new() };
    let events = group.events.iter().filter_map(|bytes| Event::decode(bytes).ok());
    let named = events.filter_map(|event| match placed_fact(&event) {
        Some(Fact::Message(record)) => body_apart(&record),
        Some(_) | None => None,
    });
    named.collect()
}

/// Verifies an export without any store: all signatures, links, roots and clocks from the first event on. What it cannot know is
/// whether the chains went on after the export was made. Chains with snapshots are read twice, and folded by `fold`.
///
/// # Errors
/// [`ExportError::Io`] when a file cannot be read; a fault inside one is in its chain's report.
pub fn verify_export(folder: &Path, fold: BeginFold) -> Result<VerifyReport, ExportError> {
    let failed = |file: &Path| {
        let file = file.display().to_string();
        move |error| ExportError::Io { file, error }
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        if path.extension().is_some_and(|suffix| suffix == FILE_SUFFIX) {
            paths.push(path);
        }
    }
    let report = |path: &std::path::PathBuf| {
        let unnamed = || failed(path)(io::Error::new(io::ErrorKind::InvalidData, "not named after a chain"));
        let chain = chain_of(path).ok_or_else(unnamed)?;
        verify_file(chain, path, None, fold).map_err(failed(path))
    };
    let mut chains = paths.iter().map(report).collect::<Result<Vec<ChainReport>, _>>()?;
    chains.sort_by_key(|report| report.chain);
    Ok(VerifyReport { chains })
}

/// One chain of an export.
#[derive(Debug)]
pub struct ExportedChain {
    /// What its verification found.
    pub report: ChainReport,
    /// The leaves of its events, as far as they verify.
    pub leaves: Vec<Digest>,
}

/// Verifies one chain of an export, and gives the leaves of its tree; `None` when the folder does not hold it.
///
/// # Errors
/// [`ExportError::Io`] when its file cannot be read.
pub fn exported_chain(folder: &Path, chain: ChainId, fold: BeginFold) -> Result<Option<ExportedChain>, ExportError> {
    let path = folder.join(format!("{}-{}.{FILE_SUFFIX}", chain.node, chain.incarnation));
    let failed = |error| ExportError::Io { file: path.display().to_string(), error };
    fs::read_dir(folder).map_err(|error| ExportError::Io { file: folder.display().to_string(), error })?;
    let mut leaves = Vec::new();
    match verify_file(chain, &path, Some(&mut leaves), fold) {
        Ok(report) => Ok(Some(ExportedChain { report, leaves })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// The rows of one file, each with its check done.
struct RowReader(BufReader<File>);

impl RowReader {
    fn magic(&mut self) -> io::Result<bool> {
        let mut magic = [0; FILE_MAGIC.len()];
        Ok(fill(&mut self.0, &mut magic)? == magic.len() && magic == *FILE_MAGIC)
    }

    /// The bytes of the next row; `Ok(None)` at the end, `Ok(Some(Err))` for what is not a row.
    fn next_row(&mut self) -> io::Result<Option<Result<Vec<u8>, String>>> {
        let mut bytes = vec![0; ROW_HEADER_BYTES];
        match fill(&mut self.0, &mut bytes)? {
            0 => return Ok(None),
            ROW_HEADER_BYTES => {}
            _ => return Ok(Some(Err("the file is cut in a row".into()))),
        }
        let Some(length) = row::claimed_bytes(&bytes) else { return Ok(Some(Err("not a row".into()))) };
        // Read in steps: a length that lies must not reserve more than what is there.
        let read = (&mut self.0).take((length - ROW_HEADER_BYTES) as u64).read_to_end(&mut bytes)?;
        let whole = read == length - ROW_HEADER_BYTES;
        Ok(Some(if whole { Ok(bytes) } else { Err("the file is cut in a row".into()) }))
    }
}

/// Reads until `out` is full or the end; says how much.
fn fill(reader: &mut impl Read, out: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < out.len() {
        match reader.read(&mut out[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Checks one file, row by row; a fault ends it.
struct FileCheck<'a> {
    /// Where the leaves of what passed go.
    leaves: Option<&'a mut Vec<Digest>>,
    chain: ChainId,
    audit: Audit,
    state: Option<ChainState>,
    batches: BTreeMap<u64, (u64, MessageBatch)>,
    /// Those of them whose row did not come yet.
    lacking: BTreeSet<u64>,
    head: Option<StoredHead>,
    orphans: u64,
}

fn verify_file(
    chain: ChainId,
    path: &Path,
    leaves: Option<&mut Vec<Digest>>,
    fold: BeginFold,
) -> io::Result<ChainReport> {
    let mut rows = RowReader(BufReader::new(File::open(path)?));
    let (audit, batches) = (Audit::new(chain), BTreeMap::new());
    let (lacking, orphans) = (BTreeSet::new(), 0);
    let mut check = FileCheck { leaves, chain, audit, state: None, batches, lacking, head: None, orphans };
    let mut outcome = if rows.magic()? { Ok(()) } else { Err("not an exported chain".to_owned()) };
    while outcome.is_ok() {
        outcome = match rows.next_row()? {
            None => break,
            Some(Ok(bytes)) => check.row(&bytes),
            Some(Err(reason)) => Err(reason),
        };
    }
    if outcome.is_ok()
        && let Some(replay) = check.audit.replay(fold(chain))
    {
        check.audit.replayed(replay_file(path, replay)?);
    }
    Ok(check.finish(outcome))
}

/// Reads the groups of a file that verified again, for as long as something is to be compared with them.
fn replay_file(path: &Path, mut replay: Replay) -> io::Result<Result<(), SnapshotFault>> {
    let mut rows = RowReader(BufReader::new(File::open(path)?));
    rows.magic()?;
    while !replay.is_done()
        && let Some(Ok(bytes)) = rows.next_row()?
    {
        let row = row::read(&OPEN_SALT, &bytes).map_err(io::Error::other)?;
        if row.kind == Kind::Group {
            let view = GroupView::parse(row.body).map_err(io::Error::other)?;
            if let Err(fault) = replay_group(&mut replay, &view).map_err(io::Error::other)? {
                return Ok(Err(fault));
            }
        }
    }
    Ok(Ok(()))
}

impl FileCheck<'_> {
    fn row(&mut self, bytes: &[u8]) -> Result<(), String> {
        let row = row::read(&OPEN_SALT, bytes).map_err(|error| error.to_string())?;
        match row.kind {
            Kind::Group => self.group(row.body),
            Kind::Digest => {
                let (chain, seq) = row::split_numbered_key(row.key).map_err(|error| error.to_string())?;
                match self.batches.get(&seq).filter(|_| chain == self.chain) {
                    Some((commit_no, batch)) => {
                        self.audit.digest(*commit_no, batch, row.body);
                        self.lacking.remove(&seq);
                    }
                    None => self.orphans += 1,
                }
                Ok(())
            }
            Kind::State => {
                self.head = Some(StoredHead::parse(row.body).map_err(|error| error.to_string())?);
                Ok(())
            }
            Kind::Body => self.body(row.key, row.body),
            Kind::Outbox | Kind::Evidence | Kind::Addresses | Kind::Topic | Kind::DeadLetter | Kind::Cut => {
                Err("a row that does not belong into an export".to_owned())
            }
        }
    }

    fn group(&mut self, body: &[u8]) -> Result<(), String> {
        let group = GroupView::parse(body).and_then(|view| view.group()).map_err(|error| error.to_string())?;
        let mut state = match self.state.take() {
            Some(state) => state,
            None => empty_state(self.chain, &group).map_err(|error| error.to_string())?,
        };
        let checked = state.extend(&group);
        let state = self.state.insert(state);
        let checked = checked.map_err(|error| error.to_string())?;
        self.audit.passed(state);
        if let Some(leaves) = &mut self.leaves {
            leaves.extend_from_slice(&checked.leaves);
        }
        for event in &checked.events {
            match placed_fact(event) {
                Some(Fact::Batch(batch)) => {
                    self.batches.insert(event.seq, (checked.commit.commit_no, batch));
                    self.lacking.insert(event.seq);
                }
                Some(fact) => self.audit.said(event.seq, checked.commit.commit_no, fact),
                None => {}
            }
        }
        Ok(())
    }

    fn body(&mut self, key: &[u8], body: &[u8]) -> Result<(), String> {
        let address = content_address(body);
        if key != address.as_bytes() {
            return Err("a body of another hash than its name".to_owned());
        }
        if self.audit.body(&address) { Ok(()) } else { Err("a body that no event names".to_owned()) }
    }

    fn finish(mut self, outcome: Result<(), String>) -> ChainReport {
        self.lacking.iter().for_each(|seq| self.audit.lacks(*seq));
        let first_bad_commit = self.state.as_ref().map_or(0, ChainState::commits);
        let fault = match outcome {
            Err(reason) => Some(ChainFault { first_bad_commit, reason }),
            Ok(()) => compare_with_head(self.state, self.head.as_ref()).err(),
        };
        let mut report = self.audit.finish(fault);
        report.orphans = self.orphans;
        report
    }
}

/// The chain that a file of an export is named after.
fn chain_of(path: &Path) -> Option<ChainId> {
    let (node, incarnation) = path.file_stem()?.to_str()?.rsplit_once('-')?;
    Some(ChainId { node: node.parse().ok()?, incarnation: incarnation.parse().ok()? })
}
