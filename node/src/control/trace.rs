//! One conversation: what every concerned node recorded of it, proven against the chains this node holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use futures::future::join_all;
use weft_peer::{Peer, Question, Reply};
use weft_protocol::control::{ErrorBody, PrunedHop, TraceHop, TraceReport};
use weft_protocol::{Blake3, ChainId, Event, Fact, NodeId, PrunedStep, Stage, TraceId, TraceRow, inclusion_root};
use weft_replication::Vouching;
use weft_storage::{Store, StoreError};

use super::agreement::{Agreement, Silence, Step, agreement};
use super::failure::Failure;
use super::{Served, text};

/// Steps of one node that are shown; a longer conversation shows its beginning.
const ROWS_MAX: usize = 256;
/// Nodes of one conversation that are asked (guess: more is no conversation).
const NODES_MAX: usize = 64;
/// How long a member may take to say what it recorded.
const ASK_TIME_MAX: Duration = Duration::from_secs(2);
/// How long the answer waits for records that are on their way: a commit, its announcement, and the checkpoint that is due
/// after a second.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(3);
/// How long it waits for the first record of all: a plain message is recorded with the next commit.
const FIRST_ROW_TIME_MAX: Duration = Duration::from_secs(1);
/// How often it looks.
const SETTLE_STEP: Duration = Duration::from_millis(100);

