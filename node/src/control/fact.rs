//! What an event says, in a few words and as JSON; keys, signatures and bodies of messages are left out of the words.

use serde_json::{Value, json};
use weft_protocol::control::{Body, SandboxJson};
use weft_protocol::{
    Admitted, AnchorBackend, AnchorStep, Anchored, Ballot, Bonded, CommitRef, CronFired, Decided, Deferral, DeferralId,
    Effect, EffectResult, Fact, GrantIssued, HealthSubject, KeyRotation, MemberChange, MessageRecord, PhaseResult,
    ResourceUse, ServiceEnd, Warned, Watched, content_address,
};

use super::text;
use crate::cli::plural;

/// The words and the JSON.
pub(crate) fn describe(fact: &Fact) -> (String, Value) {
    match fact {
        Fact::Genesis(genesis) => {
            let (node, cluster) = (genesis.keys.node(), genesis.cluster);
            let role = if genesis.charter.is_some() { "founds" } else { "begins in" };
            let detail = json!({ "node": node, "cluster": cluster, "founder": genesis.charter.is_some() });
            (format!("{role} {}", weft_protocol::cluster_name(&cluster)), detail)
        }
        Fact::Boot(boot) => (
            format!("{} starts, version {}", boot.name, boot.version),
            json!({ "name": boot.name, "version": boot.version, "environment": boot.environment }),
        ),
        Fact::Shutdown(shutdown) => {
            (format!("ends, {} stopped", plural(shutdown.stopped, "agent")), json!({ "stopped": shutdown.stopped }))
        }
        Fact::Intent(effect) => intent(effect),
        Fact::Outcome(outcome) => {
            let words = match &outcome.result {
                EffectResult::Done => "done".to_owned(),
                EffectResult::Failed { reason } => format!("failed: {reason}"),
                EffectResult::Indeterminate => "indeterminate: the node went down in between".to_owned(),
            };
            (format!("#{} {words}", outcome.intent), json!({ "intent": outcome.intent, "result": outcome.result }))
        }
        Fact::Exited(exited) => {
            let words = format!("{} {}: {}", exited.agent, exited.process, exited.reason);
            (words, json!({ "agent": exited.agent, "process": exited.process, "reason": exited.reason }))
        }
        Fact::Message(record) => message(record),
        Fact::Batch(batch) => (
            format!("{} of messages", plural(batch.count, "step")),
            json!({ "root": batch.root, "count": batch.count }),
        ),
        Fact::Denied(denial) => {
            let words =
                format!("{} may not {} {}: rule {}", denial.by.principal, denial.action, denial.resource, denial.rule);
            (words, to_json(denial))
        }
        Fact::InviteIssued(issued) => {
            let invite = weft_protocol::invite_id(&issued.secret_hash);
            let (expires, uses) = (text::time(issued.expires), issued.uses);
            let ttl_ms = issued.certificate_ttl_us.map(|ttl_us| ttl_us / 1_000);
            let detail = json!({ "invite": invite, "role": issued.role, "uses": uses, "expires_at": expires,
                "certificate_ttl_ms": ttl_ms });
            (format!("{invite} as {}, {}, until {expires}", issued.role, plural(u64::from(uses), "use")), detail)
        }
        Fact::InviteBurnt(burnt) => {
            (format!("{} on {}", burnt.invite, burnt.node), json!({ "invite": burnt.invite, "node": burnt.node }))
        }
        Fact::InviteRevoked(revoked) => (revoked.invite.to_string(), json!({ "invite": revoked.invite })),
        Fact::Admitted(admitted) => admission(admitted),
        Fact::ForkSeen(fork) => {
            (format!("two histories of {} from commit {}", fork.chain, fork.commit_no), to_json(fork))
        }
        Fact::Repaired(repaired) => {
            let words = format!(
                "{} commits of {} from {}, from {}",
                repaired.count, repaired.chain, repaired.first_commit, repaired.from
            );
            (words, to_json(repaired))
        }
        Fact::TailReturned(returned) => {
            let words = format!("{} up to commit {} is here again", returned.chain, returned.head.commit_no);
            (words, to_json(returned))
        }
        Fact::Anchored(anchored) => (anchor_words(anchored), to_json(anchored)),
        Fact::Snapshot(snapshot) => {
            (format!("{} come to {}", plural(snapshot.size, "event"), snapshot.state), to_json(snapshot))
        }
        Fact::Pruned(pruned) => {
            let words = format!(
                "{} and {} below event {}, under the snapshot at event {}",
                plural(pruned.rows, "row"),
                bodies(pruned.bodies),
                pruned.to,
                pruned.snapshot
            );
            (words, to_json(pruned))
        }
        Fact::ResourceWarned(used) => (resource_words(used, "uses"), to_json(used)),
        Fact::ResourceExceeded(used) => (resource_words(used, "is ended: it uses"), to_json(used)),
        Fact::CronAdded(job) => {
            let words = format!("{} in {} to {}, {} missed runs", job.expression, job.timezone, job.target, job.missed);
            let detail = json!({
                "expression": job.expression, "timezone": job.timezone, "target": job.target.to_string(),
                "payload": Body::from(&job.payload), "missed": job.missed, "by": job.by.to_string(),
            });
            (words, detail)
        }
        Fact::CronRemoved(removed) => (
            format!("{} by {}", removed.job, removed.by),
            json!({ "job": removed.job.to_string(), "by": removed.by.to_string() }),
        ),
        Fact::CronFired(fired) => cron_fired(fired),
        Fact::CronMissed(missed) => {
            let (first, last) = (text::time(missed.first), text::time(missed.last));
            let run_from = missed.run_from.map(text::time);
            let words = format!("{} {} from {first} to {last}", missed.job, plural(missed.count, "run"));
            let job = missed.job.to_string();
            let detail =
                json!({ "job": job, "first": first, "last": last, "count": missed.count, "run_from": run_from });
            (words, detail)
        }
        Fact::RestartPlanned(planned) => {
            let by = planned.group.as_ref().map_or_else(|| "the root".to_owned(), ToString::to_string);
            let again: Vec<&str> = planned.agents.iter().map(weft_protocol::AgentName::as_str).collect();
            let words = format!(
                "{} {} failed; {by} starts {} again in {} ms, number {}",
                planned.agent,
                planned.process,
                again.join(", "),
                planned.delay_us / 1_000,
                planned.number
            );
            (words, to_json(planned))
        }
        Fact::Escalated(escalated) => {
            let above = escalated.to.as_ref().map_or_else(|| "the root".to_owned(), ToString::to_string);
            (format!("{} spent its restarts; its failure is one of {above}", escalated.group), to_json(escalated))
        }
        Fact::GaveUp(gave_up) => {
            let agents: Vec<&str> = gave_up.agents.iter().map(weft_protocol::AgentName::as_str).collect();
            (format!("{} given up: {}", agents.join(", "), gave_up.reason), to_json(gave_up))
        }
        Fact::HealthChanged(changed) => {
            let (subject, detail) = match &changed.subject {
                HealthSubject::Node { check } => (check.to_string(), json!({ "check": check })),
                HealthSubject::Process { process, agent, probe } => (
                    format!("{agent} {process} {probe}"),
                    json!({ "agent": agent, "process": process, "probe": probe }),
                ),
            };
            let why = changed.now.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
            let mut detail = detail;
            detail["before"] = changed.before.name().into();
            detail["now"] = changed.now.name().into();
            detail["reason"] = changed.now.reason().into();
            (format!("{subject} {}{why}", changed.now.name()), detail)
        }
        Fact::DeadLettered(letter) => {
            (format!("{} to {}: {}", letter.message, letter.target, letter.reason), to_json(letter))
        }
        Fact::DeadLetterRetried(retried) => (format!("{} as {}", retried.message, retried.again), to_json(retried)),
        Fact::DeadLetterRemoved(removed) => (format!("{}: {}", removed.message, removed.reason), to_json(removed)),
        Fact::GrantIssued(issued) => {
            let GrantIssued { grant, to, by } = issued.as_ref();
            (format!("{by} gives {} {grant} to {}", grant.id, to.agent), to_json(issued))
        }
        Fact::GrantRevoked(revoked) => (format!("{} takes {} back", revoked.by, revoked.grant.grant), to_json(revoked)),
        Fact::GrantUsed(used) => (format!("{} used {}", used.grant.grant, plural(used.used, "time")), to_json(used)),
        Fact::Booted(booted) => {
            let took_us: u64 = booted.phases.iter().map(|phase| phase.duration_us).sum();
            let done = booted.phases.iter().filter(|phase| phase.result != PhaseResult::NotBuiltIn).count() as u64;
            (format!("{} in {} ms", plural(done, "phase"), took_us / 1_000), to_json(booted))
        }
        Fact::Configured(configured) => {
            let changes = configured.changes.iter().map(|change| format!("{} is {}", change.key, change.to));
            (changes.collect::<Vec<_>>().join(", "), to_json(configured))
        }
        Fact::ContractRegistered(registered) => {
            let (service, version) = (&registered.contract.service, &registered.contract.version);
            let methods: Vec<String> = registered.contract.methods.keys().map(ToString::to_string).collect();
            let detail = json!({
                "service": service, "version": version, "hash": registered.hash, "by": registered.by.to_string(),
                "contract": registered.contract.to_json(),
            });
            (format!("{service} {version}: {}", methods.join(", ")), detail)
        }
        Fact::ServiceRegistered(entry) => {
            let agent = entry.endpoint.agent();
            let detail = json!({
                "service": entry.name, "agent": agent, "owner": entry.owner.to_string(), "contract": entry.contract,
                "audit": entry.audit_level, "registered_at": text::time(entry.registered_at),
            });
            (format!("{} by {agent}, for {}", entry.name, entry.owner), detail)
        }
        Fact::ServiceEnded(ended) => {
            let why = match &ended.end {
                ServiceEnd::Unregistered { by } => format!("unregistered by {by}"),
                ServiceEnd::OwnerEnded { reason } => format!("its agent is no more: {reason}"),
            };
            (format!("{} {why}", ended.name), to_json(ended))
        }
        Fact::TopicSubscribed(listening) => (
            format!("{} to {}", listening.by, listening.pattern),
            json!({ "by": listening.by.to_string(), "topic": listening.pattern }),
        ),
        Fact::TopicUnsubscribed(listening) => (
            format!("{} from {}", listening.by, listening.pattern),
            json!({ "by": listening.by.to_string(), "topic": listening.pattern }),
        ),
        Fact::Linked(linked) => (
            format!("{} {} and {} {}", linked.one.agent, linked.one.process, linked.other.agent, linked.other.process),
            to_json(linked),
        ),
        Fact::Unlinked(gone) => (
            format!("{} {} and {} {}", gone.one.agent, gone.one.process, gone.other.agent, gone.other.process),
            to_json(gone),
        ),
        Fact::Monitored(monitored) => (watched(&monitored.watcher, &monitored.target), to_json(monitored)),
        Fact::Demonitored(gone) => (watched(&gone.watcher, &gone.target), to_json(gone)),
        Fact::BondFired(fired) => {
            let process = fired.end.process.map(|process| format!(" {process}")).unwrap_or_default();
            let verb = if fired.ends { "ends with" } else { "is told of" };
            let words = format!(
                "{} {} {verb} {}{process}: {}",
                fired.told.agent, fired.told.process, fired.end.agent, fired.end.reason
            );
            (words, to_json(fired))
        }
        Fact::Deferred(deferral) => {
            let Deferral { by, action, resource, rule, expires, .. } = deferral.as_ref();
            let expires = text::time(*expires);
            let words = format!("{} waits to {action} {resource} until {expires}: rule {rule}", by.principal);
            let mut detail = to_json(deferral);
            detail["expires"] = expires.into();
            (words, detail)
        }
        Fact::Approved(decided) => decision(decided, "approves"),
        Fact::DeniedBy(decided) => decision(decided, "denies"),
        Fact::ApprovalSpent(ended) => (format!("{} happens", ended.deferral), deferral_json(ended.deferral)),
        Fact::DeferralExpired(ended) => {
            (format!("the time of {} is over", ended.deferral), deferral_json(ended.deferral))
        }
        Fact::Warned(warned) => {
            let Warned { by, action, resource, rules } = warned.as_ref();
            (format!("{} may {action} {resource}: rules {}", by.principal, rules.join(" ")), to_json(warned))
        }
        Fact::Amendment(amendment) => (
            format!("{} branch, version {}: {}", amendment.branch, amendment.version, amendment.change),
            to_json(amendment),
        ),
        Fact::Endorsed(endorsed) => {
            let (id, version) = (endorsed.amendment.to_string(), endorsed.version);
            (format!("{} for version {version}", crate::cli::short(&id)), to_json(endorsed))
        }
        Fact::EpochAsked(asked) => (ballot_words(&asked.ballot, "is asked for"), to_json(asked)),
        Fact::EpochPromised(promised) => (ballot_words(&promised.ballot, "is promised"), to_json(promised)),
        Fact::EpochProposed(proposed) => {
            let changes = proposed.changes.iter().map(change_words).collect::<Vec<_>>().join(", ");
            let changes = if changes.is_empty() { "nothing changes".to_owned() } else { changes };
            (format!("{}: {changes}", ballot_words(&proposed.ballot, "proposes")), to_json(proposed))
        }
        Fact::EpochEndorsed(endorsed) => {
            let next = crate::cli::short(&endorsed.next.0.to_string()).to_owned();
            (format!("{} {next}", ballot_words(&endorsed.ballot, "endorses epoch")), to_json(endorsed))
        }
        Fact::MemberChangeWanted(wanted) => {
            (format!("{} wants to {} {}", wanted.by, wanted.verb.name(), wanted.node), to_json(wanted))
        }
        Fact::ResourceScored(scored) => {
            let seen = scored.seen.named().map(|(name, score)| format!("{name} {score}"));
            let seen = seen.collect::<Vec<_>>().join(", ");
            (format!("{}: {seen} at {}", scored.path, scored.weight), to_json(scored))
        }
        Fact::KeyRotated(rotation) => rotation_of(rotation),
        Fact::FailoverDeclared(declared) => {
            (format!("{} is to outlive its node, wants {}", declared.spec.agent, declared.by), to_json(declared))
        }
        Fact::FenceGranted(granted) => {
            (format!("{} fence {} to {}", granted.agent, granted.fence, granted.holder), to_json(granted))
        }
        Fact::FenceHeld(held) => (format!("{} under fence {}", held.agent, held.fence), to_json(held)),
        Fact::FenceReleased(released) => {
            (format!("{} fence {}: {}", released.agent, released.fence, released.end), to_json(released))
        }
        Fact::Opaque { payload, .. } => {
            let detail = json!({ "base64": data_encoding::BASE64.encode(payload) });
            (format!("{} bytes of a kind that this version does not know", payload.len()), detail)
        }
    }
}

