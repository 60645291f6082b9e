//! `weft identity …`: who the node is, which chains it has written, and beginning a new one on request.

use weft_protocol::control::{IdentityReport, IncarnationRow, RejoinReport, RotateReport};
use weft_protocol::{Recovered, Signer as _};
use weft_storage::Store;

use super::args::{IdentityCommand, RejoinArgs};
use super::client::{Client, choose_home};
use super::output::{Output, bad, card, count, dim, good, short, table};
use super::{At, CliError, plural};
use crate::clock::wall;
use crate::control::{Rotated, Written, identity_report};
use crate::home::{ClusterFile, Home, HomeDir};
use crate::identity;

/// `weft identity …`.
pub(crate) async fn identity(command: &IdentityCommand, before: &At) -> Result<(), CliError> {
    match command {
        IdentityCommand::Show(only) => show(&only.at.or(before)).await,
        IdentityCommand::Rotate(only) => rotate(&only.at.or(before)).await,
        IdentityCommand::Rejoin(args) => rejoin(args, &args.at.or(before)),
    }
}

/// What a running node says, or what stands in the home of a stopped one.
async fn show(at: &At) -> Result<(), CliError> {
    let home = choose_home(at)?;
    let asked: Result<IdentityReport, CliError> = match Client::at(home.clone()) {
        Ok(client) => client.get("/v1/identity").await,
        Err(error) => Err(error),
    };
    let report = match asked {
        Err(error) if error.detail().code == "not-running" => {
            let cluster = cluster_of(&home)?;
            let recovered = if home.store().exists() { Store::open(&home.store())?.1 } else { Recovered::default() };
            let (keys, _next) = identity::current(home.path(), identity::load(home.path())?, &recovered)?;
            let rotated = Rotated::of(&recovered, keys.public_keys());
            let chains = recovered.chains_of(keys.public_keys().node()).into_iter().map(|chain| Written {
                incarnation: chain.state.chain().incarnation,
                events: chain.state.size(),
                commits: chain.state.commits(),
                head: chain.state.head().map(|head| head.commit_hash),
            });
            identity_report(&cluster, keys.public_keys(), rotated, chains.collect())
        }
        asked => asked?,
    };
    Output::new(at.json).report(&report, |report| {
        let lines = card([
            ("node", format!("{}  {}", report.name, report.node)),
            ("ed25519", report.ed25519_fingerprint.clone()),
            ("ml-dsa-65", report.mldsa65_fingerprint.clone()),
            ("rotated", rotated(report)),
        ]);
        let columns = ["incarnation", "state", "events", "commits", "head", "why"];
        lines + &table(columns, report.incarnations.iter().map(line).collect(), "")
    })
}

fn rotated(report: &IdentityReport) -> String {
    match &report.keys_since {
        Some(since) => format!("{}, the last time at {since}", plural(report.rotations, "time")),
        None => "never".to_owned(),
    }
}

/// A new ML-DSA-65 key for the running node.
async fn rotate(at: &At) -> Result<(), CliError> {
    let report: RotateReport = Client::of(at)?.post("/v1/identity/rotate", &serde_json::json!({})).await?;
    Output::new(at.json).report(&report, |report| {
        let lines = card([
            ("node", report.node.clone()),
            ("before", report.before.clone()),
            ("ml-dsa-65", report.mldsa65_fingerprint.clone()),
            ("rotated", plural(report.rotations, "time")),
        ]);
        format!("{lines}next: back up identity.key anew; copies of the old one are of no use any more\n")
    })
}

fn line(row: &IncarnationRow) -> [String; 6] {
    let state = match (row.current, row.disowned) {
        (true, _) => good("current"),
        (false, false) => dim("earlier"),
        (false, true) => bad("disowned"),
    };
    let head = row.head.as_deref().map_or_else(String::new, short);
    let why = row.reason.clone().unwrap_or_default();
    [row.incarnation.clone(), state, count(row.events), count(row.commits), head, why]
}

fn cluster_of(home: &HomeDir) -> Result<ClusterFile, CliError> {
    home.cluster()?.ok_or_else(|| {
        CliError::new("not-found", format!("the node in {} has no cluster yet", home.path().display())).hint("weft up")
    })
}

/// Writes a new incarnation into the home of a stopped node: its next start begins a new chain, which names the end of the old one.
fn rejoin(args: &RejoinArgs, at: &At) -> Result<(), CliError> {
    let folder = choose_home(at)?;
    let home = Home::open(folder).map_err(|error| CliError::from(error).hint("weft down, then this again"))?;
    let cluster = cluster_of(&home)?;
    let keys = identity::load(home.path())?;
    let node = keys.public_keys().node();
    let recovered = if home.store().exists() { Store::open(&home.store())?.1 } else { Recovered::default() };
    let chains = recovered.chains_of(node).len();
    let most = weft_protocol::limits::INCARNATIONS_MAX;
    if chains >= most {
        let message = format!("this node has written {chains} chains, and members keep {most} of one node");
        return Err(CliError::new("limit-reached", message).hint("weft join, as a new node"));
    }
    let convicted = recovered.evidence.iter().any(|evidence| evidence.chain().is_some_and(|chain| chain.node == node));
    let reason = match (convicted, args.yes) {
        (true, _) => "weft identity rejoin, after two histories of its chain were seen",
        (false, true) => "weft identity rejoin --yes",
        (false, false) => {
            let message = "nothing that this home holds says that the node was cut off: it goes on with its chain";
            let hint = "weft identity rejoin --yes, when members say that they cut it off";
            return Err(CliError::new("invalid", message).hint(hint));
        }
    };
    let incarnation = crate::run::new_incarnation()?;
    let next = cluster.reborn(incarnation, wall(), reason.to_owned(), false);
    home.write_cluster(&next)?;
    crate::run::remember_new(&home, &keys, incarnation);
    let report = RejoinReport {
        node: node.to_string(),
        before: cluster.incarnation.to_string(),
        incarnation: incarnation.to_string(),
        reason: reason.to_owned(),
    };
    Output::new(at.json).report(&report, |report| {
        format!(
            "{} begins a new chain at its next start: incarnation {} in place of {}\nnext: weft up, then an admin \
             readmits it if it was cut off\n",
            short(&report.node),
            report.incarnation,
            report.before
        )
    })
}
