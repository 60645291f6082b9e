//! What can be typed: every command with its arguments.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use weft_protocol::control::ProbeJson;
use weft_protocol::limits::{CERTIFICATE_US_MAX, CERTIFICATE_US_MIN};
use weft_protocol::{
    AgentName, AllowedPath, AuditLevel, Branch, BuiltinKind, CronId, DeferralId, Environment, GrantId, GrantSpec,
    GroupName, InviteId, IpcScope, Level, MessageId, Millionths, MissedRule, NodeId, NodeName, NodeRef, PersonName,
    Resource, RestartPolicy, Role, RuleId, ServiceName, Signal, Strategy, TopicName, TopicPattern,
};

use super::live_sim::fault;

mod sim;

pub(crate) use self::sim::{
    SimCommand, SimFaultCommand, SimOnlyJson, SimReplayArgs, SimRunArgs, SimScenariosArgs, SimUpArgs, SimWaitCommand,
};

/// One binary that makes this machine a peer of a mesh of agents.
#[derive(Debug, Parser)]
#[command(name = "weft", version, arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) at: At,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which node is meant, and how to answer.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct At {
    /// The home folder of the node [env: WEFT_HOME]
    #[arg(long, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// The node, by name: its home is $XDG_DATA_HOME/weft/NAME
    #[arg(long, value_name = "NAME", conflicts_with = "home")]
    pub(crate) node: Option<NodeName>,
    /// Answer in JSON: one object, or one on each line
    #[arg(long)]
    pub(crate) json: bool,
}

/// The same, for commands whose own `--node` means something else; theirs goes before the command: `weft --node NAME …`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AtHome {
    /// The home folder of the node [env: WEFT_HOME]
    #[arg(long, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Answer in JSON: one object, or one on each line
    #[arg(long)]
    pub(crate) json: bool,
}

impl From<&AtHome> for At {
    fn from(at: &AtHome) -> Self {
        Self { home: at.home.clone(), node: None, json: at.json }
    }
}

impl At {
    /// These arguments, and those before the command where they say nothing.
    #[must_use]
    pub(crate) fn or(&self, before: &Self) -> Self {
        let named = self.home.is_some() || self.node.is_some();
        let (home, node) = if named { (&self.home, &self.node) } else { (&before.home, &before.node) };
        Self { home: home.clone(), node: node.clone(), json: self.json || before.json }
    }
}

/// Every command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start three real nodes on loopback, let agents call across them, verify everything, tidy up
    Demo(DemoArgs),
    /// Start a node and keep it running until Ctrl-C or `weft down`
    Up(UpArgs),
    /// Take the node down in order
    Down(OnlyAt),
    /// Let other nodes run the agents that outlive this one, then take it down in order
    Leave(OnlyAt),
    /// Show the node
    Status(OnlyAt),
    /// Make the word that lets another node join; list and revoke such words
    Invite(InviteArgs),
    /// Join the cluster that a token invites to, then run
    Join(JoinArgs),
    /// Show the members of the cluster
    Members(MembersArgs),
    /// Show how a member is reached: directly or through another, over what, how fast
    Path(PathArgs),
    /// Ask a member whether it answers, a few times
    Ping(PingArgs),
    /// Make a node a member no longer, for ever, as soon as more than half agree
    Evict(MemberArgs),
    /// Start, list, inspect, stop, restart, suspend and signal agents; print their logs
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Give rights to agents, list them, take them back
    #[command(subcommand)]
    Cap(CapabilityCommand),
    /// Rules: what is in force, what would be decided and why, what waits for a person
    #[command(subcommand)]
    Gate(GateCommand),
    /// Show the agents of the whole cluster
    Ps(OnlyAt),
    /// Show what is served in the cluster; serve under a name, inspect contracts
    Services(ServicesArgs),
    /// Send a message that wants no answer
    Send(SendArgs),
    /// Send a message and wait for its answer
    Call(CallArgs),
    /// Publish to a topic
    Pub(PubArgs),
    /// Print what is published to a topic
    Sub(SubArgs),
    /// Send messages at certain times
    #[command(subcommand)]
    Cron(CronCommand),
    /// Show how the node and its agents are
    Health(OnlyAt),
    /// Show topics: who published last, who listens, what is remembered
    Topics(OnlyAt),
    /// Messages that were given up: list them, send one once more, throw one away
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Show what all concerned nodes recorded of a conversation
    Trace(TraceArgs),
    /// Show, verify, prove and export the record of everything
    #[command(subcommand)]
    Chain(ChainCommand),
    /// Show the resources of the cluster and their scores, prove that one is there, say how good one is
    #[command(subcommand)]
    Tree(TreeCommand),
    /// Print the total order of all events that are held
    Order(OrderArgs),
    /// Run the node in a simulated world
    #[command(subcommand)]
    Sim(SimCommand),
    /// Measure, beside limits measured in the same run
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Show who the node is and which chains it has written; begin a new one
    #[command(subcommand)]
    Identity(IdentityCommand),
    /// Show what was said of the node's start
    BootLog(OnlyAt),
    /// Show, check and reload the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look for what is wrong with a node, running or not, and say how to mend it
    Doctor(DoctorArgs),
    /// Explain a command, or the exit codes
    Help(HelpArgs),
    /// Print the completions of a shell
    Completions(CompletionsArgs),
    /// What tidies up after a demo, whatever became of it
    #[command(hide = true)]
    DemoGuard(super::demo::GuardArgs),
    /// The stock node that a benchmark compares with
    #[command(hide = true)]
    BenchStock(super::bench::StockArgs),
    /// What the node starts around each child process
    #[command(hide = true)]
    Child(ChildArgs),
}

