//! The next peer, when one is ended before it went on with its chain: from what the store holds then, of the same or of a new
//! incarnation.

use std::sync::{Arc, Mutex, PoisonError};

use weft_peer::{Memory, Peer, StartOver};
use weft_protocol::{ChainId, Hlc, KeyPair, Signer as _, Timestamp};
use weft_storage::Store;

use crate::boot::Boot;
use crate::cli::{CliError, plural};
use crate::config::Config;
use crate::home::Home;
use crate::run::{new_incarnation, new_peer};
use crate::sign_state::SignState;

/// What every peer of one run is made of.
pub(crate) struct Succession {
    pub(crate) home: Arc<Home>,
    pub(crate) config: Config,
    pub(crate) keys: Arc<KeyPair>,
    pub(crate) boot: Boot,
}

/// Builds the next peer of a run.
pub(crate) struct Successor {
    pub(crate) succession: Succession,
    pub(crate) sign_state: Option<Arc<Mutex<SignState>>>,
}

impl Successor {
    /// The peer that follows one that was ended for this reason.
    ///
    /// # Errors
    /// When the store cannot be read again, or the new incarnation cannot be written down.
    pub(crate) fn next(&self, store: &Store, over: StartOver, now: Timestamp) -> Result<Peer, CliError> {
        let Succession { home, config, keys, boot } = &self.succession;
        let cluster = home.cluster()?.ok_or_else(|| CliError::new("failed", "the home has no cluster"))?;
        let mut heard = Hlc(0);
        let (cluster, memory) = match over {
            StartOver::Behind { clock } => {
                heard = clock;
                boot.warn("members heard this node at a later time than it has now: its clock goes on above that");
                (cluster, Memory::Unknown("members heard it at a later time than this home knows of".to_owned()))
            }
            StartOver::Fetched { commits, from } => {
                boot.warn(&format!("{} of the own chain came back from {from}", plural(commits, "commit")));
                (cluster, Memory::Unknown("a part of its chain came back from a member".to_owned()))
            }
            StartOver::Reincarnate { reason, disown } => {
                let next = cluster.reborn(new_incarnation()?, now, reason.clone(), disown);
                home.write_cluster(&next)?;
                let chain = ChainId { node: keys.public_keys().node(), incarnation: next.incarnation };
                if let Some(state) = &self.sign_state
                    && let Err(error) = state.lock().unwrap_or_else(PoisonError::into_inner).begin(chain)
                {
                    tracing::warn!(%error, "the new chain is not remembered; the next start will ask members");
                }
                boot.warn(&format!("a new chain is begun, incarnation {}: {reason}", next.incarnation));
                (next, Memory::Fresh)
            }
        };
        let mut recovered = store.recovered().map_err(|error| CliError::new("damaged", error.to_string()))?;
        let remembered =
            self.sign_state.as_ref().map(|state| state.lock().unwrap_or_else(PoisonError::into_inner).clock());
        recovered.reserved.clock = recovered.reserved.clock.max(heard).max(remembered.unwrap_or_default());
        new_peer(config, &cluster, &recovered, keys, memory, now)
    }
}