/// What all concerned nodes recorded of a conversation. Waits up to three seconds until every record is proven and sealed.
#[utoipa::path(get, path = "/v1/trace/{id}", params(("id" = String, Path, description = "Which")),
    responses((status = 200, body = TraceReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn trace(
    State(served): State<Arc<Served>>,
    Path(id): Path<String>,
) -> Result<Json<TraceReport>, Failure> {
    let id: TraceId = id.parse()?;
    let begun = tokio::time::Instant::now();
    // What was recorded a moment ago may not be on the disk yet; asking everybody about it may take long.
    if !is_recorded_here(&served, id).await? {
        tokio::time::sleep(SETTLE_STEP).await;
    }
    let mut looks = 0;
    loop {
        looks += 1;
        let report = collect(&served, id).await?;
        // What was deleted comes back by no waiting.
        let settled = (report.agree || !report.pruned.is_empty())
            && report.sealed
            && !(report.hops.is_empty() && report.pruned.is_empty());
        // Of what the other side never had no record will come; of what it has one is there with its next commit.
        let one_sided = report.disagreements.is_empty() && !report.unheard.is_empty() && report.sealed;
        let patience = if report.hops.is_empty() || one_sided { FIRST_ROW_TIME_MAX } else { SETTLE_TIME_MAX };
        if settled || looks > 1 && begun.elapsed() >= patience {
            if report.hops.is_empty() && report.pruned.is_empty() {
                let message = format!("nobody that can be asked has recorded {id}");
                return Err(Failure::new("not-found", message).hint("weft call prints the id of its trace"));
            }
            return Ok(Json(report));
        }
        tokio::time::sleep(SETTLE_STEP).await;
    }
}

async fn is_recorded_here(served: &Arc<Served>, id: TraceId) -> Result<bool, Failure> {
    let chain = View::read(served).await?.own;
    served.stored(move |store| Ok(!store.trace(chain, id, 1)?.is_empty())).await
}

async fn collect(served: &Arc<Served>, id: TraceId) -> Result<TraceReport, Failure> {
    let view = View::read(served).await?;
    let chain = view.own;
    let own = move |store: &Store| Ok((store.trace(chain, id, ROWS_MAX)?, store.pruned_steps(chain, id, ROWS_MAX)?));
    let (own_rows, own_pruned) = served.stored(own).await?;
    let mut pruned: Vec<(NodeId, PrunedStep)> = own_pruned.into_iter().map(|step| (chain.node, step)).collect();
    let mut rows: Vec<(NodeId, TraceRow)> = own_rows.into_iter().map(|row| (chain.node, row)).collect();
    let (mut asked, mut silent) = (BTreeSet::from([chain.node]), BTreeSet::new());
    loop {
        let next: Vec<NodeId> = concerned(&rows, &view).difference(&asked).copied().take(NODES_MAX).collect();
        if next.is_empty() || asked.len() > NODES_MAX {
            break;
        }
        asked.extend(&next);
        for (node, theirs) in join_all(next.into_iter().map(|node| ask(served, node, id))).await {
            match theirs {
                Some((theirs, gone)) => {
                    rows.extend(theirs.into_iter().take(ROWS_MAX).map(|row| (node, row)));
                    pruned.extend(gone.into_iter().take(ROWS_MAX).map(|step| (node, step)));
                }
                None => drop(silent.insert(node)),
            }
        }
    }
    // Whoever is no member any more, or one too many, was not asked.
    let named = rows.iter().flat_map(|(_, row)| [row.record.peer, row.record.from.node]);
    silent.extend(named.filter(|node| !asked.contains(node)));
    let mut silent: BTreeMap<NodeId, Silence> = silent.into_iter().map(|node| (node, Silence::Unreachable)).collect();
    silent.extend(pruned.iter().map(|(node, _)| (*node, Silence::Pruned)));
    let concerned = rows.iter().map(|(node, _)| *node).collect::<BTreeSet<_>>();
    let vouchings = served.read(move |peer| vouchings(peer, &concerned)).await?;
    let hops = pruned.into_iter().map(|(node, step)| pruned_hop(node, view.name(node), step)).collect();
    let mut report = served.stored(move |store| report(store, id, rows, &view, &silent, &vouchings)).await?;
    report.pruned = hops;
    // Nothing that is left contradicts itself, and nobody can say more.
    report.agree &= report.pruned.is_empty();
    Ok(report)
}

fn pruned_hop(node: NodeId, name: String, step: PrunedStep) -> PrunedHop {
    PrunedHop { node: node.to_string(), name, seq: step.seq, leaf: u64::from(step.leaf) }
}

/// Who vouches for the chains of these nodes.
fn vouchings(peer: &Peer, nodes: &BTreeSet<NodeId>) -> Vec<(ChainId, Vouching)> {
    let replication = peer.replication();
    let chains = replication.heads().into_iter().map(|head| head.chain).filter(|chain| nodes.contains(&chain.node));
    let of_chain = |chain| replication.vouchers(&chain).map(move |vouching| (chain, vouching)).collect::<Vec<_>>();
    chains.flat_map(of_chain).collect()
}

/// How many members that took no part vouch for the place of a record on this chain, of the history that is held here.
fn witnesses(
    store: &Store,
    chain: Option<ChainId>,
    row: &TraceRow,
    vouchings: &[(ChainId, Vouching)],
) -> Result<u64, StoreError> {
    let Some(chain) = chain else { return Ok(0) };
    let took_part = [row.record.peer, row.record.from.node, chain.node];
    let reach = vouchings
        .iter()
        .filter(|(of, vouching)| *of == chain && vouching.size > row.seq && !took_part.contains(&vouching.node));
    let mut count = 0;
    for (_, vouching) in reach {
        let held = store.commit_hashes(chain, &[vouching.commit_no])?;
        count += u64::from(held == [(vouching.commit_no, vouching.commit_hash)]);
    }
    Ok(count)
}

/// What a node recorded, and which of that it deleted.
type Said = (Vec<TraceRow>, Vec<PrunedStep>);

/// What another node recorded; none when it does not say.
async fn ask(served: &Served, node: NodeId, trace: TraceId) -> (NodeId, Option<Said>) {
    let question = served.ask(Question::Trace { node, trace });
    match tokio::time::timeout(ASK_TIME_MAX, question).await {
        Ok(Ok(Reply::Trace { rows, pruned })) => (node, Some((rows, pruned))),
        Ok(Ok(_) | Err(_)) | Err(_) => (node, None),
    }
}

/// What must be known of the cluster for one report.
#[derive(Debug)]
struct View {
    own: ChainId,
    names: BTreeMap<NodeId, String>,
    reachable: BTreeSet<NodeId>,
}

impl View {
    async fn read(served: &Served) -> Result<Self, Failure> {
        let read = |peer: &Peer| {
            let members = peer.discovery().members();
            let names = members.map(|member| (member.node, member.name.to_string())).collect();
            let members = peer.discovery().members();
            let reachable = members.filter(|member| member.path.is_some()).map(|member| member.node).collect();
            Self { own: peer.kernel().chain_state().chain(), names, reachable }
        };
        served.read(read).await
    }

    fn name(&self, node: NodeId) -> String {
        self.names.get(&node).cloned().unwrap_or_else(|| node.to_string())
    }
}

/// Members that took part, as far as the rows say; of a publication, and while nothing is known, everybody who can be reached.
fn concerned(rows: &[(NodeId, TraceRow)], view: &View) -> BTreeSet<NodeId> {
    let everybody = |stage: Stage| match stage {
        Stage::Published | Stage::Delivered => true,
        Stage::Sent | Stage::Received | Stage::Answered | Stage::Acknowledged | Stage::Refused => false,
    };
    if rows.is_empty() || rows.iter().any(|(_, row)| everybody(row.record.stage)) {
        return view.reachable.clone();
    }
    let named = rows.iter().flat_map(|(_, row)| [row.record.peer, row.record.from.node]);
    named.filter(|node| view.names.contains_key(node)).collect()
}

fn report(
    store: &Store,
    id: TraceId,
    mut rows: Vec<(NodeId, TraceRow)>,
    view: &View,
    silent: &BTreeMap<NodeId, Silence>,
    vouchings: &[(ChainId, Vouching)],
) -> Result<TraceReport, StoreError> {
    rows.retain(|(_, row)| row.record.trace == id);
    rows.sort_by_key(|(node, row)| (row.record.hlc, *node, row.seq));
    let begun = rows.first().map(|(_, row)| row.record.hlc.to_wall()).unwrap_or_default();
    let chains = store.chains()?;
    let mut hops = Vec::new();
    for (node, row) in &rows {
        let holder = holder(store, &chains, *node, row)?;
        let sealed = match holder {
            Some(chain) => store.sealed(chain, row.seq)?,
            None => false,
        };
        let wall = row.record.hlc.to_wall();
        hops.push(TraceHop {
            node: node.to_string(),
            name: view.name(*node),
            seq: row.seq,
            kind: stage_name(row.record.stage).to_owned(),
            hlc: row.record.hlc.to_string(),
            at: text::time(wall),
            offset_us: wall.since_us(begun),
            sealed,
            proven: holder.is_some(),
            message: row.record.message.to_string(),
            from: format!("{}@{}", row.record.from.principal, view.name(row.record.from.node)),
            target: row.record.target.clone(),
            peer: row.record.peer.to_string(),
            rule: row.record.rule.clone(),
            body_hash: row.record.body_hash.to_string(),
            body_bytes: row.record.body_bytes,
            witnesses: witnesses(store, holder, row, vouchings)?,
            parts: row.record.parts.map(|parts| parts.count),
            parts_digest: row.record.parts.map(|parts| parts.digest.to_string()),
        });
    }
    let steps: Vec<Step> = rows.into_iter().map(|(node, row)| Step { node, record: row.record }).collect();
    let Agreement { mut disagreements, unheard } = agreement(&steps, silent, |node| view.name(node));
    let unproven: BTreeSet<&str> = hops.iter().filter(|hop| !hop.proven).map(|hop| hop.name.as_str()).collect();
    disagreements
        .extend(unproven.iter().map(|name| format!("what {name} says is not on its chain as this node holds it")));
    let sealed = hops.iter().all(|hop| hop.sealed);
    let agree = disagreements.is_empty() && unheard.is_empty();
    Ok(TraceReport { id: id.to_string(), agree, sealed, hops, disagreements, unheard, pruned: Vec::new() })
}

/// The chain of `node` on which the row is really recorded, by what this node holds and has verified.
fn holder(store: &Store, chains: &[ChainId], node: NodeId, row: &TraceRow) -> Result<Option<ChainId>, StoreError> {
    for chain in chains.iter().filter(|chain| chain.node == node) {
        if let Some(bytes) = store.event(*chain, row.seq)?
            && holds(*chain, &bytes, row)
        {
            return Ok(Some(*chain));
        }
    }
    Ok(None)
}

fn holds(chain: ChainId, event: &[u8], row: &TraceRow) -> bool {
    let Ok(event) = Event::decode(event) else { return false };
    match (Fact::decode(&event.kind, &event.payload), &row.inclusion) {
        (Ok(Fact::Message(record)), None) => *record == row.record,
        (Ok(Fact::Batch(batch)), Some(inclusion)) => {
            let root = inclusion_root::<Blake3>(&row.record.leaf(chain), inclusion);
            inclusion.size == batch.count && root == Some(batch.root)
        }
        _ => false,
    }
}

const fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Sent => "sent",
        Stage::Received => "received",
        Stage::Answered => "answered",
        Stage::Acknowledged => "acknowledged",
        Stage::Refused => "refused",
        Stage::Published => "published",
        Stage::Delivered => "delivered",
    }
}
