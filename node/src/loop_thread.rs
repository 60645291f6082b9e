//! The thread on which the mesh and the event loop run: a request that comes in wakes no other thread before it is answered.
//!
//! On a runtime of several threads each step of a message (socket, connection, stream, loop) may wake another one, which costs more
//! than the step. Everything that may take long is elsewhere: the disk, signatures of pages, agents that are programs and
//! the local API have threads of their own.

use tokio::runtime;
use tokio::sync::oneshot;

use crate::cli::CliError;
use crate::event_loop::EventLoop;
use crate::network::{Network, NetworkConfig, NetworkError, Refusals};

/// What the loop is made of, once the mesh is entered.
type Make = Box<dyn FnOnce(Network) -> EventLoop + Send>;

/// The mesh, entered on a thread of its own. Nothing comes in before [`LoopThread::run`].
pub(crate) struct LoopThread {
    make: oneshot::Sender<Make>,
    ended: oneshot::Receiver<Result<(), CliError>>,
    /// Where this node listens.
    pub(crate) bound: Vec<String>,
    /// Who is refused.
    pub(crate) refusals: Refusals,
}

impl LoopThread {
    /// Enters the mesh; when this returns, every address is listened on.
    ///
    /// # Errors
    /// Those of [`Network::new`], and when there is no thread to be had.
    pub(crate) async fn begin(config: NetworkConfig) -> Result<Self, CliError> {
        let no_thread = |error: std::io::Error| CliError::new("failed", format!("no threads: {error}"));
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(no_thread)?;
        let (entered, enters) = oneshot::channel();
        let (make, makes) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name("weft-loop".to_owned());
        let run = move || runtime.block_on(live(config, entered, makes, end));
        // It ends by itself, and says so.
        let _handle = thread.spawn(run).map_err(no_thread)?;
        let entered = enters.await.map_err(|_| ended_badly())?;
        let (bound, refusals) = entered.map_err(CliError::from)?;
        Ok(Self { make, ended, bound, refusals })
    }

    /// Runs the loop that `make` makes; what comes back tells how it ended.
    pub(crate) fn run(self, make: impl FnOnce(Network) -> EventLoop + Send + 'static) -> Ended {
        // Of a thread that is gone the receiver tells.
        let _gone = self.make.send(Box::new(make));
        Ended(self.ended)
    }
}

/// Tells how a loop ended.
pub(crate) struct Ended(oneshot::Receiver<Result<(), CliError>>);

impl Ended {
    /// Waits for it.
    ///
    /// # Errors
    /// Those of the loop, and when it panicked.
    pub(crate) async fn wait(self) -> Result<(), CliError> {
        self.0.await.unwrap_or_else(|_| Err(ended_badly()))
    }
}

type Entered = Result<(Vec<String>, Refusals), NetworkError>;

async fn live(
    config: NetworkConfig,
    entered: oneshot::Sender<Entered>,
    makes: oneshot::Receiver<Make>,
    end: oneshot::Sender<Result<(), CliError>>,
) {
    let network = match Network::new(config).await {
        Ok(network) => network,
        Err(error) => {
            let _nobody_waits = entered.send(Err(error));
            return;
        }
    };
    let _nobody_waits = entered.send(Ok((network.bound_addresses(), network.refusals())));
    match makes.await {
        Ok(make) => {
            let _nobody_waits = end.send(make(network).run().await);
        }
        Err(_) => network.shutdown().await,
    }
}

fn ended_badly() -> CliError {
    CliError::new("failed", "the node ended badly; its log says why").changed()
}
