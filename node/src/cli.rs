//! The command line: what was typed, who carries it out, and how it ends.
//!
//! Modules in reading order: `args` (all that can be typed), `error` (how a command fails), `output`, `client` (the way to a
//! running node); then the commands: `start` with `up` and `join`, `status`, `members`, `path`, `agents` with `bonds`, `services`, `messages`,
//! `topics`, `cron`, `health`, `trace`, `chain`, `evidence`, `tree`,
//! `offline` (what needs no node), `config`, `doctor`, `help`, `demo`, `sim` with `live_sim`, `bench`; last `log`, `nearest` and `words`.

mod agents;
mod anchor;
mod args;
mod bench;
mod bonds;
mod capabilities;
mod chain;
mod client;
mod config;
mod cron;
mod demo;
mod doctor;
mod error;
mod evidence;
mod gate;
mod health;
mod help;
mod identity;
mod join;
mod live_sim;
mod log;
mod members;
mod messages;
mod nearest;
mod offline;
mod output;
mod parts;
mod path;
mod prune;
mod services;
mod sim;
mod start;
mod status;
mod topics;
mod trace;
mod tree;
mod up;
mod words;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use self::args::{At, Cli, Command};
use self::output::Output;

pub(crate) use self::args::bytes;
pub(crate) use self::error::CliError;
pub(crate) use self::evidence::EVIDENCE_FORMAT;
#[cfg(test)]
pub(crate) use self::join::token_of;
pub(crate) use self::log::{LogFilter, check_filter};
pub(crate) use self::nearest::nearest;
pub(crate) use self::offline::PROOF_FORMAT;
pub(crate) use self::output::{plural, short};
pub(crate) use self::tree::TREE_PROOF_FORMAT;

/// Carries out what was typed; the exit code is one of [`error::exit`].
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse_usage(error),
    };
    // Before anything starts a thread: the shim confines the process that it is, and the guard needs none.
    match &cli.command {
        Command::Child(args) => return crate::shim::main(&args.words),
        Command::DemoGuard(args) => {
            demo::guard(args);
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let json = is_json(&cli);
    let result = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run(cli)),
        Err(error) => Err(CliError::new("failed", format!("no threads: {error}"))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            Output::new(json).error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

async fn run(cli: Cli) -> Result<(), CliError> {
    let before = &cli.at;
    match &cli.command {
        Command::Demo(args) => demo::run(args).await,
        Command::Up(args) => up::up(args, &args.at.or(before)).await,
        Command::Leave(only) => status::leave(&only.at.or(before)).await,
        Command::Down(only) => status::down(&only.at.or(before)).await,
        Command::Status(only) => status::status(&only.at.or(before)).await,
        Command::Invite(args) => members::invite(args, before).await,
        Command::Join(args) => join::join(args, &args.at.or(before)).await,
        Command::Members(args) => members::members(args, before).await,
        Command::Path(args) => path::path(args, &args.at.or(before)).await,
        Command::Ping(args) => path::ping(args, &args.at.or(before)).await,
        Command::Evict(args) => members::change("evict", args, before).await,
        Command::Agent(command) => agents::agent(command, before).await,
        Command::Cap(command) => capabilities::capability(command, before).await,
        Command::Gate(command) => gate::gate(command, before).await,
        Command::Ps(only) => agents::ps(&only.at.or(before)).await,
        Command::Services(args) => services::services(args, before).await,
        Command::Send(args) => messages::send(args, &args.at.or(before)).await,
        Command::Call(args) => messages::call(args, &args.at.or(before)).await,
        Command::Pub(args) => messages::publish(args, &args.at.or(before)).await,
        Command::Sub(args) => messages::subscribe(args, &args.at.or(before)).await,
        Command::Cron(command) => cron::cron(command, before).await,
        Command::Health(only) => health::health(&only.at.or(before)).await,
        Command::Topics(only) => topics::topics(&only.at.or(before)).await,
        Command::Dlq(command) => topics::dlq(command, before).await,
        Command::Trace(args) => trace::trace(&args.id, &args.at.or(before)).await,
        Command::Chain(command) => chain::chain(command, before).await,
        Command::Tree(command) => tree::tree(command, before).await,
        Command::Order(args) => chain::order(args, &args.at.or(before)).await,
        Command::Sim(command) => sim::run(command).await,
        Command::Bench(command) => bench::run(command).await,
        Command::BenchStock(args) => bench::serve_stock(args).await,
        Command::Identity(command) => identity::identity(command, before).await,
        Command::BootLog(only) => status::boot_log(&only.at.or(before)).await,
        Command::Config(command) => config::config(command, before).await,
        Command::Doctor(args) => doctor::doctor(args, &args.at.or(before)).await,
        Command::Help(args) => help::help(args, args.json || before.json),
        Command::Completions(args) => completions(args.shell, args.json || before.json),
        Command::DemoGuard(_) | Command::Child(_) => Err(CliError::new("failed", "BUG: this command needs no runtime")),
    }
}

fn completions(shell: clap_complete::Shell, json: bool) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "weft", &mut script);
    let report = serde_json::json!({ "shell": shell.to_string(), "script": String::from_utf8_lossy(&script) });
    Output::new(json).report(&report, |report| report["script"].as_str().unwrap_or_default().to_owned())
}