/// A command without arguments of its own.
#[derive(Debug, Args)]
pub(crate) struct OnlyAt {
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Keep the homes of the three nodes in this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `weft up`.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// The name of a new node
    #[arg(long)]
    pub(crate) name: Option<NodeName>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    pub(crate) at: At,
}

/// How a node runs: of `up` and `join`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    /// Listen on this address instead of all interfaces; may be given again
    #[arg(long, value_name = "MULTIADDR")]
    pub(crate) listen: Vec<String>,
    /// Go on in the background, with the log in HOME/node.log
    #[arg(long)]
    pub(crate) detach: bool,
    /// How `--detach` starts the node: in a session of its own
    #[arg(long, hide = true)]
    pub(crate) background: bool,
    /// End, at once, when this process does, which started the node
    #[arg(long, hide = true, value_name = "PID")]
    pub(crate) end_with: Option<u32>,
    /// Run with a clock that is wrong, to see what that does (+30s, -5m)
    #[arg(long, hide = true, value_name = "TIME", value_parser = fault::offset_ms, allow_hyphen_values = true)]
    pub(crate) clock_offset: Option<i64>,
    /// Which log lines to write: error, warn, info, debug, trace, or tracing's directives
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// How log lines look
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<crate::config::LogFormat>,
    /// A setting of the configuration, by its key; may be given again
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    pub(crate) set: Vec<(String, String)>,
}

