//! Makes anchors beside the event loop: on demand, and by itself as often as is configured. Each is on the chain before it leaves.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::Mutex;
use weft_peer::{Peer, Question};
use weft_protocol::control::{AnchorRow, AnchorsReport, StampRow};
use weft_protocol::{AnchorBackend, AnchorStep, Anchored, ChainId, Digest, Head, Principal, Refusal, Timestamp};
use weft_storage::Store;

use super::calendar::Calendar;
use super::checkpoint::{Checkpoint, KeptError, Written, held, write};
use super::stamps::{Asked, STAMPS_MAX, Stamp, Stamps};
use super::{Backend, shortened};
use crate::ask::Asker;
use crate::clock::wall;
use crate::config::Live;
use crate::home::HomeError;

/// How often it is looked whether something is due.
const STEP: Duration = Duration::from_millis(250);
/// The wait before a calendar is asked again doubles so often, from the configured one on: from ten seconds to three hours.
const DOUBLINGS_MAX: u32 = 10;
/// Most calendars of one stamp (guess: the reference asks four).
const CALENDARS_MAX: usize = 16;

/// Why nothing was anchored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnchorError {
    /// The node said no, or cannot record it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no checkpoint, or it cannot be read.
    #[error("no checkpoint can be made: {0}")]
    Checkpoint(String),
    /// The checkpoint that it was to continue is of another history.
    #[error("commit {commit_no} of this chain is not the one that was named: that is another history")]
    OtherHistory {
        /// Which commit.
        commit_no: u64,
    },
    /// A file was left as it was.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// No calendar is configured, and none was named.
    #[error("no calendar is configured")]
    NoCalendar,
    /// What was named is no calendar, or there are too many.
    #[error("{0}")]
    BadCalendar(String),
    /// There are as many stamps as are kept.
    #[error("{STAMPS_MAX} stamps are kept, which is the most")]
    Full,
    /// It cannot be written.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// No calendar answered; they are asked again.
    #[error("no calendar took it: {reasons}")]
    NoAnswer {
        /// What each said.
        reasons: String,
    },
}

/// What makes anchors of one node.
#[derive(Debug)]
pub(crate) struct Keeper {
    asker: Asker,
    store: Arc<Store>,
    live: Live,
    stamps: Mutex<Stamps>,
}

impl Keeper {
    pub(crate) fn new(home: &Path, asker: Asker, store: Arc<Store>, live: Live) -> Self {
        let mut wrong = Vec::new();
        let stamps = Mutex::new(Stamps::open(home, &mut wrong));
        wrong.iter().for_each(|problem| tracing::warn!("a stamp cannot be read: {problem}"));
        Self { asker, store, live, stamps }
    }

    /// The newest checkpoint of this node's chain, which must continue the commit that is named.
    ///
    /// # Errors
    /// [`AnchorError`].
    pub(crate) async fn checkpoint(&self, continues: Option<(u64, Digest)>) -> Result<Checkpoint, AnchorError> {
        let chain = self.chain().await?;
        if let Some((commit_no, hash)) = continues
            && !self.holds(chain, commit_no, hash).await?
        {
            return Err(AnchorError::OtherHistory { commit_no });
        }
        let proof = self.stored(move |store| store.prove(chain, 0)).await?;
        let proof = proof.ok_or_else(|| AnchorError::Checkpoint("nothing is sealed yet".to_owned()))?;
        Checkpoint::of(&proof).map_err(AnchorError::Checkpoint)
    }