fn rotation_of(rotation: &KeyRotation) -> (String, Value) {
    let Ok(said) = rotation.rotation.peek() else {
        return ("a rotation that this version cannot read".to_owned(), Value::Null);
    };
    let fingerprint = content_address(said.new.mldsa65()).to_string();
    let detail = json!({ "chain": said.chain, "old": said.old, "mldsa65_fingerprint": fingerprint });
    (format!("a new ML-DSA-65 key {} writes from here on", crate::cli::short(&fingerprint)), detail)
}

fn ballot_words(ballot: &Ballot, verb: &str) -> String {
    format!("ballot {} of {} {verb}", ballot.number, ballot.chain)
}

fn change_words(change: &MemberChange) -> String {
    let at = |last: &CommitRef| format!("{} at commit {}", last.chain, last.commit_no);
    match change {
        MemberChange::Admit(chain) => format!("{chain} counts"),
        MemberChange::Suspend(last) => format!("{} is suspended", at(last)),
        MemberChange::Evict(last) => format!("{} is evicted", at(last)),
        MemberChange::Resume(chain) => format!("{chain} counts again"),
        MemberChange::Readmit(last, chain) => format!("{chain} takes the place of {}", at(last)),
    }
}

fn decision(decided: &Decided, verb: &str) -> (String, Value) {
    let Decided { deferral, name, why } = decided;
    let why_words = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    (
        format!("{name} {verb} {deferral}{why_words}"),
        json!({ "deferral": deferral.to_string(), "name": name, "why": why }),
    )
}