/// Whether `--json` was given, before the command or among its arguments.
fn is_json(cli: &Cli) -> bool {
    cli.at.json || asked_for_json()
}

/// Whether the words that were typed ask for JSON: also when they could not be understood as a whole.
fn asked_for_json() -> bool {
    std::env::args_os().skip(1).take_while(|word| word != "--").any(|word| word == "--json")
}

/// Help and version go where they were asked for; everything else is one line, or one object.
fn refuse_usage(error: clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _reader_is_gone = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(error::exit::USAGE))
        }
        _ => {
            let error = usage(error, std::env::args_os().skip(1));
            Output::new(asked_for_json()).error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Clap's paragraphs as one sentence and what could be typed instead; of a value that is wrong clap tells no usage, so the
/// help of its command is named.
fn usage(error: clap::Error, typed: impl Iterator<Item = std::ffi::OsString>) -> CliError {
    let rendered = without_hidden(error).render().to_string();
    let paragraphs = rendered.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    let (mut message, mut hint) = (Vec::new(), String::new());
    for paragraph in paragraphs {
        if let Some(usage) = paragraph.strip_prefix("Usage: ") {
            usage.clone_into(&mut hint);
        } else if let Some(sentence) = paragraph.strip_prefix("error: ") {
            message.push(sentence.to_owned());
        } else if let Some(tip) = paragraph.strip_prefix("tip: ") {
            message.push(tip.to_owned());
        }
    }
    if hint.is_empty() {
        hint = format!("{} --help", command_of(typed));
    }
    CliError::new("usage", message.join("; ")).hint(hint)
}

/// The same error without commands among what is proposed that nobody is to type.
fn without_hidden(mut error: clap::Error) -> clap::Error {
    use clap::error::{ContextKind, ContextValue};
    if let Some(ContextValue::Strings(names)) = error.get(ContextKind::SuggestedSubcommand) {
        let root = Cli::command();
        let is_shown =
            |name: &&String| root.find_subcommand(name.as_str()).is_none_or(|command| !command.is_hide_set());
        let shown = names.iter().filter(is_shown).cloned().collect::<Vec<_>>();
        if shown.is_empty() {
            error.remove(ContextKind::SuggestedSubcommand);
        } else {
            error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(shown));
        }
    }
    error
}

/// The command that was typed, without its arguments.
fn command_of(typed: impl Iterator<Item = std::ffi::OsString>) -> String {
    let mut command = Cli::command();
    let mut words = vec!["weft".to_owned()];
    for word in typed {
        if let Some(found) = word.to_str().and_then(|word| command.find_subcommand(word)).cloned() {
            words.push(found.get_name().to_owned());
            command = found;
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(words: &[&str]) -> String {
        let error = Cli::try_parse_from(["weft"].iter().chain(words)).expect_err("wrong");
        usage(error, words.iter().map(std::ffi::OsString::from)).to_string()
    }

    #[test]
    fn usage_errors_are_one_line_with_the_nearest_right_word() {
        assert_eq!(
            refused(&["statsu"]),
            "unrecognized subcommand 'statsu'; a similar subcommand exists: 'status' (nothing changed); \
             next: weft [OPTIONS] <COMMAND>"
        );
        assert_eq!(
            refused(&["dmeo"]),
            "unrecognized subcommand 'dmeo'; a similar subcommand exists: 'demo' (nothing changed); \
             next: weft [OPTIONS] <COMMAND>",
            "and no command that is hidden"
        );
        assert_eq!(
            refused(&["call", "echo"]),
            "the following required arguments were not provided: <TEXT> (nothing changed); \
             next: weft call <TARGET> <TEXT>"
        );
        assert_eq!(
            refused(&["call", "echo", "hi", "--deadline", "soon"]),
            "invalid value 'soon' for '--deadline <TIME>': not a duration (500ms, 5s, 1h) (nothing changed); \
             next: weft call --help"
        );
        let scope = refused(&["--home", "/h", "agent", "spawn", "x", "--builtin", "echo", "--ipc-scope", "some"]);
        assert!(scope.starts_with("invalid value 'some' for '--ipc-scope <SCOPE>': "), "{scope}");
        assert!(scope.ends_with(" (nothing changed); next: weft agent spawn --help"), "{scope}");
    }
}
