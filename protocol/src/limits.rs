//! Every bound of the system in one place, each with its reason and what happens when it is reached.

/// Largest canonical encoding of one event, in bytes (CHAIN.md). A larger body travels as a blob and is named by its hash.
pub const EVENT_BYTES_MAX: usize = 64 * 1024;
/// Most events in one commit: what one signature and one disk sync may cover before latency suffers (guess).
pub const COMMIT_EVENTS_MAX: usize = 256;
/// Most event bytes in one commit. The group closes before the event that would pass it; one event always fits.
pub const COMMIT_BYTES_MAX: usize = 256 * 1024;
/// A checkpoint is due after this many events since the last one.
pub const CHECKPOINT_EVENTS_MAX: u64 = 256;
/// A checkpoint is due when the oldest unsealed event is this old, in microseconds.
pub const CHECKPOINT_AGE_US_MAX: u64 = 1_000_000;
/// A chain that runs this many events past its last checkpoint is refused by its peers.
pub const UNSEALED_EVENTS_MAX: u64 = 1_024;
/// A chain that runs this long past its last checkpoint, by its own clock, is refused; microseconds.
pub const UNSEALED_AGE_US_MAX: u64 = 10_000_000;
/// Most anchors in one commit.
pub const ANCHORS_MAX: usize = 32;
/// Most changes of who counts in one proposal; further ones come in the next (guess: everybody who joins within a moment).
pub const MEMBER_CHANGES_MAX: usize = 64;
/// Most commits of other chains that a tick names; of further chains nothing is acknowledged but by commits, and the order lags
/// until then.
pub const TICK_HEADS_MAX: usize = 256;
/// Most members that a `witnessed` receipt waits for (guess: a third of the largest cluster that was measured).
pub const WITNESSES_MAX: u8 = 32;
/// Most places in one request for witnesses; what is left out is asked for when that one is answered (guess).
pub const WITNESS_PLACES_MAX: usize = 64;
/// Least time between two commits that are written for their anchors alone, in microseconds: what others ask for costs a
/// signature of each kind and a sync, and whoever waits in between shares the next one (guess).
pub const ANCHOR_PAUSE_US: u64 = 20_000;
/// Most bytes of evidence against one chain (CHAIN.md): two headers of 8 KiB with both signatures; rotations of the keys that
/// signed them go along as far as there is room.
pub const EVIDENCE_BYTES_MAX: usize = 24 * 1024;
/// Most causes named by one event.
pub const CAUSES_MAX: usize = 8;
/// Longest event kind, in bytes.
pub const KIND_BYTES_MAX: usize = 64;
/// Longest text of a rule in an event, in bytes; of one that many rules were noted beside, the last are left out there.
pub const RULE_TEXT_BYTES_MAX: usize = 256;
/// Longest event source, in bytes.
pub const SOURCE_BYTES_MAX: usize = 128;

/// Deepest nesting a decoder accepts; nothing of ours nests deeper than 12.
pub const DEPTH_MAX: usize = 16;
/// Largest frame on any of our protocols, in bytes; a longer one is answered `too-large` and closes the stream.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// Largest envelope sent inline, in bytes; leaves room in a frame for a batch's own framing.
pub const ENVELOPE_BYTES_MAX: usize = 640 * 1024;
/// Most rotations of its keys that a node shows beside its certificate, about 9 KiB each, and most that stand on one chain; the next
/// one is refused (guess: one a year for eight years).
pub const ROTATIONS_MAX: usize = 8;
/// Largest frame of the authentication handshake, in bytes: a certificate (about 6 KiB) with [`ROTATIONS_MAX`] rotations and a
/// proof (about 4 KiB) fit.
pub const AUTH_FRAME_BYTES_MAX: usize = 96 * 1024;
/// Largest payload of one message, in bytes of content: what the local doors accept in one piece. Above
/// [`ENVELOPE_BYTES_MAX`] it travels as a blob.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Largest body that is fetched, in bytes: the largest payload and its framing.
pub const BLOB_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 64 * 1024;
/// Bytes of one chunk of a blob, a power of two: a lost one costs little, and the proof of each is under a kilobyte (guess).
pub const BLOB_CHUNK_BYTES: u64 = 256 * 1024;
/// How long a new connection may take to authenticate, in microseconds.
pub const AUTH_US_MAX: u64 = 2_000_000;
/// Largest frame of an admission answer, in bytes: certificate, charter and the admissions known to the inviter.
pub const ADMISSION_FRAME_BYTES_MAX: usize = 512 * 1024;
/// Most envelopes that travel in one frame.
pub const ENVELOPES_PER_FRAME_MAX: usize = 64;
/// Largest commit group that is gossiped whole, in bytes; of a larger one only the head is announced.
pub const GOSSIP_COMMIT_BYTES_MAX: usize = 32 * 1024;
/// Largest gossip message of any kind, in bytes.
pub const GOSSIP_BYTES_MAX: usize = 64 * 1024;
/// Largest page of commits in one answer, in bytes.
pub const PAGE_BYTES_MAX: usize = 768 * 1024;
/// Most chains whose heads are believed in one answer.
pub const HEADS_MAX: usize = 256;
/// Most chains whose heads are told in one answer; of more one hash for each stretch of ids is told. A head takes 190 bytes and
/// is told in both directions, which must not cost more than 80 bytes a chain and 4 KiB.
pub const HEADS_TOLD_MAX: usize = 8;
/// Most stretches in one answer (guess: a cluster of a thousand chains is searched in three answers).
pub const STRETCHES_MAX: usize = 16;

