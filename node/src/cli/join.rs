//! `weft join`: explain the token, be admitted, fetch and verify the inviter's chain, run.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use weft_protocol::control::{EventsPage, MembersReport, StatusReport};
use weft_protocol::{Admission, Signer as _, Token, TokenError, cluster_name};

use super::args::JoinArgs;
use super::client::{Client, segment};
use super::output::{Output, address, bad, count, dim, good, micros, plural, rough};
use super::start::{Place, Running, detach, foreground};
use super::{At, CliError};
use crate::home::{ClusterFile, Home, HomeDir, end_joining};
use crate::identity;
use crate::network::{self, Attempt, JoinError};

/// How long the inviter's chain may take to arrive before the command says that it goes on in the background (guess).
const CHAIN_WAIT_MAX: Duration = Duration::from_secs(120);
/// How often it is looked for.
const CHAIN_STEP: Duration = Duration::from_millis(50);

/// `weft join TOKEN`.
pub(crate) async fn join(args: &JoinArgs, at: &At) -> Result<(), CliError> {
    let token = token_of(&args.token)?;
    let output = Output::new(at.json);
    let place =
        Place::choose(args.name.as_ref(), &args.run, at).map_err(|error| match error.detail().code.as_str() {
            "several-nodes" => error.hint("weft join TOKEN --name other"),
            _ => error,
        })?;
    let home = check_and_lock(&place, &token)?;
    say(output, "token", &format!("{}          {}", explain(&token), good("ok")));
    let begun = Instant::now();
    if home.cluster()?.is_none() {
        admit(&home, &token, &place, output).await?;
    } else {
        say(output, "admitted", &format!("already, as {}", place.name));
    }
    let watch = Watch { home: place.home.clone(), inviter: token.inviter.to_string(), begun, output };
    if args.run.detach {
        drop(home);
        detach(&place, &args.run, output).await?;
        return watch.until_verified().await;
    }
    let running = Running { config: place.config, flags: place.flags, boot: place.boot };
    foreground(home, running, false, move |_| {
        tokio::spawn(async move {
            if let Err(error) = watch.until_verified().await {
                output.error(&error);
            }
        });
    })
    .await
}

/// The token, when it can still be used: nothing is dialled to find that out.
pub(crate) fn token_of(word: &str) -> Result<Token, CliError> {
    let ask_again = "weft invite, on a member, makes a new one";
    let token: Token =
        word.parse().map_err(|error: TokenError| CliError::new("bad-token", error.to_string()).hint(error.next()))?;
    let now = crate::clock::wall();
    if token.expires <= now {
        let ago = rough(Duration::from_micros(now.since_us(token.expires)));
        let message = format!("the token to {} expired {ago} ago", cluster_name(&token.cluster));
        return Err(CliError::new("token-expired", message).hint(ask_again));
    }
    Ok(token)
}

fn explain(token: &Token) -> String {
    let left = Duration::from_micros(token.expires.since_us(crate::clock::wall()));
    let cluster = cluster_name(&token.cluster);
    format!("{cluster}, from {}, role {}, expires in {}", token.inviter_name, token.role, rough(left))
}

/// Locks the home, unless it belongs to another cluster or is the inviter's own.
fn check_and_lock(place: &Place, token: &Token) -> Result<Home, CliError> {
    let other = "weft join TOKEN --name other";
    if let Some(cluster) = place.home.cluster()? {
        let (own, asked) = (cluster.charter.cluster_id(), token.cluster);
        if own != asked {
            let message = format!(
                "the node in {} belongs to {}, not to {}",
                place.home.path().display(),
                cluster_name(&own),
                cluster_name(&asked),
            );
            return Err(CliError::new("other-cluster", message).hint(other));
        }
        if cluster.certificate.peek().is_ok_and(|certificate| certificate.keys.node() == token.inviter) {
            let message = format!("the node in {} is the one that made this token", place.home.path().display());
            return Err(CliError::new("conflict", message).hint(other));
        }
    }
    Home::open(place.home.clone()).map_err(|error| CliError::from(error).hint(other))
}

