//! Durable appends to a chain: the real kernel and the real store, with one writer and with 64 that wait at the same time.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;

use serde_bytes::ByteBuf;
use tokio::time::Instant;
use weft_kernel::{Action, Gates, Input, Kernel, KernelConfig, KernelIdentity, Output, Ticket};
use weft_protocol::{Batch, ChainId, Fact, Incarnation, KeyPair, Principal, Repaired, Signer as _};
use weft_storage::Store;

use super::disk_limits::{bare_redb, write_and_sync};
use super::{Figure, failed, median, micros, per_second, signatures};
use crate::cli::CliError;
use crate::clock::Clock;

const ONE_WRITER_APPENDS: usize = 2_000;
const MANY_WRITERS: usize = 64;
const MANY_WRITERS_APPENDS: usize = 64_000;

/// Measures in `folder`.
pub(super) fn measure(folder: &Path) -> Result<Vec<Figure>, CliError> {
    let mut writer = Writer::new(folder)?;
    let mut times = Vec::with_capacity(ONE_WRITER_APPENDS);
    for _ in 0..ONE_WRITER_APPENDS {
        let begin = Instant::now();
        writer.ask();
        writer.run_until_recorded(1)?;
        times.push(micros(begin));
    }
    let one_writer_us = median(&mut times);

    let before = writer.kernel.chain_state().clone();
    let begin = Instant::now();
    for _ in 0..MANY_WRITERS {
        writer.ask();
    }
    let mut recorded = 0;
    while recorded < MANY_WRITERS_APPENDS {
        let now_recorded = writer.run_until_recorded(1)?;
        recorded += now_recorded;
        for _ in 0..now_recorded {
            writer.ask();
        }
    }
    let many_per_second = per_second(recorded, begin);
    let commits = writer.kernel.chain_state().commits() - before.commits();
    let batch = recorded.div_ceil(usize::try_from(commits).unwrap_or(1).max(1));
    let costs = signatures::measure();
    let [dual_verify, per_event] = costs.figures(&before, writer.kernel.chain_state());

    let raw_one_us = write_and_sync(folder, 1)?;
    let raw_many_us = write_and_sync(folder, MANY_WRITERS)?;
    let (redb_one_us, _) = bare_redb(folder, 1)?;
    let (_, redb_many) = bare_redb(folder, MANY_WRITERS)?;
    let redb_same = if batch == MANY_WRITERS { redb_many } else { bare_redb(folder, batch)?.1 };
    let raw_many = 64.0 * 1e6 / raw_many_us;
    Ok(vec![
        Figure::new(
            "append_1_writer_p50_us",
            "µs",
            one_writer_us,
            "write + fdatasync, preallocated, 256 B",
            raw_one_us,
        ),
        Figure::new(
            "append_1_writer_p50_us",
            "µs",
            one_writer_us,
            "the same and one Ed25519 signature",
            raw_one_us + costs.ed25519_sign_us,
        ),
        Figure::new(
            "append_1_writer_p50_us",
            "µs",
            one_writer_us,
            "bare redb, one 256 B row a transaction",
            redb_one_us,
        ),
        Figure::new(
            "append_64_writers_events_per_s",
            "events/s",
            many_per_second,
            "write + fdatasync, 64 × 256 B",
            raw_many,
        ),
        Figure::new(
            "append_64_writers_events_per_s",
            "events/s",
            many_per_second,
            "bare redb, 64 rows a transaction",
            redb_many,
        ),
        Figure::new(
            "append_64_writers_events_per_s",
            "events/s",
            many_per_second,
            format!("bare redb, {batch} rows a transaction: as many as a commit held on average"),
            redb_same,
        ),
        dual_verify,
        per_event,
    ])
}

/// A kernel with its disk thread, and nothing else.
struct Writer {
    kernel: Kernel,
    clock: Clock,
    batches: mpsc::SyncSender<Batch>,
    written: mpsc::Receiver<Result<(), weft_storage::StoreError>>,
    inputs: Vec<Input>,
    next_ticket: u64,
}

impl Writer {
    fn new(folder: &Path) -> Result<Self, CliError> {
        let keys = KeyPair::generate([7; 32]);
        let node = keys.public_keys().node();
        let (store, recovered) =
            Store::create_or_open(&folder.join("append.redb")).map_err(|error| failed("store", &error))?;
        let rules = weft_kernel::genesis_rules();
        let charter = weft_protocol::Charter {
            founder: keys.public_keys().clone(),
            rules: ByteBuf::from(rules),
            nonce: serde_bytes::ByteArray::new([0; 16]),
        };
        let gate = Gates::new(node, &charter.rules, &charter.rules_hash());
        let gates = gate.map_err(|error| failed("gate", &error))?;
        let identity = KernelIdentity {
            name: "bench".parse()?,
            chain: ChainId { node, incarnation: Incarnation(1) },
            cluster: charter.cluster_id(),
            governance_hash: charter.rules_hash(),
            charter: Some(charter),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            founding: Vec::new(),
            previous: None,
            skip_numbers: false,
            held: false,
        };
        let mut clock = Clock::new();
        let kernel = Kernel::new(KernelConfig::default(), identity, gates, &recovered, Arc::new(keys), 1, clock.now());
        let (batches, incoming) = mpsc::sync_channel::<Batch>(1);
        let (done, written) = mpsc::sync_channel(1);
        #[expect(clippy::disallowed_methods, reason = "writing blocks, as it does off the loop of a node")]
        std::thread::spawn(move || {
            for batch in incoming {
                if done.send(store.commit(&batch)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { kernel, clock, batches, written, inputs: vec![Input::Woken], next_ticket: 0 })
    }

    /// One more event, of about 256 bytes with its place in the commit, is wanted.
    fn ask(&mut self) {
        let chain = self.kernel.chain_state().chain();
        let fact = Fact::Repaired(Repaired { chain, first_commit: self.next_ticket, count: 1, from: chain.node });
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let (by, action) = (Principal::Operator, Action::RecordRepair);
        self.inputs.push(Input::FactsGiven { ticket, by, action, facts: vec![fact] });
    }

    /// Goes on until at least `count` wanted events are on disk; how many that were.
    fn run_until_recorded(&mut self, count: usize) -> Result<usize, CliError> {
        let mut recorded = 0;
        let mut outputs = Vec::new();
        loop {
            for input in std::mem::take(&mut self.inputs) {
                let now = self.clock.now();
                self.kernel.handle(input, now, &mut outputs);
            }
            for output in outputs.drain(..) {
                match output {
                    Output::Persist(batch) => self.batches.send(*batch).map_err(|error| failed("disk", &error))?,
                    Output::FactsRecorded { .. } => recorded += 1,
                    Output::FactsRefused { refusal, .. } => return Err(failed("append", &refusal)),
                    _ => {}
                }
            }
            if recorded >= count {
                return Ok(recorded);
            }
            let written = self.written.recv().map_err(|error| failed("disk", &error))?;
            written.map_err(|error| failed("disk", &error))?;
            self.inputs.push(Input::Persisted);
            let now = self.clock.now();
            if self.kernel.next_wakeup().is_some_and(|wakeup| wakeup <= now) {
                self.inputs.push(Input::Woken);
            }
        }
    }
}