/// Longest packet of SWIM, in bytes: the members of a full mesh (64, of about 50 bytes each) fit twice (guess).
pub const SWIM_PACKET_BYTES_MAX: usize = 8 * 1024;
/// What is left free of it for the ids of those between whom it is passed on: two of 34 bytes, and their names.
pub const SWIM_DETOUR_BYTES: usize = 128;

/// Most agents, or topics, that the scope of one agent names (guess).
pub const SCOPE_ENTRIES_MAX: usize = 64;
/// Most paths that a sandbox allows, and most that it denies: with the longest of them a spawn still fits into one event. One
/// more is refused.
pub const SANDBOX_PATHS_MAX: usize = 32;
/// Longest of these paths, in bytes (guess; the operating system's own bound is 4,096). A longer one is refused.
pub const SANDBOX_PATH_BYTES_MAX: usize = 512;
/// Most bonds of one process: its links, what it monitors, and ends that it was not told of yet. One more is refused (guess).
pub const BONDS_MAX: usize = 64;
/// Most messages that wait for one process; one more is answered `busy`.
pub const MAILBOX_MESSAGES_MAX: usize = 1_024;
/// Most requests open in each direction between the node and one agent.
pub const AGENT_IN_FLIGHT_MAX: usize = 64;
/// Most living processes on one node (guess).
pub const PROCESSES_MAX: usize = 4_096;
/// Most exited processes remembered for `ps` and for answering `gone`.
pub const EXITED_MAX: usize = 256;
/// Most agents in one supervised group, with those of the groups below it: the names of all that start again together fit
/// into one event. One more is refused.
pub const GROUP_MEMBERS_MAX: usize = 256;
/// Deepest nesting of supervised groups; each level multiplies the restarts before a failure reaches the root (guess).
pub const GROUP_DEPTH_MAX: usize = 4;
/// Most restarts that a supervisor makes within its window; the next failure escalates.
pub const RESTARTS_MAX: usize = 5;
/// The window over which restarts are counted, in microseconds.
pub const RESTART_WINDOW_US: u64 = 60_000_000;
/// Wait before the first restart of a row, in microseconds; it doubles with each further one.
pub const RESTART_BACKOFF_US: u64 = 100_000;
/// Longest wait before a restart, in microseconds.
pub const RESTART_BACKOFF_US_MAX: u64 = 30_000_000;
/// Most grants one process holds.
pub const GRANTS_MAX: usize = 64;
/// Deepest chain of delegations of one grant.
pub const DELEGATION_DEPTH_MAX: u8 = 4;
/// Most hops of one envelope.
pub const HOPS_MAX: u8 = 8;
/// Message ids remembered per sender and incarnation for deduplication.
pub const DEDUPLICATION_WINDOW: u64 = 65_536;
/// How many message ids are reserved on disk ahead of use; a restart begins at the next block.
pub const COUNTER_BLOCK: u64 = 65_536;
/// How far ahead of use the clock is reserved on disk, in microseconds.
pub const CLOCK_RESERVE_US: u64 = 5_000_000;
/// Deadline of a call that names none, in microseconds.
pub const DEADLINE_DEFAULT_US: u64 = 5_000_000;
/// Longest deadline a call may name, in microseconds (one hour).
pub const DEADLINE_US_MAX: u64 = 3_600_000_000;
/// Most calls of one node that wait for an answer; one more is answered `busy`.
pub const CALLS_MAX: usize = 16_384;
/// Largest part of an answer, in bytes: it travels in a frame with its ids and names, as the largest message does.
pub const PART_BYTES_MAX: usize = ENVELOPE_BYTES_MAX - 2 * 1024;
/// Most parts of one answer that are on their way or wait for the caller to take them (guess: some tens of milliseconds of a
/// fast agent). The agent waits before it may send one more.
pub const PARTS_OPEN_MAX: u32 = 64;
/// Most bytes of content among them; the largest part fits.
pub const PARTS_OPEN_BYTES_MAX: usize = 1024 * 1024;
/// Most bytes in the parts of all answers of one node that were given and not taken in full; of more, the oldest are forgotten, and
/// whoever called and did not get them is told that the answer broke off (guess: a quarter of what a hostile neighbour may cost).
pub const PARTS_KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// After so many taken parts the agent's node is told, so that the agent never stands still for a caller that reads: a quarter
/// of what may be open.
pub const PARTS_TAKEN_STEP: u32 = PARTS_OPEN_MAX / 4;
/// The same in bytes: with as many open, the largest part still fits.
pub const PARTS_TAKEN_STEP_BYTES: usize = PARTS_OPEN_BYTES_MAX / 4;
/// Most topics one process subscribes to.
pub const SUBSCRIPTIONS_MAX: usize = 64;
/// Most publications that a node keeps of one topic: four seconds at a thousand a second, time enough for a repair (guess).
/// Of this and the next four bounds: the oldest go when one is passed.
pub const TOPIC_PUBLICATIONS_MAX: usize = 4_096;
/// Most bytes of content among them: sixty of the largest (guess).
pub const TOPIC_BYTES_KEPT_MAX: usize = 4 * 1024 * 1024;
/// How long a publication is kept, in microseconds (one day: who comes tomorrow sees today). The newest of each publisher
/// of a topic stays.
pub const TOPIC_AGE_US_MAX: u64 = 24 * 3_600 * 1_000_000;
/// Most publications that a node keeps over all topics; they are held in memory as well.
pub const TOPIC_LOG_PUBLICATIONS_MAX: usize = 32_768;
/// Most bytes of content among them (guess: what a small machine can spare).
pub const TOPIC_LOG_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Most publications of history that one subscription is handed, the newest; what is older is left out.
pub const HISTORY_MAX: usize = 4_096;
/// The same for an agent, which reads them from its standard input at its own pace (guess).
pub const AGENT_HISTORY_MAX: usize = 1_024;
/// Most publications in one answer to another member.
pub const PUBLICATIONS_PER_ANSWER_MAX: usize = 256;
/// Most streams in one answer to another member; it asks on from the last.
pub const STREAMS_PER_ANSWER_MAX: usize = 512;
/// Most patterns in one question to another member; who follows more asks for everything.
pub const PATTERNS_PER_QUESTION_MAX: usize = 64;
/// Most given-up messages that are kept; the oldest goes when one more comes, and that is recorded (guess).
pub const DEAD_LETTERS_MAX: usize = 1_024;
/// Most bytes of content among them.
pub const DEAD_LETTER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Shortest time between two probes of an agent, in microseconds: a probe is work (guess).
pub const PROBE_INTERVAL_US_MIN: u64 = 100_000;
/// Longest time between two probes, in microseconds (one hour).
pub const PROBE_INTERVAL_US_MAX: u64 = 3_600_000_000;
/// Longest time that a probe may take, in microseconds (one minute).
pub const PROBE_TIMEOUT_US_MAX: u64 = 60_000_000;
/// Most failures or successes in a row that a probe may ask for (guess).
pub const PROBE_COUNT_MAX: u32 = 100;
/// Most cron jobs of one node (guess); one more is refused.
pub const CRON_JOBS_MAX: usize = 1_024;
/// Most cron jobs that one agent keeps, so that no agent takes all of them (guess); one more is refused.
pub const CRON_JOBS_PER_AGENT_MAX: usize = 64;
/// Shortest time between two runs of a cron job, in microseconds: what is quicker is no job but a loop.
pub const CRON_INTERVAL_US_MIN: u64 = 1_000_000;
/// Longest interval of a cron job, in microseconds (366 days).
pub const CRON_INTERVAL_US_MAX: u64 = 366 * 24 * 3_600 * 1_000_000;
/// Longest cron expression, in bytes; every minute written out has 170.
pub const CRON_EXPRESSION_BYTES_MAX: usize = 256;
/// Longest name of a time zone, in bytes; the longest of IANA's has 32.
pub const TIMEZONE_BYTES_MAX: usize = 64;
/// Largest content of a cron job's message, in bytes: a job is one event (guess). A larger one is refused.
pub const CRON_PAYLOAD_BYTES_MAX: usize = 16 * 1024;

