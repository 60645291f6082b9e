//! Members of the cluster and invites of this node.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use weft_discovery::{Answer, InviteState, MemberView};
use weft_peer::{Peer, Question, Reply};
use weft_protocol::control::{
    ChainHead, ErrorBody, InviteReport, InviteRequest, InviteRow, InvitesReport, MemberRow, MembersReport, RevokeReport,
};
use weft_protocol::limits::{CERTIFICATE_US_MAX, CERTIFICATE_US_MIN, INVITE_US_MAX, INVITE_USES_MAX};
use weft_protocol::{InviteId, NodeId, Refusal, Role, Timestamp};

use super::failure::Failure;
use super::request::JsonBody;
use super::{Served, mismatch, text};
use crate::cli::nearest;

/// How long an invite lasts that does not say it, in milliseconds.
const TTL_MS_DEFAULT: u64 = 3_600_000;

/// All members, by name.
#[utoipa::path(get, path = "/v1/members", responses((status = 200, body = MembersReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn members(State(served): State<Arc<Served>>) -> Result<Json<MembersReport>, Failure> {
    Ok(Json(MembersReport { members: served.read(rows).await? }))
}

fn rows(peer: &Peer) -> Vec<MemberRow> {
    // A node may have several chains; the one that was written last says how far it is.
    let mut chains = BTreeMap::new();
    for chain in peer.replication().chains(crate::clock::wall()) {
        let newest = chains.entry(chain.chain.node).or_insert_with(|| chain.clone());
        if newest.last_hlc < chain.last_hlc {
            *newest = chain;
        }
    }
    let now = crate::clock::wall();
    let ahead = |node: &NodeId| chains.get(node).map(|chain| chain.last_hlc.to_wall().since_us(now));
    let head = |node: &NodeId| match chains.get(node) {
        Some(chain) => ChainHead { events: chain.events, root: chain.root.to_string() },
        None => ChainHead { events: 0, root: String::new() },
    };
    let newest = peer.discovery().view().wire.newest();
    let mut rows: Vec<MemberRow> = peer
        .discovery()
        .members()
        .map(|member| {
            let chain = head(&member.node);
            let ahead_us = ahead(&member.node).filter(|ahead_us| *ahead_us > 0);
            let counts = super::order::counts(peer, member.node);
            MemberRow { counts, ..row((peer.node(), newest), member, chain, ahead_us) }
        })
        .collect();
    rows.sort_by(|one, other| (&one.name, &one.node).cmp(&(&other.name, &other.node)));
    rows
}

/// `direct`, or `relayed` through another member.
pub(crate) fn way(path: &weft_discovery::Path) -> &'static str {
    if path.relayed() { "relayed" } else { "direct" }
}

/// One member, as the own node sees it that speaks up to this version of the wire.
fn row((own, newest): (NodeId, u16), member: MemberView, chain: ChainHead, ahead_us: Option<u64>) -> MemberRow {
    let is_own = member.node == own;
    let path = match (&member.path, is_own) {
        (_, true) => "self",
        (Some(path), false) => way(path),
        (None, false) => "none",
    };
    MemberRow {
        name: member.name.to_string(),
        node: member.node.to_string(),
        state: member.state.to_string(),
        counts: false,
        role: member.role.to_string(),
        path: path.to_owned(),
        transport: member.path.as_ref().map(|path| path.transport.to_owned()),
        wire: if is_own { Some(newest) } else { member.path.as_ref().map(|path| path.wire) },
        address: member.path.map(|path| path.address),
        rtt_us: member.rtt_us,
        version: member.build,
        agents: member.agents.iter().map(|(agent, _)| agent.to_string()).collect(),
        chain,
        last_seen: if is_own { Some(text::time(crate::clock::wall())) } else { member.last_seen.map(text::time) },
        ahead_us,
        certificate_ends: member.certificate_ends.map(text::time),
    }
}

/// All invites of this node.
#[utoipa::path(get, path = "/v1/invites", responses((status = 200, body = InvitesReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn invites(State(served): State<Arc<Served>>) -> Result<Json<InvitesReport>, Failure> {
    let invites: Vec<InviteState> = served.read(|peer| peer.discovery().invites().collect()).await?;
    let now = crate::clock::wall();
    Ok(Json(InvitesReport { invites: invites.iter().map(|invite| invite_row(invite, now)).collect() }))
}

fn invite_row(invite: &InviteState, now: Timestamp) -> InviteRow {
    let state = match invite {
        InviteState { revoked: true, .. } => "revoked",
        InviteState { burnt, uses, .. } if burnt.len() as u64 >= u64::from(*uses) => "used-up",
        InviteState { expires, .. } if *expires <= now => "expired",
        InviteState { .. } => "open",
    };
    InviteRow {
        id: invite.invite.to_string(),
        role: invite.role.to_string(),
        state: state.to_owned(),
        uses: invite.uses,
        used_by: invite.burnt.iter().map(ToString::to_string).collect(),
        expires_at: text::time(invite.expires),
    }
}

