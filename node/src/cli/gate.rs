//! `weft gate …`: the rules, what they decide and why, and what waits for a person.

use std::path::Path;

use weft_protocol::control::{
    AmendRequest, AmendmentRow, AmendmentsReport, DecisionReport, DecisionRequest, DeferralRow, GateExplainReport,
    GateLogReport, GatePendingReport, GateRulesReport,
};
use weft_protocol::{DeferralId, PersonName, Rule, Thousandths};

use super::args::{AmendArgs, DecideArgs, ExplainArgs, GateCommand};
use super::client::{Client, segment};
use super::output::{Output, ago, bad, good, table};
use super::{At, CliError};

/// `weft gate …`.
pub(crate) async fn gate(command: &GateCommand, before: &At) -> Result<(), CliError> {
    match command {
        GateCommand::Rules(only) => rules(&only.at.or(before)).await,
        GateCommand::Explain(args) => explain(args, &args.at.or(before)).await,
        GateCommand::Pending(only) => pending(&only.at.or(before)).await,
        GateCommand::Approve(args) => {
            decide(args.id, &args.name, args.why.clone(), "approve", &args.at.or(before)).await
        }
        GateCommand::Deny(args) => deny(args, &args.at.or(before)).await,
        GateCommand::Amend(args) => amend(args, &args.at.or(before)).await,
        GateCommand::Endorse { which, at } => {
            let at = at.or(before);
            let path = format!("/v1/gate/amendments/{}/endorse", segment(which));
            let report: AmendmentRow = Client::of(&at)?.post(&path, &serde_json::json!({})).await?;
            Output::new(at.json).report(&report, amended)
        }
        GateCommand::Amendments(only) => amendments(&only.at.or(before)).await,
        GateCommand::Log { last, at } => log(*last, &at.or(before)).await,
    }
}

async fn rules(at: &At) -> Result<(), CliError> {
    let report: GateRulesReport = Client::of(at)?.get("/v1/gate/rules").await?;
    Output::new(at.json).report(&report, |report| {
        let own = report.capability.iter().map(|rule| {
            [
                rule.id.clone(),
                "-".to_owned(),
                "-".to_owned(),
                rule.description.clone(),
                "tried in this order".to_owned(),
            ]
        });
        let given = report
            .rules
            .iter()
            .map(|rule| [&rule.id, &rule.branch, &rule.severity, &rule.description, &rule.when].map(Clone::clone));
        let header = ["rule", "branch", "severity", "what it is for", "applies to"];
        let mut text = table(header, own.chain(given).collect(), "");
        let threshold = Thousandths(report.threshold);
        let line = format!(
            "\nversion {}, environment {}: a magnitude over {threshold} is large here",
            report.version, report.environment
        );
        text.push_str(&line);
        if !report.effects.is_empty() {
            text.push_str(&format!("\nweighed heavier here: {}", report.effects.join(", ")));
        }
        text
    })
}

async fn explain(args: &ExplainArgs, at: &At) -> Result<(), CliError> {
    let mut path = format!(
        "/v1/gate/explain?agent={}&action={}&resource={}",
        segment(&args.agent),
        segment(&args.action),
        segment(&args.resource)
    );
    if let Some(environment) = args.env {
        path.push_str(&format!("&environment={environment}"));
    }
    if let Some(role) = args.role {
        path.push_str(&format!("&role={role}"));
    }
    let report: GateExplainReport = Client::of(at)?.get(&path).await?;
    Output::new(at.json).report(&report, explained)
}

fn explained(report: &GateExplainReport) -> String {
    let decision = match &*report.decision {
        "permit" => good("permitted"),
        "defer" => bad("deferred to a person"),
        _ => bad("denied"),
    };
    let who = report
        .role
        .as_ref()
        .map_or_else(|| report.agent.clone(), |role| format!("{} of another node, {role}", report.agent));
    let grant = report.grant.as_ref().map(|grant| format!(", grant {grant}")).unwrap_or_default();
    let effects =
        report.effects.iter().map(|(name, part)| format!("{name} {}", Thousandths(*part))).collect::<Vec<_>>();
    let effects = if effects.is_empty() { "none".to_owned() } else { effects.join(", ") };
    let mut text = format!(
        "{who} {} {} in {}: {decision} by rule {}{grant}\n\
         effects    {effects}\n\
         magnitude  {} of {} (rules version {})",
        report.action,
        report.resource,
        report.environment,
        report.rule,
        Thousandths(report.magnitude),
        Thousandths(report.threshold),
        report.rules_version
    );
    for rule in &report.applying {
        text.push_str(&format!(
            "\n{}  {}, {}: {} ({})",
            rule.id, rule.branch, rule.severity, rule.description, rule.when
        ));
    }
    if report.applying.is_empty() {
        text.push_str("\nno governance rule applies");
    }
    text
}