/// A stamp up to this far ahead of the wall clock moves the local clock, in microseconds (CockroachDB's default offset).
pub const CLOCK_MERGE_US_MAX: u64 = 500_000;
/// A stamp up to this far ahead is valid but waits; beyond it is refused; microseconds.
pub const CLOCK_HOLD_US_MAX: u64 = 60_000_000;

/// Longest name of a node or an agent, in bytes.
pub const NAME_BYTES_MAX: usize = 63;
/// Longest version of a contract, in bytes.
pub const VERSION_BYTES_MAX: usize = 32;
/// Longest topic, in bytes.
pub const TOPIC_BYTES_MAX: usize = 128;
/// Most chains of one writer that are kept and accepted, so that one member's many incarnations cannot fill the tables of others
/// (guess). A node with as many opens no further one.
pub const INCARNATIONS_MAX: usize = 16;
/// Most members of one cluster.
pub const MEMBERS_MAX: usize = 1_024;
/// Most addresses kept or told for one node.
pub const ADDRESSES_MAX: usize = 16;
/// Longest address, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 256;
/// Most agents in one advert.
pub const ADVERT_AGENTS_MAX: usize = 512;
/// Most topics in one advert.
pub const ADVERT_TOPICS_MAX: usize = 512;
/// Most services in one advert, and most that one node serves; one more is refused.
pub const SERVICES_MAX: usize = 512;
/// Largest contract, as canonical JSON, in bytes: with its framing it fits into one event. A larger one is refused.
pub const CONTRACT_BYTES_MAX: usize = 48 * 1024;
/// Most contracts, of all services and versions, that one node remembers; they are immutable, so none is forgotten, and
/// one more is refused (guess).
pub const CONTRACTS_MAX: usize = 1_024;
/// Most methods in one contract (guess).
pub const METHODS_MAX: usize = 64;
/// Deepest nesting of one schema (guess); a deeper one is refused.
pub const SCHEMA_DEPTH_MAX: usize = 32;
/// Most subschemas that one value can be checked against, with every reference followed; a schema with more is refused,
/// since its checks run inside the node (guess).
pub const SCHEMA_STEPS_MAX: usize = 1_024;
/// Most services that one agent may need before it starts.
pub const NEEDS_MAX: usize = 16;
/// Longest path and longest reason of a broken contract that is told, in characters each; the rest is left out.
pub const VIOLATION_CHARACTERS_MAX: usize = 256;