/// Makes an invite; the token is in this answer and nowhere else.
#[utoipa::path(post, path = "/v1/invites", request_body = InviteRequest,
    responses((status = 200, body = InviteReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn invite(
    State(served): State<Arc<Served>>,
    JsonBody(request): JsonBody<InviteRequest>,
) -> Result<Json<InviteReport>, Failure> {
    let role: Role = request.role.as_deref().unwrap_or("worker").parse()?;
    let ttl_us = request.ttl_ms.unwrap_or(TTL_MS_DEFAULT).saturating_mul(1_000);
    let uses = request.uses.unwrap_or(1);
    if !(1..=INVITE_US_MAX).contains(&ttl_us) {
        let longest = std::time::Duration::from_micros(INVITE_US_MAX);
        let message =
            format!("an invite lasts at least a millisecond and at most {}", humantime::format_duration(longest));
        return Err(Failure::new("invalid", message).hint("--ttl 1h"));
    }
    if !(1..=INVITE_USES_MAX).contains(&uses) {
        return Err(Failure::new("invalid", format!("an invite has 1 to {INVITE_USES_MAX} uses")).hint("--uses 1"));
    }
    let certificate_ttl_us = request.certificate_ttl_ms.map(|ttl_ms| ttl_ms.saturating_mul(1_000));
    if certificate_ttl_us.is_some_and(|ttl_us| !(CERTIFICATE_US_MIN..=CERTIFICATE_US_MAX).contains(&ttl_us)) {
        let message = "a certificate that ends lasts at least one minute and at most ten years of 365 days";
        return Err(Failure::new("invalid", message).hint("--certificate-ttl 30d"));
    }
    let secret = secret()?;
    match served.ask(Question::Invite { role, ttl_us, uses, secret, certificate_ttl_us }).await? {
        Reply::Discovery(Answer::Invited { token, invite }) => Ok(Json(InviteReport {
            token,
            id: invite.invite.to_string(),
            role: invite.role.to_string(),
            uses: invite.uses,
            expires_at: text::time(invite.expires),
        })),
        other => Err(mismatch(&other)),
    }
}

/// What only the holder of the token will know.
#[expect(clippy::disallowed_methods, reason = "the peer is given entropy, it reads none")]
fn secret() -> Result<[u8; 16], Failure> {
    let mut secret = [0; 16];
    getrandom::fill(&mut secret)
        .map_err(|error| Failure::new("failed", format!("no random bytes: {error}")).retry())?;
    Ok(secret)
}

/// Takes an invite back.
#[utoipa::path(delete, path = "/v1/invites/{id}", params(("id" = String, Path, description = "Which")),
    responses((status = 200, body = RevokeReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn revoke(
    State(served): State<Arc<Served>>,
    Path(id): Path<String>,
) -> Result<Json<RevokeReport>, Failure> {
    let invite: InviteId = id.parse()?;
    if served.read(move |peer| peer.discovery().invite(&invite).is_none()).await? {
        return Err(
            Failure::new("not-found", format!("this node has issued no invite {invite}")).hint("weft invite ls")
        );
    }
    match served.ask(Question::RevokeInvite { invite }).await? {
        Reply::Discovery(Answer::Revoked { invite }) => Ok(Json(RevokeReport { id: invite.to_string() })),
        other => Err(mismatch(&other)),
    }
}

/// The member of that name or id.
pub(crate) fn find(peer: &Peer, node: &str) -> Result<NodeId, Failure> {
    let node: weft_protocol::NodeRef = node.parse()?;
    match peer.discovery().node_by_ref(&node) {
        // A member that is cut off can still be looked at.
        Err(Refusal::Quarantined) => {
            let same = |member: &MemberView| match &node {
                weft_protocol::NodeRef::Id(id) => member.node == *id,
                weft_protocol::NodeRef::Name(name) => member.name == *name,
            };
            peer.discovery().members().find(same).map(|member| member.node).ok_or_else(|| Refusal::Quarantined.into())
        }
        Err(Refusal::NoResponder { .. }) => {
            let names: Vec<String> = peer.discovery().members().map(|member| member.name.to_string()).collect();
            let near = nearest(&node.to_string(), names.iter().map(String::as_str));
            let hint =
                near.map_or_else(|| "weft members lists them".to_owned(), |near| format!("did you mean {near}?"));
            Err(Failure::new("not-found", format!("no member {node}")).hint(hint))
        }
        found => Ok(found?),
    }
}
