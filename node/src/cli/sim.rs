//! `weft sim …`: the same peers and the same storage in a simulated world, many seeds if wanted, and runs that failed once more; and
//! real nodes (`live_sim`).

use weft_simulations::ScenarioError;

use super::args::SimCommand;
use super::output::Output;
use super::{CliError, live_sim};

mod play;
mod replay;
mod shipped;
mod total;

/// `weft sim …`.
pub(crate) async fn run(command: &SimCommand) -> Result<(), CliError> {
    match command {
        SimCommand::Run(args) => play::play(args).await,
        SimCommand::Scenarios(args) => shipped::scenarios(args),
        SimCommand::Manual => Output::new(false).text(weft_simulations::MANUAL),
        SimCommand::Replay(args) => replay::replay(args).await,
        SimCommand::Up(args) => live_sim::up(args).await,
        SimCommand::Fault(command) => live_sim::fault(command).await,
        SimCommand::Wait(command) => live_sim::wait(command).await,
        SimCommand::Down(args) => live_sim::down(args).await,
    }
}

impl From<ScenarioError> for CliError {
    fn from(error: ScenarioError) -> Self {
        Self::new("invalid", error.to_string())
    }
}