    /// Lets calendars stamp the newest checkpoint: those named, or those configured.
    ///
    /// # Errors
    /// [`AnchorError`]; with `NoAnswer` the stamp is kept, and they are asked again.
    pub(crate) async fn stamp(&self, named: &[String]) -> Result<StampRow, AnchorError> {
        let calendars =
            if named.is_empty() { self.live.config().await.anchor.calendars.clone() } else { named.to_vec() };
        if calendars.is_empty() {
            return Err(AnchorError::NoCalendar);
        }
        if calendars.len() > CALENDARS_MAX {
            return Err(AnchorError::BadCalendar(format!("{} calendars, at most {CALENDARS_MAX}", calendars.len())));
        }
        let calendars = calendars.iter().map(|text| text.parse::<Calendar>());
        let calendars = calendars.collect::<Result<Vec<_>, _>>().map_err(AnchorError::BadCalendar)?;
        let texts = calendars.iter().map(ToString::to_string).collect::<Vec<_>>();
        let checkpoint = self.checkpoint(None).await?;
        let nonce = crate::identity::random().map_err(|error| AnchorError::Checkpoint(error.to_string()))?;
        let stamp = Stamp::new(&checkpoint, nonce, &texts, wall());
        let (sha256, place) = (stamp.sha256.clone(), Backend::Calendars(calendars).place());
        if self.stamps.lock().await.is_full() {
            return Err(AnchorError::Full);
        }
        let record = |step| anchored(AnchorBackend::OpenTimestamps, &checkpoint, step, place.clone());
        self.record(record(AnchorStep::Intended)).await?;
        self.stamps.lock().await.begin(stamp, &checkpoint)?;
        self.ask_calendars(&sha256, &checkpoint.head).await?;
        let stamps = self.stamps.lock().await;
        let stamp = stamps.get(&sha256).ok_or(AnchorError::Full)?;
        let errors =
            stamp.calendars.iter().filter_map(|asked| Some(format!("{}: {}", asked.calendar, asked.error.as_deref()?)));
        if stamp.proof().is_none() {
            return Err(AnchorError::NoAnswer { reasons: errors.collect::<Vec<_>>().join("; ") });
        }
        Ok(stamps.row(stamp))
    }

    /// All stamps, the newest first.
    pub(crate) async fn stamps(&self) -> Vec<StampRow> {
        let stamps = self.stamps.lock().await;
        let mut all: Vec<&Stamp> = stamps.all().collect();
        all.sort_by_key(|stamp| std::cmp::Reverse(stamp.made_at));
        all.into_iter().map(|stamp| stamps.row(stamp)).collect()
    }

    /// How far each holder has come, whoever it is.
    ///
    /// # Errors
    /// When the node goes down.
    pub(crate) async fn standing(&self) -> Result<AnchorsReport, AnchorError> {
        let config = self.live.config().await.anchor.clone();
        let calendars = config.calendars.iter().filter_map(|text| text.parse().ok()).collect();
        let backends = [Some(Backend::Members), config.file.map(Backend::File), Some(Backend::Calendars(calendars))];
        let mut anchors = Vec::new();
        for backend in backends.into_iter().flatten() {
            let place = backend.place();
            let (name, events, state) = match backend {
                Backend::Members => {
                    let sizes = self.asker.read(|peer: &Peer| {
                        let chain = peer.kernel().chain_state().chain();
                        peer.replication().vouchers(&chain).map(|vouching| vouching.size).collect::<Vec<u64>>()
                    });
                    let sizes = sizes.await?;
                    let state = format!("{} vouch; weft chain witnesses", sizes.len());
                    ("members", sizes.into_iter().max(), state)
                }
                Backend::File(path) => match std::fs::read(&path).map_err(|error| error.to_string()) {
                    Ok(bytes) => match Checkpoint::read(&bytes) {
                        Ok(held) => ("file", Some(held.head.size), "holds a checkpoint".to_owned()),
                        Err(problem) => ("file", None, format!("holds something else: {problem}")),
                    },
                    Err(problem) => ("file", None, problem),
                },
                Backend::Calendars(_) => {
                    let stamps = self.stamps.lock().await;
                    let attested = |stamp: &&Stamp| stamp.calendars.iter().any(|asked| asked.attested);
                    let events = stamps.all().filter(attested).map(|stamp| stamp.events).max();
                    let (count, done) = (stamps.all().count(), stamps.all().filter(attested).count());
                    ("opentimestamps", events, format!("{done} of {count} stamps attested; weft chain stamps"))
                }
            };
            anchors.push(AnchorRow { backend: name.to_owned(), place, events, state });
        }
        let events = self.asker.read(|peer: &Peer| peer.kernel().chain_status().events).await?;
        Ok(AnchorsReport { events, anchors })
    }

