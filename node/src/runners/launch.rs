//! How a child process is started: its folder, its log, its socket, what it may touch, and the guard over it.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use tokio::process::Child;
use weft_protocol::{AgentSpec, Backend, ProcessId};

use crate::runners::agent_log::AgentLog;
use crate::runners::api_socket::ApiSocket;
use crate::runners::command::guard_command;
use crate::runners::confinement::{Confinement, Protected, find_program, without_shell};
use crate::runners::{Shared, variable};
use crate::shim::Plan;

/// A started guard and what belongs to it.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) child: Child,
    pub(crate) guard: u32,
    pub(crate) socket: ApiSocket,
    pub(crate) log: AgentLog,
    /// Its working folder.
    pub(crate) folder: PathBuf,
}

/// Why nothing runs.
#[derive(Debug)]
pub(crate) enum NotLaunched {
    /// It cannot be started.
    Failed(String),
    /// What its sandbox demands cannot be had here.
    Unenforceable(String),
}

impl From<String> for NotLaunched {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

impl From<&str> for NotLaunched {
    fn from(reason: &str) -> Self {
        Self::Failed(reason.to_owned())
    }
}

/// Starts the guard, which will start the program. Everything that can be wrong without it is found here.
///
/// # Errors
/// Why the agent cannot start, for whoever wants to start it. Nothing runs then.
pub(crate) fn launch(shared: &Shared, process: ProcessId, spec: &AgentSpec) -> Result<Launch, NotLaunched> {
    let config = &shared.config;
    let Backend::Command { command, environment, trusted } = &spec.backend else {
        return Err("it is not a program".into());
    };
    let (word, arguments) = command.split_first().ok_or("the command is empty")?;
    let home = fs::canonicalize(&config.home).map_err(|error| at(&config.home, &error))?;
    let person = variable("HOME").map(PathBuf::from);
    let protected = Protected::new(&home, person.as_deref())?;
    let search = variable("PATH");
    let program = find_program(word, search.as_deref())?;
    let (program, arguments) = match &spec.sandbox {
        Some(sandbox) if !sandbox.allow_shell => {
            without_shell(program, arguments, search.as_deref()).map_err(NotLaunched::Unenforceable)?
        }
        Some(_) | None => (program, arguments.to_vec()),
    };
    let folder = home.join("agents").join(spec.agent.as_str());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|error| at(&folder, &error))?;
    let logs = home.join("logs");
    let log = AgentLog::open(&logs, spec.agent.as_str()).map_err(|error| at(&logs, &error))?;
    let name = format!("{}.{}-{}.sock", process.index, process.generation, std::process::id());
    let socket = ApiSocket::bind(&home, &name).map_err(|error| format!("the agent's own socket: {error}"))?;

    let mut environment = environment.clone();
    environment.insert("WEFT_AGENT".to_owned(), spec.agent.to_string());
    environment.insert("WEFT_NODE".to_owned(), config.node_name.to_string());
    environment.insert("WEFT_API".to_owned(), text(socket.path())?);
    let sandbox = spec.sandbox.as_ref();
    let mut confinement = Confinement::new(&protected, &program, &arguments, &folder, socket.path(), sandbox);
    if let Some(sandbox) = sandbox {
        let real = fs::canonicalize(&program).map_err(|error| at(&program, &error))?;
        confinement.narrow(sandbox, &protected, &real).map_err(NotLaunched::Unenforceable)?;
    }
    let plan = Plan {
        node: std::process::id(),
        confinement,
        sandbox: spec.sandbox.clone(),
        program,
        arguments,
        environment,
        trusted: *trusted,
        limits: spec.limits.clone(),
    };
    let plan = serde_json::to_string(&plan).map_err(|error| format!("the agent cannot be described: {error}"))?;
    let child = guard_command(&config.exe, &plan, &folder).spawn();
    let child = child.map_err(|error| format!("its guard cannot be started: {error}"))?;
    let guard = child.id().ok_or("its guard ended at once")?;
    shared.processes.insert(guard);
    Ok(Launch { child, guard, socket, log, folder })
}

fn at(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

fn text(path: &Path) -> Result<String, String> {
    path.to_str().map(ToOwned::to_owned).ok_or_else(|| format!("{} is not UTF-8", path.display()))
}
