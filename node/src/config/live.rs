//! The settings of a running node: what is in force, and how a changed file takes effect without a restart.

use std::sync::Arc;

use tokio::sync::Mutex;
use weft_peer::Question;
use weft_protocol::control::{ReloadReport, SettingChangeRow};
use weft_protocol::limits::SETTING_TEXT_MAX;
use weft_protocol::{Principal, SettingChange};

use super::keys::{Changes, KEYS};
use super::{Config, Flags, load};
use crate::ask::Asker;
use crate::cli::{CliError, LogFilter};
use crate::home::HomeDir;

/// What is in force. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Live(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    home: HomeDir,
    flags: Flags,
    filter: Option<LogFilter>,
    /// Held while a reload is under way, so that two of them do not cross.
    config: Mutex<Config>,
}

impl Live {
    /// The settings with which a node starts, and the flags that outlive every reload.
    pub(crate) fn new(home: HomeDir, flags: Flags, filter: Option<LogFilter>, config: Config) -> Self {
        Self(Arc::new(Shared { home, flags, filter, config: Mutex::new(config) }))
    }

    /// What is in force now.
    pub(crate) async fn config(&self) -> Config {
        self.0.config.lock().await.clone()
    }
}

/// Reads files, environment and flags again. What may change while the node runs is recorded and then counts; what may not is
/// told. An error changes nothing.
///
/// # Errors
/// `bad-config`, and what the gate or the disk said of the record.
pub(crate) async fn reload(live: &Live, asker: &Asker) -> Result<ReloadReport, CliError> {
    let mut config = live.0.config.lock().await;
    let wanted = load(&live.0.home, &live.0.flags)?;
    let (mut next, mut changed, mut waiting) = (config.clone(), Vec::new(), Vec::new());
    for key in &KEYS {
        let (from, to) = (key.show(&config), key.show(&wanted));
        match key.changes {
            Changes::Running if from != to => {
                key.copy(&wanted, &mut next);
                changed.push(SettingChangeRow { key: key.name.to_owned(), from, to });
            }
            Changes::Restart if from != to => waiting.push(SettingChangeRow { key: key.name.to_owned(), from, to }),
            // The same value from elsewhere; and a node that runs has a name, which it keeps.
            Changes::Running | Changes::Restart | Changes::Never => {}
        }
    }
    if !changed.is_empty() {
        let cut = |text: &str| text.chars().take(SETTING_TEXT_MAX).collect::<String>();
        let change =
            |row: &SettingChangeRow| SettingChange { key: row.key.clone(), from: cut(&row.from), to: cut(&row.to) };
        let changes = changed.iter().map(change).collect();
        let question = Question::Configure { config: Box::new(next.peer()?), changes };
        asker.ask(Principal::Operator, question).await.map_err(|refusal| CliError::from(&refusal))?;
        if let Some(filter) = live.0.filter.as_ref().filter(|_| config.log != next.log) {
            filter.set(&next.log)?;
        }
        *config = next;
    }
    for row in &changed {
        tracing::info!(key = row.key, from = row.from, to = row.to, "a setting changed");
    }
    for row in &waiting {
        tracing::warn!(key = row.key, from = row.from, to = row.to, "a changed setting waits for the next start");
    }
    Ok(ReloadReport { changed, waiting })
}