    /// Does what is due until the node goes down.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut file = FileTurn::default();
        loop {
            tokio::time::sleep(STEP).await;
            if self.asker.has_ended() {
                return;
            }
            match self.turn(&mut file).await {
                Ok(()) => {}
                Err(AnchorError::Refused(Refusal::ShuttingDown | Refusal::Damaged)) => return,
                Err(error) => file.complain(&error.to_string()),
            }
        }
    }

    async fn turn(&self, file: &mut FileTurn) -> Result<(), AnchorError> {
        let now = wall();
        for (sha256, head) in self.due(now).await {
            self.ask_calendars(&sha256, &head).await?;
        }
        let config = self.live.config().await.anchor.clone();
        let Some(path) = config.file.filter(|_| file.is_due(config.interval_us, now)) else { return Ok(()) };
        file.asked_at = Some(now);
        let events = self.asker.read(|peer: &Peer| peer.kernel().chain_status().events).await?;
        // Its own records are no reason for a next one.
        if file.events_after == Some(events) {
            return Ok(());
        }
        if let Some(signed) = self.write_file(&path).await? {
            // What was to be written, and that it was.
            file.events_after = Some(signed + 2);
        }
        file.complained = None;
        Ok(())
    }

    /// Puts the newest checkpoint into the configured file; over how many events it is, when it was not there already.
    async fn write_file(&self, path: &Path) -> Result<Option<u64>, AnchorError> {
        let checkpoint = self.checkpoint(None).await?;
        let held = held(path, &checkpoint.head)?;
        if held.as_ref().is_some_and(|held| held.head == checkpoint.head) {
            return Ok(None);
        }
        let chain = checkpoint.head.chain;
        let continues = match &held {
            Some(held) => self.holds(chain, held.head.commit_no, held.head.commit_hash).await?,
            None => true,
        };
        let place = Backend::File(path.to_owned()).place();
        let record = |step| anchored(AnchorBackend::File, &checkpoint, step, place.clone());
        if continues {
            self.record(record(AnchorStep::Intended)).await?;
        }
        match write(path, &checkpoint, |_| continues) {
            Ok(Written::New) => {
                self.record(record(AnchorStep::Done)).await?;
                Ok(Some(checkpoint.head.size))
            }
            Ok(Written::Same) => Ok(None),
            Err(error) => {
                if continues {
                    self.record(record(AnchorStep::Failed(shortened(&error.to_string())))).await?;
                }
                Err(error.into())
            }
        }
    }

    /// Stamps with a calendar that is to be asked now.
    async fn due(&self, now: Timestamp) -> Vec<(String, Head)> {
        let stamps = self.stamps.lock().await;
        let is_due = |asked: &Asked| !asked.attested && asked.next_at <= now.0;
        let due = stamps.all().filter(|stamp| stamp.calendars.iter().any(is_due));
        // What is recorded of it names what was stamped, on whatever chain of this node that stands.
        let head = |stamp: &Stamp| match stamps.checkpoint(stamp) {
            Ok(checkpoint) => Some((stamp.sha256.clone(), checkpoint.head)),
            Err(problem) => {
                tracing::debug!("a stamp is left alone: {problem}");
                None
            }
        };
        due.filter_map(head).collect()
    }

    /// Asks every calendar of a stamp that is due: for a promise, or what became of it.
    async fn ask_calendars(&self, sha256: &str, head: &Head) -> Result<(), AnchorError> {
        let (now, retry_us) = (wall(), self.live.config().await.anchor.retry_us);
        let Some(mut stamp) = self.stamps.lock().await.get(sha256).cloned() else { return Ok(()) };
        let Some(digest) = stamp.digest() else { return Ok(()) };
        let due: Vec<usize> = stamp
            .calendars
            .iter()
            .enumerate()
            .filter_map(|(place, asked)| (!asked.attested && asked.next_at <= now.0).then_some(place))
            .collect();
        let answers = join_all(due.iter().map(|place| ask(stamp.calendars[*place].clone(), digest))).await;
        let mut steps = Vec::new();
        for (place, mut asked) in due.into_iter().zip(answers) {
            let before = &stamp.calendars[place];
            if before.timestamp().is_none() && asked.timestamp().is_some() {
                steps.push((asked.calendar.clone(), AnchorStep::Done));
            }
            if let Some(error) = asked.error.as_ref().filter(|_| before.tries == 0 && before.timestamp().is_none()) {
                steps.push((asked.calendar.clone(), AnchorStep::Failed(shortened(error))));
            }
            if asked.attested {
                let named = stamp.with_only(asked.clone()).proof();
                let blocks = named.map(|proof| super::blocks_of(&proof).0).unwrap_or_default();
                steps.extend(
                    blocks.iter().map(|block| (asked.calendar.clone(), AnchorStep::Attested { height: block.height })),
                );
            }
            let wait_us = retry_us.saturating_mul(1 << asked.tries.min(DOUBLINGS_MAX));
            asked.tries = asked.tries.saturating_add(1);
            asked.next_at = now.0.saturating_add(wait_us);
            stamp.calendars[place] = asked;
        }
        let file_digest =
            data_encoding::HEXLOWER.decode(sha256.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        self.stamps.lock().await.keep(stamp)?;
        for (place, step) in steps {
            let sha256 = Digest::from_bytes(file_digest.unwrap_or_default());
            let backend = AnchorBackend::OpenTimestamps;
            self.record(Anchored { backend, sha256, head: head.clone(), step, place: shortened(&place) }).await?;
        }
        Ok(())
    }

    async fn chain(&self) -> Result<ChainId, AnchorError> {
        Ok(self.asker.read(|peer: &Peer| peer.kernel().chain_state().chain()).await?)
    }

    async fn holds(&self, chain: ChainId, commit_no: u64, hash: Digest) -> Result<bool, AnchorError> {
        Ok(self.stored(move |store| store.commit_hashes(chain, &[commit_no])).await? == [(commit_no, hash)])
    }

    async fn stored<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, weft_storage::StoreError> + Send + 'static,
    ) -> Result<T, AnchorError> {
        let store = Arc::clone(&self.store);
        match tokio::task::spawn_blocking(move || read(&store)).await {
            Ok(result) => result.map_err(|error| AnchorError::Checkpoint(error.to_string())),
            Err(_stopped) => Err(Refusal::ShuttingDown.into()),
        }
    }

    async fn record(&self, anchored: Anchored) -> Result<(), AnchorError> {
        let question = Question::RecordAnchor { anchored: Box::new(anchored) };
        Ok(self.asker.ask(Principal::Operator, question).await.map(|_recorded| ())?)
    }
}