async fn pending(at: &At) -> Result<(), CliError> {
    let report: GatePendingReport = Client::of(at)?.get("/v1/gate/pending").await?;
    Output::new(at.json).report(&report, |report| {
        let header = ["id", "by", "action", "on", "rule", "asked", "until", "state", "why"];
        table(header, report.pending.iter().map(row).collect(), "nothing waits for a person")
    })
}

fn row(one: &DeferralRow) -> [String; 9] {
    let state = match &one.decided_by {
        Some(name) => format!("{} by {name}", one.state),
        None => one.state.clone(),
    };
    [
        one.id.clone(),
        one.by.clone(),
        one.action.clone(),
        one.resource.clone(),
        one.rule.clone(),
        ago(&one.asked_at),
        one.expires_at.clone(),
        state,
        one.why.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}

async fn deny(args: &DecideArgs, at: &At) -> Result<(), CliError> {
    if args.why.is_none() {
        return Err(CliError::new("usage", "who denies says why")
            .hint(format!("weft gate deny {} --as {} --why TEXT", args.id, args.name)));
    }
    decide(args.id, &args.name, args.why.clone(), "deny", at).await
}

async fn decide(id: DeferralId, name: &PersonName, why: Option<String>, what: &str, at: &At) -> Result<(), CliError> {
    let request = DecisionRequest { name: name.to_string(), why };
    let report: DecisionReport = Client::of(at)?.post(&format!("/v1/gate/pending/{id}/{what}"), &request).await?;
    Output::new(at.json).report(&report, |report| {
        let next = if report.state == "approved" { "; whoever asked may repeat it once" } else { "" };
        format!("{} {} {} is {} by {}{next}", report.id, report.action, report.resource, report.state, report.name)
    })
}

async fn amend(args: &AmendArgs, at: &At) -> Result<(), CliError> {
    let (change, file) = match (&args.add, &args.replace) {
        (Some(file), _) => ("add", Some(file)),
        (None, Some(file)) => ("replace", Some(file)),
        (None, None) => ("retire", None),
    };
    let request = AmendRequest {
        branch: args.branch.to_string(),
        change: change.to_owned(),
        rule: file.map(|file| rule_of(file)).transpose()?,
        id: args.retire.as_ref().map(ToString::to_string),
    };
    let report: AmendmentRow = Client::of(at)?.post("/v1/gate/amendments", &request).await?;
    Output::new(at.json).report(&report, amended)
}

/// The rule that a TOML file says.
fn rule_of(path: &Path) -> Result<serde_json::Value, CliError> {
    let wrong = |error: &dyn std::fmt::Display| {
        CliError::new("invalid", format!("{}: {error}", path.display())).hint("weft gate rules shows how rules look")
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    let rule: Rule = toml::from_str(&text).map_err(|error| wrong(&error.message()))?;
    rule.check()?;
    serde_json::to_value(rule).map_err(|error| wrong(&error))
}

fn amended(report: &AmendmentRow) -> String {
    let wanted = format!("{} of {} admins want it", report.support, report.admins);
    let state = if report.in_force { "in force" } else { "proposed; other admins: weft gate endorse" };
    let id = super::short(&report.id);
    format!("version {} {}: {wanted}, {state} ({id})", report.version, report.change)
}

async fn amendments(at: &At) -> Result<(), CliError> {
    let report: AmendmentsReport = Client::of(at)?.get("/v1/gate/amendments").await?;
    Output::new(at.json).report(&report, |report| {
        let header = ["id", "version", "branch", "change", "proposed by", "wanted by", "of", "refused"];
        let rows = report.amendments.iter().map(|one| {
            let refused = one.refused.clone().unwrap_or_else(|| "-".to_owned());
            let (support, admins) = (one.support.to_string(), one.admins.to_string());
            let version = one.version.to_string();
            [
                one.id.clone(),
                version,
                one.branch.clone(),
                one.change.clone(),
                one.proposer.clone(),
                support,
                admins,
                refused,
            ]
        });
        let empty = format!("version {} is in force, and nothing is proposed", report.version);
        table(header, rows.collect(), &empty)
    })
}

async fn log(last: usize, at: &At) -> Result<(), CliError> {
    let report: GateLogReport = Client::of(at)?.get(&format!("/v1/gate/log?last={last}")).await?;
    Output::new(at.json).report(&report, |report| {
        let header = ["event", "at", "what", "rules", "in words"];
        let rows = report.decisions.iter().map(|one| {
            let rules = if one.rules.is_empty() { "-".to_owned() } else { one.rules.join(" ") };
            [one.seq.to_string(), one.at.clone(), one.kind.clone(), rules, one.summary.clone()]
        });
        table(header, rows.collect(), "no decision has an event of its own yet")
    })
}