/// Longest life of an invite, in microseconds (one week).
pub const INVITE_US_MAX: u64 = 7 * 24 * 3_600 * 1_000_000;
/// Shortest life of a certificate that ends, in microseconds (one minute): half of it must be enough for several admins to
/// renew it, one after the other.
pub const CERTIFICATE_US_MIN: u64 = 60 * 1_000_000;
/// Longest life of a certificate that ends, in microseconds (ten years of 365 days): what lasts longer need not end.
pub const CERTIFICATE_US_MAX: u64 = 10 * 365 * 24 * 3_600 * 1_000_000;
/// Most uses of one invite.
pub const INVITE_USES_MAX: u32 = 1_024;
/// Most entries of the boot log that are kept; the oldest make room.
pub const BOOT_LOG_ENTRIES_MAX: usize = 1_024;
/// Longest text of one of them, in characters; what is longer is cut.
pub const BOOT_LOG_TEXT_MAX: usize = 512;
/// Most settings that one record of a change names: more than there are.
pub const SETTING_CHANGES_MAX: usize = 128;
/// Longest value of a setting in that record, in characters; what is longer is cut.
pub const SETTING_TEXT_MAX: usize = 256;

/// Largest encoded set of rules, in bytes: with a charter's keys it fits into one event. The genesis rules need a seventh of it.
pub const RULES_BYTES_MAX: usize = 48 * 1024;
/// Most governance rules in force at once (guess: three times those of the genesis); one more is refused.
pub const RULES_MAX: usize = 64;
/// Longest name of a rule, in bytes.
pub const RULE_ID_BYTES_MAX: usize = 32;
/// Longest description of a rule, in bytes.
pub const RULE_DESCRIPTION_BYTES_MAX: usize = 256;
/// Most conditions of one rule: there are nine kinds, and none is needed twice.
pub const MATCHERS_MAX: usize = 8;
/// Most texts of which one must fit in one condition (guess).
pub const PATTERNS_PER_MATCHER_MAX: usize = 16;
/// Longest name of a dimension of effects, in bytes.
pub const DIMENSION_BYTES_MAX: usize = 24;
/// Most dimensions in which one action has an effect: the five that are always there, and eleven of one's own (guess). One
/// more is refused where it is configured.
pub const DIMENSIONS_MAX: usize = 16;
/// Longest name of a person who decides, in bytes.
pub const PERSON_BYTES_MAX: usize = 64;
/// Longest reason that a person gives, in bytes. A longer one is refused.
pub const WHY_BYTES_MAX: usize = 1_024;
/// Most deferred actions of one node that wait for a person or for their repetition (guess: more than a person decides in a
/// day); what would be deferred beyond is denied.
pub const DEFERRALS_MAX: usize = 256;
/// Most of them that one agent may have, so that no agent takes all places (guess).
pub const DEFERRALS_PER_AGENT_MAX: usize = 16;
/// Shortest time that a person gets to decide, in microseconds.
pub const APPROVAL_US_MIN: u64 = 1_000_000;
/// Longest time that a person gets to decide, in microseconds (one week).
pub const APPROVAL_US_MAX: u64 = 7 * 24 * 3_600 * 1_000_000;

