//! What can be typed after `weft sim`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::duration;
use crate::cli::live_sim::{NODES_MAX, SimNode, fault};

/// `weft sim …`.
#[derive(Debug, Subcommand)]
pub(crate) enum SimCommand {
    /// Run a scenario in virtual time and check every property after every step
    Run(SimRunArgs),
    /// List the scenarios that come with the program, or print one as the file that it is
    Scenarios(SimScenariosArgs),
    /// Print how to write a scenario: every key, transition, fault and check
    Manual,
    /// Run once more what failed, from the file that `weft sim run` wrote of it, and show the steps up to the failure
    Replay(SimReplayArgs),
    /// Start real nodes on this machine, n1 to nN, in one cluster; faults between them are asked for from another terminal
    Up(SimUpArgs),
    /// Do something to the nodes that run, or undo it
    #[command(subcommand)]
    Fault(SimFaultCommand),
    /// Wait until something is true of the nodes that run
    #[command(subcommand)]
    Wait(SimWaitCommand),
    /// End the nodes that run, and remove all that is theirs
    Down(SimOnlyJson),
}

/// `weft sim scenarios`.
#[derive(Debug, Args)]
pub(crate) struct SimScenariosArgs {
    /// Which one to print
    pub(crate) name: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `weft sim replay`.
#[derive(Debug, Args)]
pub(crate) struct SimReplayArgs {
    /// The file
    pub(crate) file: PathBuf,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `weft sim up`.
#[derive(Debug, Args)]
pub(crate) struct SimUpArgs {
    /// How many nodes, 2 to 64
    #[arg(value_name = "N", value_parser = clap::value_parser!(u8).range(2..=i64::from(NODES_MAX)))]
    pub(crate) nodes: u8,
    /// Go on in the background until `weft sim down`
    #[arg(long)]
    pub(crate) detach: bool,
    /// How `--detach` starts it: in a session of its own
    #[arg(long, hide = true)]
    pub(crate) background: bool,
    /// Answer in JSON: an object for each change
    #[arg(long)]
    pub(crate) json: bool,
}

/// `weft sim fault …`.
#[derive(Debug, Subcommand)]
pub(crate) enum SimFaultCommand {
    /// Let nothing pass between groups of nodes: n1,n2 / n3
    Partition {
        /// Groups of nodes with a slash between them; one alone is cut off from all others
        #[arg(required = true)]
        groups: Vec<String>,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// End all partitions and delays
    Heal(SimOnlyJson),
    /// End a node's process as a crash would
    Kill(SimNodeArgs),
    /// Start a node again that was killed or has gone down
    Start(SimNodeArgs),
    /// Stop a node's process where it is
    Pause(SimNodeArgs),
    /// Let a paused node go on
    Resume(SimNodeArgs),
    /// Let everything to and from a node come later, and lose some of it: n2 200ms 5%
    Slow {
        /// The node
        node: SimNode,
        /// How much later, each way
        #[arg(value_name = "DELAY", value_parser = fault::delay_ms)]
        delay_ms: u64,
        /// How many datagrams are lost, each way
        #[arg(value_name = "LOSS", default_value = "0%", value_parser = fault::loss_ppm)]
        loss_ppm: u32,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Start a node again with a clock that is off: n5 +30s
    Skew {
        /// The node
        node: SimNode,
        /// Ahead of this machine's clock, or with a minus behind it; 0s ends it
        #[arg(value_name = "OFFSET", value_parser = fault::offset_ms, allow_hyphen_values = true)]
        offset_ms: i64,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the faults in force, and how often each struck
    Ls(SimOnlyJson),
}

/// Which node a fault is about.
#[derive(Debug, Args)]
pub(crate) struct SimNodeArgs {
    /// The node
    pub(crate) node: SimNode,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `weft sim wait …`.
#[derive(Debug, Subcommand)]
pub(crate) enum SimWaitCommand {
    /// All nodes that run hold each other for alive, and the same chains
    Converged {
        /// For how long
        #[arg(long, default_value = "10s", value_parser = duration)]
        timeout: Duration,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
}

/// Commands without anything else to say.
#[derive(Debug, Args)]
pub(crate) struct SimOnlyJson {
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `weft sim run`.
#[derive(Debug, Args)]
pub(crate) struct SimRunArgs {
    /// The scenario: the name of one that comes with the program (weft sim scenarios), or a file (weft sim manual)
    pub(crate) scenario: String,
    /// The seed; the same seed gives the same trace hash
    #[arg(long, conflicts_with = "seeds")]
    pub(crate) seed: Option<u64>,
    /// Run so many seeds, counted up from zero, and tell how often each fault struck in all of them
    #[arg(long, value_name = "N")]
    pub(crate) seeds: Option<u64>,
    /// Run each seed twice, and fail when the second run is not the same as the first to the last step
    #[arg(long)]
    pub(crate) twice: bool,
    /// How many nodes, instead of what the scenario says
    #[arg(long, value_name = "N")]
    pub(crate) nodes: Option<usize>,
    /// How many runs at a time; as many as there are processors, unless given
    #[arg(long, value_name = "J", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) jobs: Option<u16>,
    /// Write a page with pictures to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Where the file of a run that failed is written
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub(crate) out: PathBuf,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}
