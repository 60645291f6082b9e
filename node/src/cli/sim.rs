//! `weft sim …`: the same peers and the same storage in a simulated world, many seeds if wanted, and runs that failed once more.

use weft_simulations::ScenarioError;

use super::CliError;
use super::args::SimCommand;

mod play;
mod replay;

/// `weft sim …`.
pub(crate) async fn run(command: &SimCommand) -> Result<(), CliError> {
    match command {
        SimCommand::Run(args) => play::play(args).await,
        SimCommand::Replay(args) => replay::replay(args).await,
    }
}

impl From<ScenarioError> for CliError {
    fn from(error: ScenarioError) -> Self {
        Self::new("invalid", error.to_string())
    }
}