/// Deepest path of a resource; nothing of ours is deeper than 4.
pub const RESOURCE_DEPTH_MAX: usize = 8;
/// Longest name in a path of a resource, in bytes: the longest pattern of topics, or an agent's name with its node (116), fits.
pub const RESOURCE_NAME_BYTES_MAX: usize = 160;
/// Longest path of a resource, in bytes: a subscription below the longest pattern of topics fits.
pub const RESOURCE_PATH_BYTES_MAX: usize = 512;
/// Longest word for a kind of resource, in bytes.
pub const RESOURCE_KIND_BYTES_MAX: usize = 32;
/// Most keys of metadata of one resource: as many as there can be settings. What a further one says is left out of the tree.
pub const RESOURCE_METADATA_MAX: usize = SETTING_CHANGES_MAX;
/// Longest value of one of them, in bytes; a longer one is cut in the tree.
pub const RESOURCE_VALUE_BYTES_MAX: usize = 256;
/// Largest proof about a resource, in bytes: the largest resource, and eight steps through tries of a million names each, fit.
pub const TREE_PROOF_BYTES_MAX: usize = 64 * 1024;

/// Most agents that outlive their nodes, of a whole cluster; of a further one no fence is granted (guess). A question about all
/// of them fits a frame by far.
pub const FENCES_MAX: usize = 256;
/// How far beyond those that it knows a member grants a fence: as many as may have been granted while it was away (guess).
pub const FENCE_AHEAD_MAX: u64 = 1_024;
/// Most labels of a node, and most that an agent asks for (guess).
pub const LABELS_MAX: usize = 16;
/// Longest label and longest value of one, in bytes.
pub const LABEL_BYTES_MAX: usize = 64;

const _: () = assert!(RESOURCE_METADATA_MAX * (RESOURCE_VALUE_BYTES_MAX + 64) < TREE_PROOF_BYTES_MAX - 16 * 1024);
const _: () = assert!(ENVELOPE_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(RULES_BYTES_MAX + 8 * 1024 < EVENT_BYTES_MAX);
const _: () = assert!(ENVELOPE_BYTES_MAX < MESSAGE_BYTES_MAX);
const _: () = assert!(BLOB_CHUNK_BYTES.is_power_of_two() && (BLOB_CHUNK_BYTES as usize) < FRAME_BYTES_MAX);
const _: () = assert!(PAGE_BYTES_MAX + COMMIT_BYTES_MAX <= FRAME_BYTES_MAX);
const _: () = assert!(GOSSIP_COMMIT_BYTES_MAX < GOSSIP_BYTES_MAX);
const _: () = assert!(EVENT_BYTES_MAX <= COMMIT_BYTES_MAX);
const _: () = assert!(CONTRACT_BYTES_MAX + 8 * 1024 < EVENT_BYTES_MAX);
const _: () = assert!(2 * SANDBOX_PATHS_MAX * SANDBOX_PATH_BYTES_MAX <= EVENT_BYTES_MAX / 2);
const _: () = assert!(CHECKPOINT_EVENTS_MAX < UNSEALED_EVENTS_MAX);
const _: () = assert!(CLOCK_MERGE_US_MAX < CLOCK_HOLD_US_MAX);
