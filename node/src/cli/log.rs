//! Where log lines of a running node go: stderr, filtered as configured.

use tracing_subscriber::EnvFilter;

use super::CliError;
use crate::config::{Config, LogFormat};

/// Starts logging; once in a process.
///
/// # Errors
/// `bad-config` for a filter that is none.
pub(crate) fn start(config: &Config) -> Result<(), CliError> {
    let filter = EnvFilter::builder().parse(&config.log).map_err(|error| {
        CliError::new("bad-config", format!("log: `{}` is no filter: {error}", config.log))
            .hint("error, warn, info, debug or trace")
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match config.log_format {
        LogFormat::Text => {
            let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder.with_ansi(colour && super::output::wants_colour()).try_init()
        }
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| CliError::new("failed", format!("logging cannot start: {error}")))
}