/// `weft join`.
#[derive(Debug, Args)]
pub(crate) struct JoinArgs {
    /// The word that `weft invite` printed
    pub(crate) token: String,
    /// The name to go by
    #[arg(long)]
    pub(crate) name: Option<NodeName>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft members`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct MembersArgs {
    #[command(subcommand)]
    pub(crate) command: Option<MembersCommand>,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft path`.
#[derive(Debug, Args)]
pub(crate) struct PathArgs {
    /// Name or id of the member
    #[arg(value_name = "NODE")]
    pub(crate) member: String,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft ping`.
#[derive(Debug, Args)]
pub(crate) struct PingArgs {
    /// Name or id of the member
    #[arg(value_name = "NODE")]
    pub(crate) member: String,
    /// How often
    #[arg(long, short, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) count: u32,
    /// How long from one to the next
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub(crate) interval: Duration,
    /// How long one answer may take
    #[arg(long, default_value = "2s", value_parser = duration)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft members …`.
#[derive(Debug, Subcommand)]
pub(crate) enum MembersCommand {
    /// Wait for a silent member no longer, until it is resumed
    Suspend(MemberArgs),
    /// Let a suspended member count again
    Resume(MemberArgs),
    /// Make a node a member no longer, for ever
    Evict(MemberArgs),
    /// Let the newest chain of a member count in place of the one before, also when it was cut off for a fork
    Readmit(MemberArgs),
}

/// Whom a change of who counts is about.
#[derive(Debug, Args)]
pub(crate) struct MemberArgs {
    /// Name or id of the member
    #[arg(value_name = "NODE")]
    pub(crate) member: String,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft invite`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct InviteArgs {
    #[command(subcommand)]
    pub(crate) command: Option<InviteCommand>,
    /// As what the node is admitted: admin, worker or observer
    #[arg(long, default_value_t = Role::Worker)]
    pub(crate) role: Role,
    /// For how long the token is good
    #[arg(long, default_value = "1h", value_parser = duration)]
    pub(crate) ttl: Duration,
    /// For how many nodes
    #[arg(long, default_value_t = 1)]
    pub(crate) uses: u32,
    /// How long the certificates of those who join by it last, 1m to 3650d; until they are evicted, without one
    #[arg(long, value_name = "DURATION", value_parser = certificate_life)]
    pub(crate) certificate_ttl: Option<Duration>,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft invite …`.
#[derive(Debug, Subcommand)]
pub(crate) enum InviteCommand {
    /// List the invites of this node
    Ls(OnlyAt),
    /// Take an invite back
    Revoke {
        /// Its id, as `weft invite ls` shows it
        id: InviteId,
        #[command(flatten)]
        at: At,
    },
}

/// `weft agent …`.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Start an agent on this node, or on another one
    Spawn(Box<SpawnArgs>),
    /// List the agents of this node
    Ls(OnlyAt),
    /// Show everything about an agent
    Inspect(OneAgentArgs),
    /// Stop an agent
    Stop(OneAgentArgs),
    /// Stop an agent and start it again; start one that was given up
    Restart(OneAgentArgs),
    /// Let an agent stand still; what is for it waits
    Suspend(OneAgentArgs),
    /// Let a suspended agent go on
    Resume(OneAgentArgs),
    /// Send a signal to an agent
    Signal(SignalArgs),
    /// Tie two agents of this node to each other: when one fails the other ends too, or is told when it traps exits
    Link(LinkArgs),
    /// Undo a link
    Unlink(LinkArgs),
    /// Let an agent of this node hear of another agent's end, on whichever node
    Monitor(MonitorArgs),
    /// Let it hear of that no longer
    Demonitor(MonitorArgs),
    /// Print what an agent of this node wrote to its error output and said with `log`
    Logs(LogsArgs),
}

/// `weft agent spawn`.
#[derive(Debug, Args)]
pub(crate) struct SpawnArgs {
    /// Its name; of a built-in agent its kind too, without --builtin
    pub(crate) name: String,
    /// A built-in agent: echo, counter, clock or load
    #[arg(long, value_name = "KIND", conflicts_with = "exec")]
    pub(crate) builtin: Option<BuiltinKind>,
    /// A program that speaks JSON-RPC lines on stdin and stdout; quotes group words, no shell is involved
    #[arg(long, value_name = "CMD")]
    pub(crate) exec: Option<String>,
    /// A WebAssembly module; no node of this version can run one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["builtin", "exec", "image", "tee"])]
    pub(crate) wasm: Option<String>,
    /// The image of a container; no node of this version can run one
    #[arg(long, value_name = "REF", conflicts_with_all = ["builtin", "exec", "tee"])]
    pub(crate) image: Option<String>,
    /// A trusted execution environment; no node of this version knows one
    #[arg(long, value_name = "ENCLAVE", conflicts_with_all = ["builtin", "exec"])]
    pub(crate) tee: Option<String>,
    /// What it may do: call:echo@beta, send:*, publish:jobs.*, subscribe:jobs; may be given again
    #[arg(long, value_name = "RIGHT:PATTERN")]
    pub(crate) grant: Vec<GrantSpec>,
    /// When it is started again: permanent (unless it was stopped), transient (after an abnormal end) or temporary (never)
    #[arg(long, value_name = "POLICY", default_value_t = RestartPolicy::Temporary)]
    pub(crate) restart: RestartPolicy,
    /// The group it is supervised in: shop, or shop/workers below it
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<GroupName>,
    /// How that group restarts: one-for-one, one-for-all or rest-for-one
    #[arg(long, value_name = "STRATEGY", requires = "group")]
    pub(crate) strategy: Option<Strategy>,
    /// A bound: memory=64MiB, cpu=10s, disk=10MiB, messages=1000 or tool-calls=100, or =none; may be given again
    #[arg(long, value_name = "WHAT=BOUND", value_parser = limit)]
    pub(crate) limit: Vec<Limit>,
    /// How it is found out whether it works: liveness=message,interval=2s,timeout=500ms or readiness=…; may be given again
    #[arg(long, value_name = "KIND=CHECK,…", value_parser = super::health::probe)]
    pub(crate) probe: Vec<ProbeJson>,
    /// A service that somebody must serve before it starts; may be given again
    #[arg(long, value_name = "SERVICE")]
    pub(crate) needs: Vec<ServiceName>,
    /// With whom it exchanges messages, both ways: all, parent-only, restricted:a,b@NODE-ID, topic:jobs.* or none
    #[arg(long, value_name = "SCOPE")]
    pub(crate) ipc_scope: Option<IpcScope>,
    /// A path of the machine that the program may read (ro, the default) or also write (rw), with all below it; may be given again
    #[arg(long, value_name = "PATH[:ro|:rw]", conflicts_with = "trusted")]
    pub(crate) allow_path: Vec<AllowedPath>,
    /// A path of what every program may read that this one may not, with all below it; may be given again
    #[arg(long, value_name = "PATH", conflicts_with = "trusted")]
    pub(crate) deny_path: Vec<String>,
    /// Keep the program from the network; its own calls to the node go on
    #[arg(long, conflicts_with = "trusted")]
    pub(crate) no_network: bool,
    /// Keep the program from starting others, shells among them
    #[arg(long, conflicts_with = "trusted")]
    pub(crate) no_shell: bool,
    /// Tell it of the ends of those it is linked to, instead of ending it with them
    #[arg(long)]
    pub(crate) trap_exits: bool,
    /// A variable of its environment; may be given again
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,
    /// Let the program run even where the kernel cannot confine it
    #[arg(long)]
    pub(crate) trusted: bool,
    /// Start it on that node, if its gate permits it; --exec then names a program of that machine, which runs in that node's
    /// home and under the bounds of its configuration
    #[arg(long, value_name = "NODE", conflicts_with = "trusted")]
    pub(crate) on: Option<NodeRef>,
    /// Start it on a node with that label, as the configuration of the node says; may be given again
    #[arg(long = "where", value_name = "LABEL=VALUE", value_parser = variable, conflicts_with_all = ["trusted", "on"])]
    pub(crate) labels: Vec<(String, String)>,
    /// Start it on the node where the fewest agents run
    #[arg(long, conflicts_with_all = ["trusted", "on"])]
    pub(crate) least_loaded: bool,
    /// Start it on another node when its own is dead or leaves; needs three members that count
    #[arg(long, conflicts_with = "trusted")]
    pub(crate) failover: bool,
    /// How long that node may take
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "on")]
    pub(crate) deadline: Option<Duration>,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft cap …`.
#[derive(Debug, Subcommand)]
pub(crate) enum CapabilityCommand {
    /// Give an agent a right
    Grant(GrantArgs),
    /// Take a right back, with all that was passed on from it
    Revoke {
        /// Its id, as `weft cap ls` shows it
        id: GrantId,
        #[command(flatten)]
        at: At,
    },
    /// List the rights that stand
    Ls {
        /// Only what this agent holds
        agent: Option<String>,
        #[command(flatten)]
        at: At,
    },
}

/// `weft gate …`.
#[derive(Debug, Subcommand)]
pub(crate) enum GateCommand {
    /// List the rules in force
    Rules(OnlyAt),
    /// Show which rule decides about something and why; nothing changes
    Explain(ExplainArgs),
    /// List what waits for a person
    Pending(OnlyAt),
    /// Approve what waits: whoever asked may repeat it once
    Approve(DecideArgs),
    /// Deny what waits, and say why
    Deny(DecideArgs),
    /// Propose to change one rule; more than half of the admins must want it
    Amend(AmendArgs),
    /// Endorse what another admin proposed
    Endorse {
        /// Its version, or the beginning of its id
        which: String,
        #[command(flatten)]
        at: At,
    },
    /// List what is proposed for the next version of the rules
    Amendments(OnlyAt),
    /// List the last decisions on this node's chain
    Log {
        /// How many
        #[arg(long, value_name = "N", default_value_t = 50)]
        last: usize,
        #[command(flatten)]
        at: At,
    },
}

/// `weft gate explain`.
#[derive(Debug, Args)]
#[command(after_help = actions())]
pub(crate) struct ExplainArgs {
    /// Who: operator, or the name of an agent
    pub(crate) agent: String,
    /// What, as listed below
    pub(crate) action: String,
    /// On what: an agent, a target, a topic; `call:echo for words` of a grant; node where there is nothing
    pub(crate) resource: String,
    /// In this environment: development, staging or production; as configured, without it
    #[arg(long, value_name = "ENVIRONMENT")]
    pub(crate) env: Option<Environment>,
    /// Coming from another node that is such a member: admin, worker or observer
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Option<Role>,
    #[command(flatten)]
    pub(crate) at: At,
}

fn actions() -> String {
    let mut names = weft_kernel::ActionKind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>();
    names.dedup();
    format!("Actions: {}", names.join(", "))
}

/// `weft gate amend`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("change").required(true).args(["add", "replace", "retire"])))]
pub(crate) struct AmendArgs {
    /// Whose rule it is: legislative, executive or judicial; no branch changes another's
    #[arg(long, value_name = "BRANCH")]
    pub(crate) branch: Branch,
    /// One more rule, as this TOML file says: id, description, branch, severity, when
    #[arg(long, value_name = "FILE")]
    pub(crate) add: Option<PathBuf>,
    /// The same, in place of the rule of its id
    #[arg(long, value_name = "FILE")]
    pub(crate) replace: Option<PathBuf>,
    /// The rule of this id is no more
    #[arg(long, value_name = "ID")]
    pub(crate) retire: Option<RuleId>,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft gate approve` and `deny`.
#[derive(Debug, Args)]
pub(crate) struct DecideArgs {
    /// Which, as `weft gate pending` shows it
    pub(crate) id: DeferralId,
    /// The name of the person who decides
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) name: PersonName,
    /// Why; whoever denies says so
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: Option<String>,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft cap grant`.
#[derive(Debug, Args)]
pub(crate) struct GrantArgs {
    /// Whom: worker, or worker@beta for whichever goes by that name there
    #[arg(value_name = "AGENT[@NODE]")]
    pub(crate) agent: String,
    /// What: call:echo@beta, send:*, publish:jobs.*, subscribe:jobs
    #[arg(value_name = "RIGHT:PATTERN")]
    pub(crate) grant: GrantSpec,
    /// For how long; for ever, without it
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) expires: Option<Duration>,
    /// How often it may be used, what is passed on from it included
    #[arg(long, value_name = "N")]
    pub(crate) uses: Option<u64>,
    #[command(flatten)]
    pub(crate) at: At,
}

/// One agent by name.
#[derive(Debug, Args)]
pub(crate) struct OneAgentArgs {
    /// Its name, or its process (#12.3); with @NODE on another one
    #[arg(value_name = "AGENT[@NODE]")]
    pub(crate) agent: String,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft agent link` and `unlink`.
#[derive(Debug, Args)]
pub(crate) struct LinkArgs {
    /// One of them, by its name or its process (#12.3)
    #[arg(value_name = "AGENT")]
    pub(crate) agent: String,
    /// The other
    #[arg(value_name = "OTHER")]
    pub(crate) with: String,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft agent monitor` and `demonitor`.
#[derive(Debug, Args)]
pub(crate) struct MonitorArgs {
    /// Who hears of it, by its name or its process (#12.3)
    #[arg(value_name = "WATCHER")]
    pub(crate) watcher: String,
    /// Of whose end: worker, worker@beta or #12.3@beta
    #[arg(value_name = "TARGET[@NODE]")]
    pub(crate) target: String,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft agent signal`.
#[derive(Debug, Args)]
pub(crate) struct SignalArgs {
    /// Its name, or its process (#12.3); with @NODE on another one
    #[arg(value_name = "AGENT[@NODE]")]
    pub(crate) agent: String,
    /// shutdown, kill, suspend, resume, ping, pong, reload-config, dump-state or user-defined:N
    pub(crate) signal: Signal,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft services`.
#[derive(Debug, Args)]
pub(crate) struct ServicesArgs {
    #[command(subcommand)]
    pub(crate) command: Option<ServicesCommand>,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft agent logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Its name, or its process (#12.3)
    pub(crate) agent: String,
    /// The last so many lines
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) lines: usize,
    /// Go on with every new line until Ctrl-C
    #[arg(long)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft services …`.
#[derive(Debug, Subcommand)]
pub(crate) enum ServicesCommand {
    /// List what is served in the cluster
    Ls(OnlyAt),
    /// Show who serves it and its contract
    Inspect(OneServiceArgs),
    /// Serve under a name by an agent of this node, until it is unregistered
    Register(RegisterArgs),
    /// Serve under it on this node no longer
    Unregister(OneServiceArgs),
}

/// One service by name.
#[derive(Debug, Args)]
pub(crate) struct OneServiceArgs {
    /// Its name
    pub(crate) service: ServiceName,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft services register`.
#[derive(Debug, Args)]
pub(crate) struct RegisterArgs {
    /// Its name
    pub(crate) service: ServiceName,
    /// The living agent of this node that answers
    #[arg(long, value_name = "AGENT")]
    pub(crate) agent: AgentName,
    /// A JSON file: {"version": …, "methods": {"NAME": {"input": SCHEMA, "output": SCHEMA}}}
    #[arg(long, value_name = "FILE")]
    pub(crate) contract: Option<PathBuf>,
    /// How calls are recorded: gate-only (a decision and a digest) or full (events with bodies)
    #[arg(long, value_name = "LEVEL", default_value = "gate-only")]
    pub(crate) audit: AuditLevel,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft send`.
#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    #[command(flatten)]
    pub(crate) message: MessageArgs,
    /// When to answer: routed, received or executed, each alone or with +durable or +witnessed (by a third member; by two:
    /// '+witnessed(2)')
    #[arg(long, value_name = "LEVEL", default_value = "received")]
    pub(crate) receipt: Level,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft call`.
#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    #[command(flatten)]
    pub(crate) message: MessageArgs,
    /// When to answer: executed, alone or with +durable or +witnessed (by a third member; by two: '+witnessed(2)'). durable
    /// alone means executed+durable
    #[arg(long, value_name = "LEVEL", default_value = "executed")]
    pub(crate) receipt: Level,
    /// Print each part of the answer as it comes, text as it is; with --json, one line each. The answer follows
    #[arg(long)]
    pub(crate) stream: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

/// What `send` and `call` have in common.
#[derive(Debug, Args)]
pub(crate) struct MessageArgs {
    /// echo, echo@beta, #12.3@beta, svc:words.count, kernel@beta or broadcast@beta
    pub(crate) target: String,
    /// What to send; - reads it from stdin. To a method of a service one JSON value is sent as JSON
    #[arg(required_unless_present_any = ["signal", "tool"])]
    pub(crate) text: Option<String>,
    /// Send this signal instead: shutdown, kill, suspend, resume, ping, pong, reload-config, dump-state or user-defined:N
    #[arg(long, value_name = "SIGNAL", conflicts_with = "text")]
    pub(crate) signal: Option<Signal>,
    /// Call this tool instead, as agent.inspect or cron.list of kernel@beta; TEXT is its arguments, one JSON object
    #[arg(long, value_name = "NAME", conflicts_with = "signal")]
    pub(crate) tool: Option<String>,
    /// It may be executed twice: a service that does not answer is tried at another provider
    #[arg(long)]
    pub(crate) idempotent: bool,
    /// How long it may take
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(crate) deadline: Duration,
}

/// `weft pub`.
#[derive(Debug, Args)]
pub(crate) struct PubArgs {
    /// Where: words joined by dots
    pub(crate) topic: TopicName,
    /// What to publish; - reads it from stdin
    pub(crate) text: String,
    /// Wait until so many subscribers are known in the cluster
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) wait_for: u64,
    /// How long to wait for them
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(crate) deadline: Duration,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft sub`.
#[derive(Debug, Args)]
pub(crate) struct SubArgs {
    /// Which topic, or a pattern: a.* for one more word, a.> for all that begins with a.
    pub(crate) topic: TopicPattern,
    /// Print what was published since then too: 10m, or a time as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "last")]
    pub(crate) since: Option<String>,
    /// Print so many of the newest too
    #[arg(long, value_name = "N")]
    pub(crate) last: Option<u64>,
    /// End after so many
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft cron …`.
#[derive(Debug, Subcommand)]
pub(crate) enum CronCommand {
    /// Make a job: weft cron add '30 2 * * *' echo hi --timezone Europe/Berlin
    Add(CronAddArgs),
    /// List the jobs of this node
    Ls(OnlyAt),
    /// Take a job back
    Rm(OneJobArgs),
    /// Let a job run now, besides its schedule
    Run(OneJobArgs),
}

/// `weft cron add`.
#[derive(Debug, Args)]
pub(crate) struct CronAddArgs {
    /// Five or six fields (minute hour day month weekday, seconds first), or an interval: @every 90s, 90s
    pub(crate) expression: String,
    /// echo, echo@beta or topic:jobs
    pub(crate) target: String,
    /// What to send; - reads it from stdin
    pub(crate) text: String,
    /// In which time zone the fields are meant, as Europe/Berlin; UTC without one
    #[arg(long, value_name = "ZONE")]
    pub(crate) timezone: Option<String>,
    /// What becomes of runs that were missed: skip, once (the last of them) or all (the last hundred)
    #[arg(long, value_name = "RULE", default_value = "skip")]
    pub(crate) missed: MissedRule,
    /// The text is one JSON value
    #[arg(long)]
    pub(crate) json_payload: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

/// One job by its id.
#[derive(Debug, Args)]
pub(crate) struct OneJobArgs {
    /// Its id, as `weft cron ls` shows it: c12
    pub(crate) id: CronId,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft dlq …`.
#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// List the dead letters of this node
    Ls(OnlyAt),
    /// Send one once more; the new message names the old one as its cause
    Retry {
        /// Its id, as `weft dlq ls` shows it: m-…
        id: MessageId,
        /// How long it may take
        #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
        deadline: Duration,
        #[command(flatten)]
        at: At,
    },
    /// Throw one away
    Drop {
        /// Its id, as `weft dlq ls` shows it: m-…
        id: MessageId,
        #[command(flatten)]
        at: At,
    },
}

/// `weft trace`.
#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// The conversation, as `weft call` shows it: t-…
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft chain …`.
#[derive(Debug, Subcommand)]
pub(crate) enum ChainCommand {
    /// Show where this node's chain stands
    Status(OnlyAt),
    /// Print events
    Log(ChainLogArgs),
    /// Verify every chain that this node holds, from its first event
    Verify(ChainVerifyArgs),
    /// Print a file that proves one event of this node to anybody
    Prove {
        /// Its place on the chain
        seq: u64,
        #[command(flatten)]
        at: At,
    },
    /// List the members that vouch for this node's chain, and how far, by their own chains
    Witnesses {
        /// Only those that vouch for this event, by its place, or for this commit, by its hash
        #[arg(value_name = "SEQ|COMMIT")]
        place: Option<String>,
        #[command(flatten)]
        at: At,
    },
    /// Check such a file; needs no node
    CheckProof(CheckProofArgs),
    /// List the nodes that were proven to have written two histories, or print the file that proves it of one
    Evidence(EvidenceArgs),
    /// Check such a file; needs no node
    CheckEvidence(CheckEvidenceArgs),
    /// Show who holds something of this node's chain, and how far: members, a file, calendars
    Anchors(OnlyAt),
    /// Write the newest checkpoint, with both signatures, for somebody outside of the cluster to keep
    Checkpoint {
        /// Into this file, which is never overwritten by a smaller one or one of another history; else it is printed
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        at: At,
    },
    /// Check such a file, and whether an exported chain extends or contradicts it; needs no node
    CheckAnchor(CheckAnchorArgs),
    /// Let calendars of OpenTimestamps stamp the newest checkpoint
    Stamp {
        /// This calendar instead of those configured, as http://HOST; may be given several times
        #[arg(long, value_name = "URL")]
        calendar: Vec<String>,
        #[command(flatten)]
        at: At,
    },
    /// List what was stamped, which calendars promise it and which blocks of Bitcoin are said to hold it
    Stamps(OnlyAt),
    /// Check a stamp with the header of a block; needs no node
    CheckStamp(CheckStampArgs),
    /// Say on this node's chain where it stands and what it has said so far, in one hash; rows below that may be pruned
    Snapshot(OnlyAt),
    /// Delete rows beside old events of this node's chain: leaves of plain messages, large bodies. Events, and what they prove, stay
    Prune(PruneArgs),
    /// Write every chain that this node holds into a folder, for anybody to verify without a node
    Export {
        /// The folder; new, or empty
        path: PathBuf,
        #[command(flatten)]
        at: At,
    },
}

/// `weft tree …`.
#[derive(Debug, Subcommand)]
pub(crate) enum TreeCommand {
    /// List what stands below a resource
    Ls {
        /// Its path: /agents
        #[arg(default_value = "/")]
        path: String,
        #[command(flatten)]
        at: At,
    },
    /// Show one resource with its scores
    Get {
        /// Its path: /agents/words, or /agents/words@beta
        path: String,
        #[command(flatten)]
        at: At,
    },
    /// Show the hash over all resources, and the one over all chains
    Root(OnlyAt),
    /// Write a file that proves that a resource is there, or is not
    Prove {
        /// Its path
        path: String,
        /// The file, which must be new; - prints it
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
        #[command(flatten)]
        at: At,
    },
    /// Check such a file; needs no node
    CheckProof(TreeCheckProofArgs),
    /// Say how good a resource is: its scores become old·(1-weight) + new·weight
    Score(TreeScoreArgs),
}

/// `weft tree check-proof`.
#[derive(Debug, Args)]
pub(crate) struct TreeCheckProofArgs {
    /// The file that `weft tree prove` wrote; - reads it from stdin
    pub(crate) file: PathBuf,
    /// The root of the tree that it must be about, as a node that you trust shows it
    #[arg(long, value_name = "HEX")]
    pub(crate) root: Option<weft_protocol::Digest>,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `weft chain check-anchor`.
#[derive(Debug, Args)]
pub(crate) struct CheckAnchorArgs {
    /// The checkpoint; - reads it from stdin
    pub(crate) file: PathBuf,
    /// The folder of an export that holds the same chain
    #[arg(long, value_name = "EXPORT")]
    pub(crate) against: Option<PathBuf>,
    /// The node whose chain it must be of
    #[arg(long, value_name = "ID", conflicts_with = "any_node")]
    pub(crate) node: Option<NodeId>,
    /// Whoever it is of
    #[arg(long)]
    pub(crate) any_node: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `weft tree score`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("seen").required(true).multiple(true))]
pub(crate) struct TreeScoreArgs {
    /// Its path: /agents/words, or /agents/words@beta
    pub(crate) path: String,
    /// From 0 to 1
    #[arg(long, value_name = "SCORE", group = "seen")]
    pub(crate) trust: Option<Millionths>,
    /// From 0 to 1
    #[arg(long, value_name = "SCORE", group = "seen")]
    pub(crate) performance: Option<Millionths>,
    /// From 0 to 1
    #[arg(long, value_name = "SCORE", group = "seen")]
    pub(crate) difficulty: Option<Millionths>,
    /// From 0 to 1
    #[arg(long, value_name = "SCORE", group = "seen")]
    pub(crate) reward: Option<Millionths>,
    /// From 0 to 1
    #[arg(long, value_name = "SCORE", group = "seen")]
    pub(crate) reliability: Option<Millionths>,
    /// From 0 to 1
    #[arg(long, value_name = "SCORE", group = "seen")]
    pub(crate) velocity: Option<Millionths>,
    /// How much it counts beside what was observed before; 0.3 without one
    #[arg(long, value_name = "PART")]
    pub(crate) weight: Option<Millionths>,
    #[command(flatten)]
    pub(crate) at: At,
}
/// `weft chain prune`.
#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Only of events older than that: 30d; without it the setting retention_rows says it
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) older_than: Option<Duration>,
    /// Only show what would go, and what keeps the rest
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft chain check-stamp`.
#[derive(Debug, Args)]
pub(crate) struct CheckStampArgs {
    /// The proof, as .ots
    pub(crate) file: PathBuf,
    /// The checkpoint that it is about; without it the file beside it that ends in .checkpoint
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// The header of the block that is said to hold it, from a source that you trust: 160 hexadecimal digits
    #[arg(long, value_name = "HEX")]
    pub(crate) block_header: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `weft chain log`.
#[derive(Debug, Args)]
pub(crate) struct ChainLogArgs {
    /// The chain of this node instead, by name or id
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Option<String>,
    /// Only events of this kind: process.exited, ipc.*
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// From this place on
    #[arg(long, default_value_t = 0)]
    pub(crate) from: u64,
    /// At most so many
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Go on printing events as they are recorded
    #[arg(long)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) at: AtHome,
}

/// `weft chain verify`.
#[derive(Debug, Args)]
pub(crate) struct ChainVerifyArgs {
    /// Verify this export, or this home of a node that does not run, without a node
    #[arg(long, value_name = "PATH", conflicts_with_all = ["home", "node"])]
    pub(crate) offline: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft chain evidence`.
#[derive(Debug, Args)]
pub(crate) struct EvidenceArgs {
    /// Print the file about this node, by name or id
    #[arg(value_name = "NODE")]
    pub(crate) member: Option<String>,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft chain check-evidence`.
#[derive(Debug, Args)]
pub(crate) struct CheckEvidenceArgs {
    /// The file that `weft chain evidence NODE` printed; - reads it from stdin
    pub(crate) file: PathBuf,
    /// Against whom it must be
    #[arg(long, value_name = "ID")]
    pub(crate) node: Option<NodeId>,
    /// Accept evidence against any node
    #[arg(long, conflicts_with = "node")]
    pub(crate) any_node: bool,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `weft chain check-proof`.
#[derive(Debug, Args)]
pub(crate) struct CheckProofArgs {
    /// The file that `weft chain prove` printed; - reads it from stdin
    pub(crate) file: PathBuf,
    /// Whose chain it must be
    #[arg(long, value_name = "ID")]
    pub(crate) node: Option<NodeId>,
    /// In which cluster it must be
    #[arg(long, value_name = "ID")]
    pub(crate) cluster: Option<weft_protocol::ClusterId>,
    /// Accept the chain of any node
    #[arg(long, conflicts_with = "node")]
    pub(crate) any_node: bool,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `weft order`.
#[derive(Debug, Args)]
pub(crate) struct OrderArgs {
    /// Only what is stable: whose place nothing can change any more
    #[arg(long)]
    pub(crate) stable: bool,
    /// At most so many events
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft bench …`.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Durable appends, by one writer and by 64
    Append(BenchArgs),
    /// Calls, one at a time and 64 at once, executed and durable
    Call(BenchArgs),
    /// Calls between members, and the memory of the called one, beside strangers and a hostile member
    Hostile(BenchArgs),
    /// Messages between two agents of one node
    Ipc(BenchArgs),
    /// Nine nodes on this machine that have nothing to do, for ten minutes: what they take, and what that grows by
    Idle(BenchArgs),
    /// Eight nodes on this machine: how soon they see each other, and miss one that was killed or stopped
    Mesh(BenchArgs),
    /// Publications of one node that four others hear, beside libp2p's own gossip
    Pub(BenchArgs),
    /// Catching up with a chain of 100,000 events
    Sync(BenchArgs),
}

/// Arguments of every benchmark.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `weft config …`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print every key with its value and where that came from
    Show(ConfigShowArgs),
    /// Check a configuration file; needs no node
    Check {
        /// The file
        file: PathBuf,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Let the running node read its configuration again, as SIGHUP does
    Reload(OnlyAt),
}

/// `weft identity`.
#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    /// Print the node's id, the fingerprints of its keys, and the chains that it has written
    Show(OnlyAt),
    /// Make a new ML-DSA-65 key for the running node, which signs from now on; the old one is destroyed
    Rotate(OnlyAt),
    /// Begin a new chain at the next start, after the node was cut off; the node must be down
    Rejoin(RejoinArgs),
}

/// `weft identity rejoin`.
#[derive(Debug, Args)]
pub(crate) struct RejoinArgs {
    /// Also when nothing here says that the node was cut off
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft config show`.
#[derive(Debug, Args)]
pub(crate) struct ConfigShowArgs {
    /// This key alone
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Check the whole store of a node that does not run, and let it write again after a failed write or damage
    #[arg(long)]
    pub(crate) storage: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `weft help`.
#[derive(Debug, Args)]
pub(crate) struct HelpArgs {
    /// A command, or exit-codes
    pub(crate) topic: Option<String>,
    /// Answer in JSON; of exit-codes alone
    #[arg(long)]
    pub(crate) json: bool,
}

/// `weft completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `weft child`: see `shim`.
#[derive(Debug, Args)]
pub(crate) struct ChildArgs {
    /// Everything after the command's name
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<std::ffi::OsString>,
}

/// One bound of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    /// Of what.
    pub(crate) resource: Resource,
    /// How much, in the resource's unit; none for no bound at all.
    pub(crate) bound: Option<u64>,
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "not a duration (500ms, 5s, 1h)".to_owned())
}

fn certificate_life(text: &str) -> Result<Duration, String> {
    let life = duration(text)?;
    let bounds = Duration::from_micros(CERTIFICATE_US_MIN)..=Duration::from_micros(CERTIFICATE_US_MAX);
    if bounds.contains(&life) {
        Ok(life)
    } else {
        Err("a certificate lasts one minute to ten years (1m, 30d, 3650d)".to_owned())
    }
}

fn limit(text: &str) -> Result<Limit, String> {
    let refuse =
        || "not a bound (memory=64MiB, cpu=10s, disk=10MiB, messages=1000, tool-calls=100, or =none)".to_owned();
    let (name, amount) = text.split_once('=').ok_or_else(refuse)?;
    let resource = Resource::ALL.into_iter().find(|resource| resource.to_string() == name).ok_or_else(refuse)?;
    if amount == "none" {
        return Ok(Limit { resource, bound: None });
    }
    let bound = match resource {
        Resource::Memory | Resource::Disk => bytes(amount),
        Resource::Cpu => humantime::parse_duration(amount).ok().and_then(|time| u64::try_from(time.as_micros()).ok()),
        Resource::Messages | Resource::ToolCalls => amount.parse().ok(),
    };
    match bound {
        Some(0) => Err(format!("a {name} limit of 0 lets nothing run; without a bound: {name}=none")),
        Some(bound) => Ok(Limit { resource, bound: Some(bound) }),
        None => Err(refuse()),
    }
}

/// Bytes as people write them: `4096`, `64KiB`, `64MiB`, `2GiB`.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];
    let (digits, unit) =
        UNITS.iter().find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit))).unwrap_or((text, 1));
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("not a variable (NAME=VALUE)".to_owned()),
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("not a setting (KEY=VALUE, as kernel.grace=5s)".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_commands_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn arguments_before_and_after_the_command_meet() {
        let cli = Cli::parse_from(["weft", "--home", "/a", "status", "--json"]);
        let Command::Status(args) = &cli.command else { panic!("not status") };
        let at = args.at.or(&cli.at);
        assert_eq!((at.home, at.node, at.json), (Some(PathBuf::from("/a")), None, true));
        let cli = Cli::parse_from(["weft", "--home", "/a", "status", "--node", "beta"]);
        let Command::Status(args) = &cli.command else { panic!("not status") };
        let at = args.at.or(&cli.at);
        assert_eq!((at.home, at.node.map(|name| name.to_string())), (None, Some("beta".to_owned())));
    }

    #[test]
    fn bounds_are_read() {
        let bound = |resource, bound| Ok(Limit { resource, bound });
        assert_eq!(limit("memory=64MiB"), bound(Resource::Memory, Some(64 << 20)));
        assert_eq!(limit("memory=1024"), bound(Resource::Memory, Some(1024)));
        assert_eq!(limit("cpu=10s"), bound(Resource::Cpu, Some(10_000_000)));
        assert_eq!(limit("disk=1GiB"), bound(Resource::Disk, Some(1 << 30)));
        assert_eq!(limit("messages=1000"), bound(Resource::Messages, Some(1_000)));
        assert_eq!(limit("tool-calls=none"), bound(Resource::ToolCalls, None));
        for wrong in [
            "memory",
            "memory=",
            "memory=-1",
            "memory=64mb",
            "memory=99999999999GiB",
            "cpu=x",
            "messages=1MiB",
            "messages=0",
            "files=1",
            "Memory=1",
        ] {
            assert!(limit(wrong).is_err(), "{wrong}");
        }
    }
}
