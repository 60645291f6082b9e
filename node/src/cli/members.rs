//! `weft members`, `weft invite`: who is in the cluster, and how others come in.

use weft_protocol::control::{
    InviteReport, InviteRequest, InvitesReport, MemberChangeReport, MemberChangeRequest, MemberRow, MembersReport,
    RevokeReport,
};

use super::args::{InviteArgs, InviteCommand, MemberArgs, MembersArgs, MembersCommand};
use super::client::Client;
use super::output::{Output, ago, bad, count, dim, doubtful, good, micros, table};
use super::{At, CliError};

/// `weft members` and what changes who counts.
pub(crate) async fn members(args: &MembersArgs, before: &At) -> Result<(), CliError> {
    match &args.command {
        None => list_members(&args.at.or(before)).await,
        Some(MembersCommand::Suspend(member)) => change("suspend", member, before).await,
        Some(MembersCommand::Resume(member)) => change("resume", member, before).await,
        Some(MembersCommand::Evict(member)) => change("evict", member, before).await,
        Some(MembersCommand::Readmit(member)) => change("readmit", member, before).await,
    }
}

/// `weft evict`, `weft members suspend` and the like.
pub(crate) async fn change(change: &str, args: &MemberArgs, before: &At) -> Result<(), CliError> {
    let at = args.at.or(before);
    let request = MemberChangeRequest { node: args.member.clone(), change: change.to_owned() };
    let report: MemberChangeReport = Client::of(&at)?.post("/v1/members/change", &request).await?;
    Output::new(at.json).report(&report, |report| {
        let MemberChangeReport { name, change, .. } = report;
        if report.decided {
            return format!("{change} {name}: decided");
        }
        let waits = if report.waits_for.is_empty() { "others".to_owned() } else { report.waits_for.join(", ") };
        format!("{change} {name}: proposed, and not decided yet; it waits for {waits} (weft order --stable shows when)")
    })
}

async fn list_members(at: &At) -> Result<(), CliError> {
    let report: MembersReport = Client::of(at)?.get("/v1/members").await?;
    Output::new(at.json).report(&report, |report| {
        let header = [
            "name",
            "node",
            "role",
            "state",
            "path",
            "rtt",
            "agents",
            "events",
            "version",
            "wire",
            "seen",
            "certificate ends",
        ];
        table(header, report.members.iter().map(row).collect(), "no members")
    })
}

fn row(member: &MemberRow) -> [String; 12] {
    let state = match member.state.as_str() {
        "alive" if member.counts => good("alive"),
        "alive" => doubtful("alive, not counted"),
        "suspect" => doubtful("suspect"),
        other => bad(other),
    };
    let path = match &member.transport {
        Some(transport) => format!("{} {transport}", member.path),
        None => member.path.clone(),
    };
    [
        member.name.clone(),
        super::output::short(&member.node),
        member.role.clone(),
        state,
        path,
        member.rtt_us.map_or_else(|| "-".to_owned(), micros),
        if member.agents.is_empty() { "-".to_owned() } else { member.agents.join(",") },
        count(member.chain.events),
        member.version.clone().unwrap_or_else(|| "-".to_owned()),
        member.wire.map_or_else(|| "-".to_owned(), |wire| wire.to_string()),
        member.last_seen.as_deref().map_or_else(|| "never".to_owned(), ago),
        member.certificate_ends.clone().unwrap_or_else(|| "never".to_owned()),
    ]
}

/// `weft invite`, `weft invite ls`, `weft invite revoke`.
pub(crate) async fn invite(args: &InviteArgs, before: &At) -> Result<(), CliError> {
    match &args.command {
        None => make(args, &args.at.or(before)).await,
        Some(InviteCommand::Ls(only)) => list(&only.at.or(before)).await,
        Some(InviteCommand::Revoke { id, at }) => {
            let at = at.or(before);
            let report: RevokeReport = Client::of(&at)?.delete(&format!("/v1/invites/{id}")).await?;
            Output::new(at.json).report(&report, |report| format!("{} is revoked", report.id))
        }
    }
}

async fn make(args: &InviteArgs, at: &At) -> Result<(), CliError> {
    let request = InviteRequest {
        role: Some(args.role.to_string()),
        ttl_ms: Some(u64::try_from(args.ttl.as_millis()).unwrap_or(u64::MAX)),
        uses: Some(args.uses),
        certificate_ttl_ms: args.certificate_ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
    };
    let report: InviteReport = Client::of(at)?.post("/v1/invites", &request).await?;
    let output = Output::new(at.json);
    output.report(&report, |report| report.token.clone())?;
    output.remark(&dim(&format!(
        "  invite {}: role {}, {}, until {}\n  on the other machine: weft join TOKEN",
        report.id,
        report.role,
        super::output::plural(u64::from(report.uses), "use"),
        report.expires_at,
    )));
    Ok(())
}

async fn list(at: &At) -> Result<(), CliError> {
    let report: InvitesReport = Client::of(at)?.get("/v1/invites").await?;
    Output::new(at.json).report(&report, |report| {
        let rows = report.invites.iter().map(|invite| {
            [
                invite.id.clone(),
                invite.role.clone(),
                if invite.state == "open" { good(&invite.state) } else { dim(&invite.state) },
                format!("{} of {}", invite.used_by.len(), invite.uses),
                invite.expires_at.clone(),
            ]
        });
        table(["id", "role", "state", "used", "until"], rows.collect(), "no invites; make one: weft invite")
    })
}