fn anchored(backend: AnchorBackend, checkpoint: &Checkpoint, step: AnchorStep, place: String) -> Anchored {
    let sha256 = Digest::from_bytes(checkpoint.sha256());
    Anchored { backend, sha256, head: checkpoint.head.clone(), step, place }
}

/// Asks one calendar; what it was asked with what it said.
async fn ask(mut asked: Asked, digest: [u8; 32]) -> Asked {
    let calendar = match asked.calendar.parse::<Calendar>() {
        Ok(calendar) => calendar,
        Err(error) => {
            asked.error = Some(error);
            return asked;
        }
    };
    let said = match asked.timestamp() {
        None => calendar.submit(&digest).await.map(Some),
        Some(mut timestamp) => timestamp.upgraded(&calendar, &digest).await.map(|changed| changed.then_some(timestamp)),
    };
    match said {
        Ok(Some(timestamp)) => asked.heard(&timestamp, &digest),
        // It still promises.
        Ok(None) => asked.error = None,
        Err(error) => asked.error = Some(error.to_string()),
    }
    asked
}

/// When the file was looked at, and what was said about it.
#[derive(Debug, Default)]
struct FileTurn {
    asked_at: Option<Timestamp>,
    /// Events of the chain when nothing happened since but that the file was written.
    events_after: Option<u64>,
    complained: Option<String>,
}

impl FileTurn {
    fn is_due(&self, interval_us: u64, now: Timestamp) -> bool {
        self.asked_at.is_none_or(|asked_at| now < asked_at || now.since_us(asked_at) >= interval_us)
    }

    /// Says what is wrong, once.
    fn complain(&mut self, error: &str) {
        if self.complained.as_deref() != Some(error) {
            tracing::warn!("the chain is not anchored: {error}");
            self.complained = Some(error.to_owned());
        }
    }
}