fn deferral_json(deferral: DeferralId) -> Value {
    json!({ "deferral": deferral.to_string() })
}

fn watched(watcher: &Bonded, target: &Watched) -> String {
    format!("{} {} hears of {} {}", watcher.agent, watcher.process, target.agent, target.process)
}

fn resource_words(used: &ResourceUse, verb: &str) -> String {
    let ResourceUse { process, agent, resource, measured, limit } = used;
    format!("{agent} {process} {verb} {} of {} ({resource})", resource.amount(*measured), resource.amount(*limit))
}

fn intent(effect: &Effect) -> (String, Value) {
    match effect {
        Effect::Spawn { process, spec, grants, by, from } => {
            let grants: Vec<String> = grants.iter().map(|grant| format!("{} {}", grant.id, grant.spec)).collect();
            let detail = json!({
                "spawn": {
                    "process": process, "agent": spec.agent, "backend": spec.backend.to_string(),
                    "restart": spec.restart, "group": spec.group, "grants": grants, "by": by.to_string(), "from": from,
                    "sandbox": spec.sandbox.as_ref().map(SandboxJson::of),
                }
            });
            (format!("start {} as {process}, {}", spec.agent, spec.backend), detail)
        }
        Effect::Fire { job, scheduled, by } => {
            let scheduled = scheduled.map(text::time);
            let when = scheduled.clone().unwrap_or_else(|| "now".to_owned());
            let detail = json!({ "fire": { "job": job.to_string(), "scheduled": scheduled, "by": by.to_string() } });
            (format!("run {job} for {when}"), detail)
        }
        Effect::Stop { process, agent, by, from } => {
            let detail = json!({ "stop": { "process": process, "agent": agent, "by": by.to_string(), "from": from } });
            (format!("stop {agent} {process}"), detail)
        }
        Effect::Restart { process, agent, by, from } => {
            let detail =
                json!({ "restart": { "process": process, "agent": agent, "by": by.to_string(), "from": from } });
            (format!("restart {agent} {process}"), detail)
        }
        Effect::Terminate { process, agent, reason } => {
            let detail = json!({ "terminate": { "process": process, "agent": agent, "reason": reason } });
            (format!("end {agent} {process}: {reason}"), detail)
        }
        Effect::Suspend { process, agent, by, from } => {
            let detail =
                json!({ "suspend": { "process": process, "agent": agent, "by": by.to_string(), "from": from } });
            (format!("suspend {agent} {process}"), detail)
        }
        Effect::Resume { process, agent, by, from } => {
            let detail =
                json!({ "resume": { "process": process, "agent": agent, "by": by.to_string(), "from": from } });
            (format!("resume {agent} {process}"), detail)
        }
    }
}