/// Keys first, then the admission, then the cluster file: whatever ends in between, the same command goes on from there.
async fn admit(home: &Home, token: &Token, place: &Place, output: Output) -> Result<(), CliError> {
    let keys = Arc::new(identity::load_or_create(home.path())?);
    home.begin_joining(&token.cluster.to_string())?;
    let mut attempts = Vec::new();
    let (name, wire) = (&place.name, place.config.discovery.wire);
    let report = |attempt: &Attempt| attempts.push(attempt_text(attempt));
    let joined = network::join(&keys, token, name, wire, report).await;
    say(output, "dial", &attempts.join(" · "));
    let (admission, address) = match joined {
        Ok(joined) => joined,
        Err(error) => {
            if is_final(&error) {
                home.end_joining()?;
            }
            return Err(error.into());
        }
    };
    let mut addresses = vec![address.clone()];
    addresses.extend(token.addresses.iter().filter(|one| **one != address).cloned());
    let certificate = admission.certificate.peek();
    let certificate = certificate.map_err(|error| CliError::new("failed", format!("the certificate: {error}")))?;
    debug_assert_eq!(certificate.keys.node(), keys.public_keys().node());
    let Admission { charter, members, certificate: signed, .. } = admission;
    let incarnation = crate::run::new_incarnation()?;
    home.write_cluster(&ClusterFile {
        charter,
        certificate: signed,
        name: certificate.name.clone(),
        incarnation,
        members,
        addresses: vec![(token.inviter, addresses)],
        reborn: None,
        disowned: Vec::new(),
    })?;
    crate::run::remember_new(home, &keys, incarnation);
    let grants = plural(certificate.grants.len() as u64, "grant");
    say(output, "admitted", &format!("as {}, role {}, {grants}", certificate.name, certificate.role));
    Ok(())
}

fn attempt_text(attempt: &Attempt) -> String {
    let place = address(&attempt.address);
    match &attempt.result {
        Ok(()) => {
            let took = u64::try_from(attempt.took.as_micros()).unwrap_or(u64::MAX);
            format!("{place} {}, {}, direct", good("ok"), micros(took))
        }
        Err(failure) => format!("{place} {}", dim(&failure.to_string())),
    }
}

/// Whether trying the same token again cannot help.
fn is_final(error: &JoinError) -> bool {
    match error {
        JoinError::Refused(refusal) | JoinError::NotBelieved { refusal, .. } => !refusal.retry(),
        JoinError::NotReached { .. } | JoinError::OtherNode { .. } | JoinError::Transport(_) => false,
    }
}

impl From<JoinError> for CliError {
    fn from(error: JoinError) -> Self {
        let message = error.to_string();
        let (code, hint, retry) = match &error {
            JoinError::NotReached { .. } => ("unreachable", "weft status, on the inviter", true),
            JoinError::OtherNode { .. } => ("unreachable", "weft invite, on the inviter", false),
            JoinError::Refused(refusal) => (refusal.code(), refusal.next(), refusal.retry()),
            JoinError::NotBelieved { refusal, .. } => (refusal.code(), refusal.next(), false),
            JoinError::Transport(_) => ("failed", "", false),
        };
        let error = Self::new(code, message).hint(hint);
        if retry { error.retry() } else { error }
    }
}

fn say(output: Output, name: &str, value: &str) {
    if !output.json() {
        let _reader_is_gone = output.text(&format!("  {name:<10} {value}"));
    }
}

/// Watches a node that was just admitted until it holds the inviter's chain.
struct Watch {
    home: HomeDir,
    inviter: String,
    begun: Instant,
    output: Output,
}

impl Watch {
    /// Returns when our own admission is on the inviter's chain as this node holds and has verified it.
    async fn until_verified(self) -> Result<(), CliError> {
        let client = Client::at(self.home.clone())?;
        let status: StatusReport = client.get("/v1/status").await?;
        let mut from = 0;
        let events = loop {
            let path = format!("/v1/chain/events?node={}&kind=member.admitted&from={from}", segment(&self.inviter));
            // Until its first page is stored, the inviter has no chain here.
            if let Ok(page) = client.get::<EventsPage>(&path).await {
                from = page.next;
                if page.events.iter().any(|event| event.detail["node"] == status.node.as_str()) {
                    break self.events_held(&client).await?;
                }
                if page.more {
                    continue;
                }
            }
            if self.begun.elapsed() > CHAIN_WAIT_MAX {
                let message = "admitted, but the inviter's chain has not arrived yet; the node keeps fetching";
                return Err(CliError::new("deadline", message).hint("weft members").changed().retry());
            }
            tokio::time::sleep(CHAIN_STEP).await;
        };
        end_joining(&self.home)?;
        let (inviter, events) = events;
        let took = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let chain = format!("{} events from {inviter}, verified          {}", count(events), micros(took));
        say(self.output, "chain", &chain);
        let members: MembersReport = client.get("/v1/members").await?;
        let alive = members.members.iter().filter(|member| member.state == "alive").count();
        let alive = format!("{alive} alive");
        let alive = if alive.starts_with('0') { bad(&alive) } else { good(&alive) };
        say(self.output, "members", &format!("{alive}          next: weft call echo hi"));
        if self.output.json() {
            let status: StatusReport = client.get("/v1/status").await?;
            self.output.object(&status.up())?;
        }
        Ok(())
    }

    async fn events_held(&self, client: &Client) -> Result<(String, u64), CliError> {
        let members: MembersReport = client.get("/v1/members").await?;
        let inviter = members.members.into_iter().find(|member| member.node == self.inviter);
        Ok(inviter.map_or_else(|| (self.inviter.clone(), 0), |member| (member.name, member.chain.events)))
    }
}