fn cron_fired(fired: &CronFired) -> (String, Value) {
    let scheduled = fired.scheduled.map(text::time);
    let why = fired.result.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
    let words = format!("{} #{} {}{why}", fired.job, fired.intent, fired.result.name());
    let detail = json!({
        "job": fired.job.to_string(), "intent": fired.intent, "scheduled": scheduled, "message": fired.message,
        "result": fired.result.name(), "reason": fired.result.reason(),
    });
    (words, detail)
}

fn message(record: &MessageRecord) -> (String, Value) {
    let detail = json!({
        "stage": record.stage, "message": record.message, "trace": record.trace,
        "from": { "node": record.from.node, "principal": record.from.principal.to_string() },
        "target": record.target, "peer": record.peer, "rule": record.rule,
        "body_hash": record.body_hash, "body_bytes": record.body_bytes,
        "body": record.body.as_ref().map(Body::from),
    });
    let stage = detail["stage"].as_str().unwrap_or_default();
    let words = format!("{stage} {} {}, {} bytes", record.trace, record.target, record.body_bytes);
    (words, detail)
}

fn admission(admitted: &Admitted) -> (String, Value) {
    let Ok(certificate) = admitted.certificate.peek() else {
        return ("a certificate that this version cannot read".to_owned(), json!({ "invite": admitted.invite }));
    };
    let node = certificate.keys.node();
    let detail = json!({
        "node": node, "name": certificate.name, "role": certificate.role, "issuer": certificate.issuer,
        "issued_at": text::time(certificate.issued), "not_after": certificate.not_after.map(text::time),
        "invite": admitted.invite,
    });
    (format!("{} as {}", certificate.name, certificate.role), detail)
}

/// Facts that hold nothing but ids, names and numbers.
fn to_json(fact: &impl serde::Serialize) -> Value {
    serde_json::to_value(fact).unwrap_or(Value::Null)
}

fn anchor_words(anchored: &Anchored) -> String {
    let backend = match anchored.backend {
        AnchorBackend::File => "file",
        AnchorBackend::OpenTimestamps => "opentimestamps",
    };
    let step = match &anchored.step {
        AnchorStep::Intended => "is to be held by".to_owned(),
        AnchorStep::Done => "is held by".to_owned(),
        AnchorStep::Attested { height } => format!("is in Bitcoin block {height}, says"),
        AnchorStep::Failed(reason) => format!("could not be held ({reason}) by"),
    };
    format!(
        "checkpoint {} over {} events {step} {backend} {}",
        anchored.head.commit_no, anchored.head.size, anchored.place
    )
}

fn bodies(count: u64) -> String {
    if count == 1 { "1 body".to_owned() } else { format!("{count} bodies") }
}
